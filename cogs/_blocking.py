"""Turning somebody away: whom it must not hit, and what becomes of their jobs."""

from __future__ import annotations

from typing import cast

import discord
from discord.ext import commands

from cogs._desk import Desk
from cogs._language import N_
from engine.errors import InvalidRequestError, NotAllowedError, UnknownJobError
from engine.limits import EVERYWHERE

NOT_YOURSELF = N_("You cannot block yourself. Choose somebody else.")
NO_BOTS = N_("That is a bot, and bots cannot use me. Choose a person.")
NO_OWNERS = N_("This person is an owner of this bot and cannot be blocked. Choose somebody else.")
NO_MANAGERS = N_(
    "This person manages this server and cannot be blocked in it. Take the permission Manage Server from "
    "them first."
)


async def check_target(
    interaction: discord.Interaction, person: discord.User | discord.Member, guild_id: int
) -> None:
    """Raises when somebody is not to be blocked: most likely the wrong name was picked."""
    if person.id == interaction.user.id:
        raise InvalidRequestError(NOT_YOURSELF)
    if person.bot:
        raise InvalidRequestError(NO_BOTS)
    if await cast("commands.Bot", interaction.client).is_owner(person):
        raise NotAllowedError(NO_OWNERS)
    if guild_id != EVERYWHERE and isinstance(person, discord.Member):
        here = person.resolved_permissions or discord.Permissions.none()
        for mine in (here, person.guild_permissions):
            if mine.administrator or mine.manage_guild:
                raise NotAllowedError(NO_MANAGERS)


async def block(desk: Desk, guild_id: int, person_id: int, *, actor_id: int) -> int:
    """Blocks somebody there, then cancels what waits and runs; returns how many jobs that were.

    Nothing new comes in between.
    """
    await desk.parts.blocks.block(guild_id, person_id, actor_id=actor_id)
    count = 0
    for job in await desk.parts.jobs.waiting_of(person_id, guild_id or None):
        desk.board.name_canceller(job.id, actor_id)
        try:
            count += await desk.parts.queue.cancel(job.id)
        except UnknownJobError:  # erased meanwhile
            continue
    return count
