"""`/me`: what somebody has left, what waits, what they set, and a plot of their last weeks."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs import _answer, _buttons, _drawings, _errors, _pages, _settings, _text
from cogs._desk import Desk
from storage.ledger import Usage
from storage.people import Preferences

TITLE = "You here"
PLOT = "days.png"
DAYS = 28

_BAR_LENGTH = 12
_MOST_JOBS = 5


class Me(commands.Cog):
    """Answers with one card, for the person alone."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="What you have left, what waits, and what you set.")
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
    async def me(self, interaction: discord.Interaction) -> None:
        """Answers with the card."""
        person_id = interaction.user.id

        async def work() -> tuple[discord.Embed, discord.File]:
            return await _card(self._desk, person_id)

        embed, file = await _answer.in_time(interaction, work(), ephemeral=True)
        view = _buttons.settings_view()
        await _answer.answer(interaction, ephemeral=True, embed=embed, files=[file], view=view)


async def _card(desk: Desk, person_id: int) -> tuple[discord.Embed, discord.File]:
    parts = desk.parts
    now = datetime.now(UTC)
    first = (now - timedelta(days=DAYS - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    usage = await parts.ledger.usage(person_id, parts.limits)
    made = await parts.gallery.pictures_by_day(person_id, first)
    holdings = await parts.privacy.holdings(person_id)
    embed = discord.Embed(title=TITLE)
    embed.add_field(name="Allowance", value=_allowance(usage), inline=False)
    embed.add_field(name="Limits", value=_limits(desk), inline=False)
    embed.add_field(name="Waiting", value=await _waiting(desk, person_id), inline=False)
    embed.add_field(
        name="Defaults", value=_defaults(parts.people.preferences(person_id)), inline=False
    )
    kept = [_text.count(holdings.pictures, "picture"), _text.count(holdings.stars, "star")]
    embed.add_field(name="In your history", value=_pages.joined(kept))
    days = [(day := (first + timedelta(days=n)).date(), made.get(day, 0)) for n in range(DAYS)]
    total = sum(count for _, count in days)
    pictures = _text.count(total, "picture")
    embed.set_footer(text=f"{pictures} in the last {DAYS} days, by day (UTC)")
    embed.set_image(url=f"attachment://{PLOT}")
    data = await asyncio.to_thread(_drawings.usage_plot, days)
    alt_text = f"{pictures} in the last {DAYS} days, {days[-1][1]} of them today"
    return embed, discord.File(io.BytesIO(data), PLOT, description=alt_text)


def _allowance(usage: Usage) -> str:
    if not usage.daily:
        return f"{usage.used_today:.4g} used in the last 24 hours; there is no limit."
    left = max(usage.daily - usage.used_today, 0.0)
    full = round(_BAR_LENGTH * min(usage.used_today / usage.daily, 1.0))
    bar = "\N{BLACK PARALLELOGRAM}" * full + "\N{WHITE PARALLELOGRAM}" * (_BAR_LENGTH - full)
    text = f"{bar}\n**{left:.4g} left**: {usage.used_today:.4g} of {usage.daily:.4g} used"
    if usage.resets_at is None:
        return text
    return f"{text}, all of it is back {_errors.stamp(usage.resets_at)}"


def _limits(desk: Desk) -> str:
    limits = desk.parts.limits
    texts = [f"{limits.waiting} jobs waiting or running"]
    if limits.per_minute:
        texts.append(f"{limits.per_minute} jobs a minute")
    if limits.daily:
        texts.append(f"{limits.daily:g} standard pictures in 24 hours")
    return _pages.joined(texts)


async def _waiting(desk: Desk, person_id: int) -> str:
    lines = await _pages.waiting_lines(desk, person_id)
    shown = lines[:_MOST_JOBS]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more, see /queue view")
    return _text.joined_within(shown, 1024) or _pages.NO_JOBS


def _defaults(preferences: Preferences) -> str:
    unset = _settings.words(Preferences())
    texts = [
        f"{name}: {_text.shown(preferences.negative or '', 200) if name == _settings.NEGATIVE else value}"
        for name, value in _settings.words(preferences).items()
        if value != unset[name]
    ]
    return "\n".join(texts) or "None set; **Change** does."


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Me(bot.desk))
