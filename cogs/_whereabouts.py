"""What a place is: one that the bot belongs to or only answers in, and whether it is age-restricted."""

from __future__ import annotations

import discord

from cogs._language import N_
from engine.errors import NotAllowedError

RESTRICTED = N_(
    "This picture is from an age-restricted channel, and this channel is not. Use one that is, or "
    "ask for a private picture."
)


def is_outside(interaction: discord.Interaction) -> bool:
    """True where the bot is only somebody's own app.

    It can answer there, as long as the interaction's token lives, and neither post nor read anything.
    """
    if interaction.guild_id is not None:
        return interaction.client.get_guild(interaction.guild_id) is None
    context = getattr(interaction, "context", None)  # a message has none, and is never outside
    return context is not None and bool(context.private_channel)


def is_age_restricted(client: discord.Client, channel_id: int) -> bool:
    """True when the channel, or that of the thread, is known to be for adults."""
    return _says_so(client.get_channel(channel_id))


def roles_of(interaction: discord.Interaction) -> tuple[int, ...]:
    """Returns the ids of the person's roles in the server that the interaction is from."""
    person = interaction.user
    if interaction.guild_id is None or not isinstance(person, discord.Member):
        return ()
    return tuple(role.id for role in person.roles if not role.is_default())


def check_age(interaction: discord.Interaction, *, is_restricted: bool) -> None:
    """Raises NotAllowedError when a picture of an age-restricted channel would be shown in another.

    A DM is as private as the picture.
    """
    if is_restricted and interaction.guild_id is not None and not _says_so(interaction.channel):
        raise NotAllowedError(RESTRICTED)


def _says_so(channel: object) -> bool:
    asked = getattr(channel, "is_nsfw", None)
    return asked is not None and bool(asked())
