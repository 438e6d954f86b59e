"""`/admin user`: turns people away, here or everywhere, and tells how much they ask for."""

from __future__ import annotations

import discord
from discord import app_commands

from cogs import _allowance, _answer, _blocking, _errors
from cogs._authority import Reach, only
from cogs._desk import desk_of
from cogs._language import N_, t
from cogs.admin import _scope
from cogs.admin._limits import limits_of_person
from engine.limits import EVERYWHERE
from storage.activity import Activity
from storage.blocks import Block
from storage.ledger import Usage

BLOCKED = N_(
    "{person} cannot use me in this server any more. Jobs that were cancelled, at no cost: {count}. "
    "/admin user unblock ends it."
)
BLOCKED_EVERYWHERE = N_(
    "{person} cannot use me anywhere any more. Jobs that were cancelled, at no cost: {count}. "
    "/admin user unblock ends it."
)
UNBLOCKED = N_("{person} can use me again in this server.")
UNBLOCKED_EVERYWHERE = N_("{person} can use me again, where no server has blocked them.")
NOT_BLOCKED = N_("{person} is not blocked in this server.")
NOT_BLOCKED_EVERYWHERE = N_("{person} is not blocked everywhere.")
STILL_BLOCKED = N_("The owners of this bot have blocked them everywhere, which only they can end.")
SINCE = N_("since {time}, by {actor}")
NO = N_("no")


class UserGroup(app_commands.Group):
    """Managers decide about people in their server; the owners about people everywhere."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(name="user", description="Who may use me.")

    @app_commands.command(description="Keep a person from using me here; cancels their jobs here.")
    @app_commands.describe(person="Who", everywhere=_scope.EVERYWHERE_HELP)
    @only(Reach.BOTH)
    async def block(
        self, interaction: discord.Interaction, person: discord.User, everywhere: bool = False
    ) -> None:
        """Blocks, then cancels what waits and runs: nothing new comes in between."""
        guild_id = await _scope.reach_of(interaction, everywhere=everywhere)
        await _blocking.check_target(interaction, person, guild_id)
        work = _blocking.block(
            desk_of(interaction), guild_id, person.id, actor_id=interaction.user.id
        )
        count = await _answer.in_time(interaction, work, ephemeral=True)
        text = BLOCKED_EVERYWHERE if everywhere else BLOCKED
        await _answer.answer(
            interaction, t(text, person=f"<@{person.id}>", count=count), ephemeral=True
        )

    @app_commands.command(description="Let a person use me again.")
    @app_commands.describe(person="Who", everywhere=_scope.EVERYWHERE_HELP)
    @only(Reach.BOTH)
    async def unblock(
        self, interaction: discord.Interaction, person: discord.User, everywhere: bool = False
    ) -> None:
        """Says whether there was a block, and whether another one is left."""
        guild_id = await _scope.reach_of(interaction, everywhere=everywhere)
        blocks = desk_of(interaction).parts.blocks
        was_blocked = await _answer.in_time(
            interaction,
            blocks.unblock(guild_id, person.id, actor_id=interaction.user.id),
            ephemeral=True,
        )
        if everywhere:
            text = UNBLOCKED_EVERYWHERE if was_blocked else NOT_BLOCKED_EVERYWHERE
        else:
            text = UNBLOCKED if was_blocked else NOT_BLOCKED
        words = [t(text, person=f"<@{person.id}>")]
        if blocks.of(person.id, EVERYWHERE) is not None:
            words.append(t(STILL_BLOCKED))
        await _answer.answer(interaction, " ".join(words), ephemeral=True)

    @app_commands.command(description="See how much a person asks for, and their limits.")
    @app_commands.describe(person="Who", everywhere=_scope.EVERYWHERE_HELP)
    @only(Reach.BOTH)
    async def info(
        self, interaction: discord.Interaction, person: discord.User, everywhere: bool = False
    ) -> None:
        """Answers with numbers, never with what somebody wrote."""
        guild_id = await _scope.reach_of(interaction, everywhere=everywhere)
        desk = desk_of(interaction)

        async def work() -> tuple[Activity, Usage | None]:
            activity = await desk.parts.activities.of(person.id, guild_id or None)
            if not everywhere:  # what somebody does elsewhere is not this server's to know
                return activity, None
            held = desk.parts.rules.of(person.id)
            return activity, await desk.parts.ledger.usage(person.id, held)

        activity, usage = await _answer.in_time(interaction, work(), ephemeral=True)
        embed = discord.Embed(
            title=t("A person everywhere") if everywhere else t("A person in this server"),
            description=f"<@{person.id}>",
        )
        here = desk.parts.blocks.of(person.id, guild_id)
        embed.add_field(name=t("Blocked"), value=_since(here), inline=False)
        embed.add_field(name=t("Jobs"), value=_counts(activity), inline=False)
        if usage is not None:
            embed.add_field(name=t("Allowance"), value=_allowance.card(usage), inline=False)
        lines = limits_of_person(desk, person, guild_id)
        embed.add_field(name=t("Limits"), value="\n".join(lines), inline=False)
        await _answer.answer(interaction, ephemeral=True, embed=embed)


def _since(block: Block | None) -> str:
    if block is None:
        return t(NO)
    return t(SINCE, time=_errors.stamp(block.blocked_at), actor=f"<@{block.actor_id}>")


def _counts(activity: Activity) -> str:
    rows = (
        (N_("waiting or running"), activity.waiting),
        (N_("started in the last 24 hours"), activity.day),
        (N_("finished in the last 30 days"), activity.month),
        (N_("reported"), activity.reported),
    )
    return "\n".join(
        t("{label}: {value}", label=t(label), value=f"{value:,}") for label, value in rows
    )
