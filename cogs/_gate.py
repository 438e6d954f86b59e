"""Keeps those out who were turned away, and pictures out of channels, before anything is done.

Whoever is turned away is refused once more by the queue; here it is about everything else, too. What
is stored about somebody stays theirs to see and to delete, so /privacy is open to all, and /help.

Where pictures are made is decided here alone (`check_place`): `_orders.submission_of`, which every job
of Discord comes through, asks for it, so what was accepted stays. What is done for a job before that
(a form, a preview, a file that is fetched) asks earlier, for a refusal that comes at once.
"""

from __future__ import annotations

from typing import Any

import discord

from cogs import _channels, _whereabouts
from cogs._desk import desk_of
from cogs._language import N_
from cogs._whereabouts import Place
from engine.errors import BlockedError, NotAllowedError
from storage.channel_rules import Mode

OPEN_COMMANDS = frozenset({"privacy", "help"})

RESTRICTED = N_(
    "This picture is from an age-restricted channel, and this channel is not. Use one that is, or "
    "ask for a private picture."
)
SFW = N_(
    "This picture is from an age-restricted channel, and this server keeps such pictures out of this "
    "one. Use another channel, or ask for a private picture."
)


def refusal(
    interaction: discord.Interaction[Any], guild_id: int | None = None
) -> BlockedError | None:
    """Returns what to tell somebody who is turned away where the interaction comes from.

    `guild_id` is for what they do in a server from elsewhere.
    """
    blocks = desk_of(interaction).parts.blocks
    return blocks.refusal(interaction.user.id, guild_id or interaction.guild_id)


def check(interaction: discord.Interaction[Any], guild_id: int | None = None) -> None:
    """Raises BlockedError for somebody who is turned away; see `refusal`."""
    if (error := refusal(interaction, guild_id)) is not None:
        raise error


def is_open(interaction: discord.Interaction[Any]) -> bool:
    """True for a command that everybody can use."""
    data: Any = interaction.data or {}
    return data.get("name") in OPEN_COMMANDS


def check_place(interaction: discord.Interaction[Any]) -> Mode:
    """Returns the mode of the place where somebody asks for a picture; of a DM, `Mode.NONE`.

    Raises:
        NotAllowedError: The server wants none there. It says where the person can have one.
    """
    place = _whereabouts.place_of(interaction)
    if place is None:
        return Mode.NONE
    error = _channels.refusal(desk_of(interaction).parts.channel_rules, place)
    if error is not None:
        error.add_note(_channels.elsewhere(interaction))
        raise error
    return mode_at(interaction, place)


def mode_at(interaction: discord.Interaction[Any], place: Place) -> Mode:
    """Returns what pictures of a place have to keep to."""
    return desk_of(interaction).parts.channel_rules.mode(place.guild_id, place.channel_id)


def check_age(interaction: discord.Interaction[Any], *, is_restricted: bool) -> None:
    """Raises NotAllowedError when a picture of an age-restricted channel would be shown in another.

    A DM is as private as the picture.
    """
    place = _whereabouts.place_of(interaction)
    if not is_restricted or place is None:
        return
    if not place.is_age_restricted:
        raise NotAllowedError(RESTRICTED)
    if mode_at(interaction, place) is Mode.SFW:
        raise NotAllowedError(SFW)
