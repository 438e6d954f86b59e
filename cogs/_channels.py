"""In which channels of a server pictures are made, in words: why not here, and where instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard, get_args

import discord

from cogs._desk import desk_of
from cogs._language import N_, t
from cogs._whereabouts import Place
from engine.errors import NotAllowedError
from storage.channel_rules import ChannelRules, Mode

CLOSED = N_("This server does not allow pictures in this channel.")
ONLY_RESTRICTED = N_(
    "This server allows pictures here only while the channel is age-restricted, and it is not."
)
ELSEWHERE = N_("Use me in {channels} or by DM.")
ONLY_DM = N_("Use me by DM.")

_NAMED = 5  # channels, in a sentence
_Writable = discord.TextChannel | discord.ForumChannel | discord.VoiceChannel | discord.StageChannel
_KINDS = get_args(_Writable)  # in this order


def refusal(rules: ChannelRules, place: Place) -> NotAllowedError | None:
    """Returns why no picture is made in a place, or None."""
    if not _allows(rules, place):
        return NotAllowedError(CLOSED)
    mode = rules.mode(place.guild_id, place.channel_id)
    if mode is Mode.NSFW_ONLY and not place.is_age_restricted:
        return NotAllowedError(ONLY_RESTRICTED)
    return None


def elsewhere(interaction: discord.Interaction[Any]) -> str:
    """Returns a sentence that names where the person can have pictures instead."""
    names = [f"<#{channel.id}>" for channel in _open_to(interaction)][:_NAMED]
    if not names:
        return t(ONLY_DM)
    return t(ELSEWHERE, channels=", ".join(names))


def _allows(rules: ChannelRules, place: Place) -> bool:
    if place.is_known:
        return rules.allows(place.guild_id, place.channel_id)
    # It may be a thread of any channel, so also of one that is closed.
    return all(rule.allowed is not False for rule in rules.of_server(place.guild_id).values())


def _open_to(interaction: discord.Interaction[Any]) -> Iterator[_Writable]:
    """Yields the channels where the person and the bot can write and pictures are made.

    Those that were named as allowed come first, and then as Discord orders them.
    """
    guild, person = interaction.client.get_guild(interaction.guild_id or 0), interaction.user
    if guild is None or not isinstance(person, discord.Member):
        return
    rules = desk_of(interaction).parts.channel_rules

    def order(channel: _Writable) -> tuple[bool, int, int, int]:
        is_named = rules.rule(guild.id, channel.id).allowed is True
        return not is_named, _KINDS.index(type(channel)), channel.position, channel.id

    for channel in sorted(filter(_is_writable, guild.channels), key=order):
        if not all(_can_write(channel.permissions_for(one)) for one in (guild.me, person)):
            continue
        if not channel.permissions_for(guild.me).attach_files:
            continue
        if refusal(rules, Place(guild.id, channel.id, channel.is_nsfw())) is None:
            yield channel


def _is_writable(channel: discord.abc.GuildChannel) -> TypeGuard[_Writable]:
    return type(channel) in _KINDS


def _can_write(theirs: discord.Permissions) -> bool:
    return theirs.view_channel and theirs.send_messages
