"""The options `image` and `source`, as the commands have them that begin with a picture."""

from __future__ import annotations

import discord

from cogs import _answer, _gate, _orders, _sources, _whereabouts
from cogs._desk import Desk
from cogs._language import N_
from cogs._sources import Source
from engine.errors import InvalidRequestError

NO_SOURCE = N_(
    "Which picture? Attach one with the option image, or choose one of yours with the option source."
)
TWO_SOURCES = N_("Give either image or source: the two together are two pictures.")


async def find(
    desk: Desk,
    interaction: discord.Interaction,
    image: discord.Attachment | None,
    source: str | None,
) -> Source:
    """Returns the picture that somebody chose.

    Raises:
        RequestError: There is none, or it is not for this person to see.
    """
    if image is not None and source is not None:
        raise InvalidRequestError(TWO_SOURCES)
    if image is not None:
        return _sources.attached(image)
    if source is None:
        raise InvalidRequestError(NO_SOURCE)
    _orders.check_permissions(interaction, private=True)
    # Whoever has to wait for it sees the wait alone: the picture may turn out to be private.
    return await _answer.in_time(
        interaction, _sources.picked(desk, interaction, source), ephemeral=True
    )


def is_private(
    desk: Desk, interaction: discord.Interaction, source: Source, said: bool | None
) -> bool:
    """Returns who sees the new picture: as was said, as the person has set, or as the old one.

    Raises:
        NotAllowedError: It would show a picture of an age-restricted channel in another one.
    """
    if said is None:
        said = desk.parts.people.preferences(interaction.user.id).private
    if said is None and source.generation is not None:
        said = source.generation.submission.destination.private
    if not said:
        _gate.check_age(interaction, is_restricted=_is_age_restricted(interaction, source))
    return bool(said)


def _is_age_restricted(interaction: discord.Interaction, source: Source) -> bool:
    if source.generation is None:
        return source.is_age_restricted
    channel_id = source.generation.submission.destination.channel_id
    return _whereabouts.is_age_restricted(interaction.client, channel_id)
