"""What a place is: one that the bot belongs to or only answers in, and whether it is age-restricted."""

from __future__ import annotations

from dataclasses import dataclass

import discord


@dataclass(frozen=True, slots=True)
class Place:
    """A channel of a server; of a thread, the channel that it belongs to.

    Attributes:
        is_age_restricted: Discord has it as one for adults.
        is_known: False for what may be a thread, as nothing but its id is known.
    """

    guild_id: int
    channel_id: int
    is_age_restricted: bool
    is_known: bool = True


def is_outside(interaction: discord.Interaction) -> bool:
    """True where the bot is only somebody's own app.

    It can answer there, as long as the interaction's token lives, and neither post nor read anything.
    """
    if interaction.guild_id is not None:
        return interaction.client.get_guild(interaction.guild_id) is None
    context = getattr(interaction, "context", None)  # a message has none, and is never outside
    return context is not None and bool(context.private_channel)


def channel_of(interaction: discord.Interaction) -> int:
    """Returns the channel whose rules and defaults count: of a thread, the one that it belongs to."""
    return parent_of(interaction) or interaction.channel_id or 0


def parent_of(interaction: discord.Interaction) -> int | None:
    """Returns the channel that the thread of the interaction belongs to; None when it is no thread."""
    channel = interaction.channel
    return channel.parent_id if isinstance(channel, discord.Thread) else None


def place_of(interaction: discord.Interaction) -> Place | None:
    """Returns where an interaction, or a message, comes from; None in a DM."""
    if interaction.guild_id is None:
        return None
    return _place(interaction.guild_id, interaction.channel_id or 0, interaction.channel)


def place_at(client: discord.Client, guild_id: int, channel_id: int) -> Place:
    """Returns the place that a channel or thread is, as far as it is known."""
    return _place(guild_id, channel_id, client.get_channel(channel_id))


def is_age_restricted(client: discord.Client, channel_id: int) -> bool:
    """True when the channel, or that of the thread, is known to be for adults."""
    return _says_so(client.get_channel(channel_id))


def roles_of(interaction: discord.Interaction) -> tuple[int, ...]:
    """Returns the ids of the person's roles in the server that the interaction is from."""
    person = interaction.user
    if interaction.guild_id is None or not isinstance(person, discord.Member):
        return ()
    return tuple(role.id for role in person.roles if not role.is_default())


def _place(guild_id: int, channel_id: int, channel: object) -> Place:
    if isinstance(channel, discord.Thread):
        channel_id = channel.parent_id
    is_known = isinstance(channel, discord.Thread | discord.abc.GuildChannel)
    return Place(guild_id, channel_id, _says_so(channel), is_known)


def _says_so(channel: object) -> bool:
    asked = getattr(channel, "is_nsfw", None)
    return asked is not None and bool(asked())
