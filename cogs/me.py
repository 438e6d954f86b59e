"""`/me`: what somebody has left, what waits, what they set, and a plot of their last weeks."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs import (
    _allowance,
    _answer,
    _buttons,
    _counts,
    _drawings,
    _limits,
    _pages,
    _setting_fields,
    _settings,
    _text,
)
from cogs._desk import Desk
from cogs._language import N_, t
from engine.types import Limits
from storage.people import Preferences

TITLE = N_("You here")
PLOT = "days.png"
DAYS = 28

_MOST_JOBS = 5


class Me(commands.Cog):
    """Answers with one card, for the person alone."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="What you have left, what waits, and what you set.")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    async def me(self, interaction: discord.Interaction) -> None:
        """Answers with the card."""
        person_id = interaction.user.id

        async def work() -> tuple[discord.Embed, list[discord.File]]:
            return await _card(self._desk, person_id, _limits.of(interaction))

        embed, files = await _answer.in_time(interaction, work(), ephemeral=True)
        view = _buttons.settings_view()
        await _answer.answer(interaction, ephemeral=True, embed=embed, files=files, view=view)


async def _card(
    desk: Desk, person_id: int, limits: Limits
) -> tuple[discord.Embed, list[discord.File]]:
    """Returns the card and the plot of one's days, if there is anything to see in it."""
    parts = desk.parts
    now = datetime.now(UTC)
    first = (now - timedelta(days=DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    usage = await parts.ledger.usage(person_id, limits)
    made = await parts.gallery.pictures_by_day(person_id, first)
    holdings = await parts.privacy.holdings(person_id)
    embed = discord.Embed(title=t(TITLE))
    embed.add_field(name=t("Allowance"), value=_allowance.card(usage), inline=False)
    embed.add_field(name=t("Limits"), value="\n".join(_limits.lines(limits)), inline=False)
    embed.add_field(name=t("Waiting"), value=await _waiting(desk, person_id), inline=False)
    embed.add_field(
        name=t("Defaults"), value=_defaults(parts.people.preferences(person_id)), inline=False
    )
    kept = [_counts.pictures(holdings.pictures), _counts.stars(holdings.stars)]
    embed.add_field(name=t("In your history"), value=_pages.joined(kept))
    days = [(day := (first + timedelta(days=n)).date(), made.get(day, 0)) for n in range(DAYS)]
    total = sum(count for _, count in days)
    pictures = _counts.pictures(total)
    embed.set_footer(
        text=t("{pictures} in the last {days} days, by day (UTC)", pictures=pictures, days=DAYS)
    )
    if total == 0:
        return embed, []
    embed.set_image(url=f"attachment://{PLOT}")
    data = await asyncio.to_thread(_drawings.usage_plot, days)
    alt_text = t(
        "{pictures} in the last {days} days, {today} of them today",
        pictures=pictures,
        days=DAYS,
        today=days[-1][1],
    )
    return embed, [discord.File(io.BytesIO(data), PLOT, description=alt_text)]


async def _waiting(desk: Desk, person_id: int) -> str:
    lines = await _pages.waiting_lines(desk, person_id)
    shown = lines[:_MOST_JOBS]
    if len(lines) > len(shown):
        shown.append(t("and {count} more, see /queue view", count=len(lines) - len(shown)))
    return _text.joined_within(shown, 1024) or t(_pages.NO_JOBS)


def _defaults(preferences: Preferences) -> str:
    unset = _settings.words(Preferences())
    texts = [
        f"{t(name)}: {_text.shown(preferences.negative or '', 200) if name == _setting_fields.NEGATIVE else value}"
        for name, value in _settings.words(preferences).items()
        if value != unset[name]
    ]
    return "\n".join(texts) or t("None set; **Change** does.")


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Me(bot.desk))
