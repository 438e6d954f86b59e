"""Who may use `/admin`: the managers of the server that they are in, and the bot's owners.

The engine, its queue and its LoRAs serve every server of the bot, so what changes them is for the
owners alone; a server's managers act on their own server.

Each command says by `only` whom it is for, and each button or form of such a command by
`only_pressed_by`: that is the check, and what tests and documentation read. What Discord's own
settings show or hide decides nothing. A command may check more by `require_owner`, and asks
`require_manager` for the server that it acts on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, TypeVar, cast

import discord
from discord import app_commands
from discord.ext import commands

from cogs import _whereabouts
from cogs._buttons import Action, Press
from cogs._language import N_
from engine.errors import NotAllowedError

NEEDS_OWNER = N_(
    "Only the owners of this bot can do that: it would change what every server sees. "
    "The owners are in the application's team in Discord's developer portal."
)
NEEDS_MANAGER = N_("Only people with the permission Manage Server can do that here.")
NEEDS_CHANNEL_MANAGER = N_(
    "Only people with the permission Manage Channels or Manage Server can do that here."
)
NEEDS_IT_THERE = N_(
    "Only people with the permission Manage Channels in that channel, or Manage Server, can do that."
)
NEEDS_MODERATOR = N_(
    "Only moderators of this server (the permission Manage Messages or Manage Server) can do that here."
)
ONLY_SERVERS = N_("This is about a server. Use it in one of its channels.")
NO_MEMBER = N_("I am no member of this server, so there is nothing that could be set for it.")


class Reach(StrEnum):
    """Whom a command is for, which follows from how far it reaches."""

    OWNER = "owner"  # what every server sees: the bot's owners alone
    SERVER = "server"  # this server: its managers
    MODERATOR = (
        "moderator"  # single pictures of this server: who may manage messages, or the server
    )
    CHANNEL = "channel"  # this channel, or by another option this server: who manages it
    BOTH = "server or owner"  # this server or, by an option that the command checks, all of them


def owners_of(application: discord.AppInfo) -> set[int]:
    """Returns who owns an application: one person, or the team without readers and the merely invited."""
    team = application.team
    if team is None:
        return {application.owner.id}
    roles = (discord.TeamMemberRole.admin, discord.TeamMemberRole.developer)
    joined = [
        member
        for member in team.members
        if member.membership_state is discord.TeamMembershipState.accepted
    ]
    owners = {member.id for member in joined if member.role in roles}
    return owners if team.owner_id is None else owners | {team.owner_id}


async def is_owner(interaction: discord.Interaction) -> bool:
    """Returns whether the person owns the application, or is in its team as more than a reader."""
    return await cast("commands.Bot", interaction.client).is_owner(interaction.user)


async def require_owner(interaction: discord.Interaction) -> None:
    """Lets the bot's owners pass, wherever they are.

    Raises:
        NotAllowedError: The person is none of them.
    """
    if not await is_owner(interaction):
        raise NotAllowedError(NEEDS_OWNER)


def require_manager(interaction: discord.Interaction) -> int:
    """Returns the server that the person manages, which is the one they are in.

    Raises:
        NotAllowedError: They lack the permission, or this is no server, or not one of the bot's.
    """
    guild_id = _server_of(interaction)
    if not _manages(interaction):
        raise NotAllowedError(NEEDS_MANAGER)
    return guild_id


def require_channel_manager(theirs: discord.Permissions) -> None:
    """Lets those pass who manage another channel than the one that they are in.

    `theirs` are the person's permissions there, as Discord sends them with the option of a command.

    Raises:
        NotAllowedError: They do not manage it.
    """
    if not _manages_channel(theirs):
        raise NotAllowedError(NEEDS_IT_THERE)


async def require(interaction: discord.Interaction, reach: Reach) -> None:
    """Lets those pass whom something of this reach is for.

    Raises:
        NotAllowedError: The person is none of them, or this is the wrong place for it.
    """
    match reach:
        case Reach.OWNER:
            await require_owner(interaction)
        case Reach.SERVER:
            require_manager(interaction)
        case Reach.MODERATOR:
            _server_of(interaction)
            if not (_manages(interaction) or interaction.permissions.manage_messages):
                raise NotAllowedError(NEEDS_MODERATOR)
        case Reach.CHANNEL:
            _server_of(interaction)
            if not _manages_channel(interaction.permissions):
                raise NotAllowedError(NEEDS_CHANNEL_MANAGER)
        case Reach.BOTH:
            if not await is_owner(interaction):
                require_manager(interaction)


def _server_of(interaction: discord.Interaction) -> int:
    if interaction.guild_id is None:
        raise NotAllowedError(ONLY_SERVERS)
    if _whereabouts.is_outside(interaction):
        raise NotAllowedError(NO_MEMBER)
    return interaction.guild_id


def _manages(interaction: discord.Interaction) -> bool:
    mine = interaction.permissions  # as Discord sent them with this interaction
    return mine.administrator or mine.manage_guild


def _manages_channel(theirs: discord.Permissions) -> bool:
    return theirs.administrator or theirs.manage_guild or theirs.manage_channels


# Declaring it

_Check = Callable[[discord.Interaction], Coroutine[Any, Any, bool]]
_Command = TypeVar("_Command", bound=Callable[..., Any] | app_commands.Command[Any, ..., Any])


def only(reach: Reach) -> Callable[[_Command], _Command]:
    """Lets only those use a command whom it is for; above or below `app_commands.command`.

    Over the function of an autocomplete: others get no choices.
    """
    return app_commands.check(_CHECKS[reach])


def only_pressed_by(reach: Reach) -> Callable[[Action], Action]:
    """The same for what a button or a form does: a function of an `ACTIONS` or `FORMS` table."""

    def guard(action: Action) -> Action:
        @functools.wraps(action)
        async def guarded(interaction: discord.Interaction, press: Press) -> None:
            await require(interaction, reach)
            await action(interaction, press)

        guarded.__dict__["reach"] = reach
        return guarded

    return guard


def reach_of(what: app_commands.Command[Any, ..., Any] | Action) -> Reach | None:
    """Returns whom a command, a button or a form says it is for; None when it says nothing."""
    if isinstance(what, app_commands.Command):
        return next((reach for reach, check in _CHECKS.items() if check in what.checks), None)
    reach: Reach | None = getattr(what, "reach", None)
    return reach


def _check_for(reach: Reach) -> _Check:
    async def check(interaction: discord.Interaction) -> bool:
        try:
            await require(interaction, reach)
        except NotAllowedError as error:  # discord.py passes nothing but its own errors on
            command = cast("app_commands.Command[Any, ..., Any]", interaction.command)
            raise app_commands.CommandInvokeError(command, error) from error
        return True

    return check


_CHECKS = {reach: _check_for(reach) for reach in Reach}
