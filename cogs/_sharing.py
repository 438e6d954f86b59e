"""Buttons that keep a picture, or show it elsewhere: Star, Send to DM, Publish."""

from __future__ import annotations

import discord

from cogs import (
    _answer,
    _buttons,
    _channels,
    _errors,
    _gate,
    _orders,
    _parcel,
    _text,
    _unsafe,
    _whereabouts,
)
from cogs._buttons import Action, Press
from cogs._desk import Desk, Parts, desk_of
from cogs._language import N_, of_place, speaking, t
from engine.errors import NotAllowedError, UnknownJobError
from engine.types import Generation
from storage.channel_rules import Mode
from storage.gallery import GONE

STARRED = N_("Starred. Your stars: /history list starred:True")
UNSTARRED = N_("The star is gone.")
SENT = N_("Sent to you by DM.")
DM_CLOSED = N_(
    "I cannot send you a DM. Allow direct messages from members of this server in its privacy "
    "settings, then try again."
)
PUBLISHED = N_("Published: {link}")
ALREADY_PUBLIC = N_("This picture is public already: {link}")
NOT_YOURS = N_("Only the person who asked for this picture can publish it.")
NOWHERE = N_("It was asked for in a DM, so there is no channel to publish it in.")
CLOSED = N_(
    "I cannot post in that channel any more. Use /history show in another one, and publish there."
)

_DM_LIMIT = discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES


async def star(interaction: discord.Interaction, press: Press) -> None:
    """Stars the picture for the person who pressed; a second press takes the star away."""
    desk = desk_of(interaction)
    gallery = desk.parts.gallery
    person_id = interaction.user.id

    async def work() -> bool:
        await desk.parts.history.get(press.job_id, reader_id=person_id)
        is_new = await gallery.set_star(person_id, press.job_id, on=True)
        if not is_new:
            await gallery.set_star(person_id, press.job_id, on=False)
        return is_new

    is_starred = await _answer.in_time(interaction, work(), ephemeral=True)
    await _answer.answer(interaction, t(STARRED if is_starred else UNSTARRED), ephemeral=True)


async def to_dm(interaction: discord.Interaction, press: Press) -> None:
    """Sends the pictures to the person who pressed."""
    desk = desk_of(interaction)

    async def work() -> bool:
        generation = await there(desk, press.job_id, interaction.user.id)
        return await send_copy(
            interaction.client,
            desk.parts,
            generation,
            interaction.user.id,
            nonce=f"d:{interaction.id}",
        )

    is_sent = await _answer.in_time(interaction, work(), ephemeral=True)
    await _answer.answer(interaction, t(SENT if is_sent else DM_CLOSED), ephemeral=True)


async def send_copy(
    client: discord.Client, parts: Parts, generation: Generation, person_id: int, *, nonce: str
) -> bool:
    """Sends a result to somebody by DM; False when their DMs are closed.

    Raises:
        discord.HTTPException: Discord has trouble.
        UnknownJobError: A picture is not there any more.
    """
    try:
        channel = await client.create_dm(discord.Object(person_id))
        await channel.send(
            _parcel.caption(generation),
            files=await _files(parts, generation, _DM_LIMIT),
            view=_buttons.result_view(generation.id, len(generation.pictures)),
            nonce=nonce,
            allowed_mentions=discord.AllowedMentions.none(),
        )
    except discord.HTTPException as error:
        if _errors.is_unreachable(error):
            return False
        raise
    return True


async def publish(interaction: discord.Interaction, press: Press) -> None:
    """Posts a private result where everybody sees it."""
    desk = desk_of(interaction)

    async def work() -> tuple[Generation, int, int | None]:
        generation = await there(desk, press.job_id, interaction.user.id)
        destination = generation.submission.destination
        if generation.submission.owner_id != interaction.user.id:
            raise NotAllowedError(NOT_YOURS)
        channel_id, guild_id = destination.channel_id, destination.guild_id
        if interaction.guild_id is not None and interaction.channel_id is not None:
            channel_id, guild_id = interaction.channel_id, interaction.guild_id
            _orders.check_permissions(interaction, private=False)
        if guild_id is None:
            raise NotAllowedError(NOWHERE)
        place = _whereabouts.place_at(interaction.client, guild_id, channel_id)
        if interaction.guild_id is None:  # in a DM, what the server decided holds all the same
            _gate.check(interaction, guild_id)
            if _channels.refusal(desk.parts.channel_rules, place) is not None:
                raise NotAllowedError(CLOSED)
        if destination.private:
            prompt = generation.request.prompt
            desk.parts.moderation.check_prompt(guild_id, prompt)  # made elsewhere, or long ago
            restricted = _whereabouts.is_age_restricted(interaction.client, destination.channel_id)
            _gate.check_age(interaction, is_restricted=restricted)
            with speaking(of_place(interaction)):
                is_hidden = _gate.mode_at(interaction, place) is Mode.SPOILER
                is_hidden |= _unsafe.check_publish(desk.parts, place, generation)
                await _post(interaction, desk, generation, channel_id, guild_id, spoiler=is_hidden)
        return generation, channel_id, guild_id

    before, _, _ = await _answer.in_time(interaction, work(), ephemeral=True)
    was_public = not before.submission.destination.private
    link = _parcel.link(await desk.parts.history.get(press.job_id))
    text = t(ALREADY_PUBLIC if was_public else PUBLISHED, link=link or t("in a DM"))
    await _answer.answer(interaction, text, ephemeral=True)


async def _post(
    interaction: discord.Interaction,
    desk: Desk,
    generation: Generation,
    channel_id: int,
    guild_id: int,
    *,
    spoiler: bool,
) -> None:
    channel = interaction.client.get_partial_messageable(channel_id, guild_id=guild_id)
    owner_id = generation.submission.owner_id
    try:
        message = await channel.send(
            _parcel.caption(generation, owner_id=owner_id),
            files=await _files(desk.parts, generation, interaction.filesize_limit, spoiler=spoiler),
            view=_buttons.result_view(generation.id, len(generation.pictures)),
            nonce=f"{generation.id}:p",  # pressed twice, it is one message
            allowed_mentions=discord.AllowedMentions(
                everyone=False, roles=False, users=[discord.Object(owner_id)]
            ),
        )
    except discord.HTTPException as error:
        if _errors.is_unreachable(error):
            raise NotAllowedError(CLOSED) from error
        raise
    await desk.parts.gallery.published(
        generation.id, guild_id=guild_id, channel_id=channel_id, message_id=message.id
    )


def can_publish(generation: Generation, person_id: int) -> bool:
    """True when the person can make this result public."""
    submission = generation.submission
    destination = submission.destination
    return (
        destination.private
        and destination.guild_id is not None
        and submission.owner_id == person_id
    )


async def there(desk: Desk, job_id: str, reader_id: int) -> Generation:
    """Returns the generation. Raises UnknownJobError when its pictures were deleted."""
    generation = await desk.parts.history.get(job_id, reader_id=reader_id)
    if generation.deleted_at is not None:
        raise UnknownJobError(GONE)
    return generation


async def _files(
    parts: Parts, generation: Generation, limit_bytes: int, *, spoiler: bool = False
) -> list[discord.File]:
    return await _parcel.files_of(
        generation.id,
        generation.pictures,
        parts.pictures,
        limit_bytes,
        alt_text=_text.plain(generation.request.prompt, _text.MAX_ALT_TEXT),
        spoiler=spoiler or generation.submission.destination.spoiler,
    )


ACTIONS: dict[str, Action] = {
    _buttons.STAR: star,
    _buttons.TO_DM: to_dm,
    _buttons.PUBLISH: publish,
}
