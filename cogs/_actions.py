"""What each button does when it is pressed; the words that answer it stand here, too."""

from __future__ import annotations

import contextlib
import io
import logging

import aiohttp
import discord

from cogs import (
    _album,
    _answer,
    _buttons,
    _changes,
    _errors,
    _info,
    _options,
    _recipe,
    _search,
    _status,
    _styles,
)
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._language import N_, speaking, t
from cogs._orders import Order
from cogs._recipe import Recipe
from engine import sheets
from engine.errors import (
    EngineError,
    InvalidRequestError,
    NotAllowedError,
    RefusedFileError,
    UnknownJobError,
    UnsafePictureError,
    error_from_wire,
)
from engine.types import Generation, Job, JobState
from storage.gallery import GONE

log = logging.getLogger(__name__)

NOT_YOURS = N_("Only the person who asked for it, or a moderator (Manage Messages), can do that.")
DELETED = N_("The picture was deleted.")
NO_PICTURE = N_("Its picture was not kept. Use /imagine and attach it again.")
FINISHED = N_("This job has ended already.")


async def reroll(interaction: discord.Interaction, press: Press) -> None:
    """Makes the picture again with another seed, for the person who pressed."""
    desk = desk_of(interaction)
    private = _buttons.is_private(interaction, press)

    async def order() -> Order:
        generation = await _generation(interaction, press)
        return Order(
            await _changes.reroll(desk, generation),
            action=_buttons.REROLL,
            pins_model=True,
            parent_id=generation.id,
            private=private,
            spoiler=generation.submission.destination.spoiler,
        )

    await desk.orders.place(interaction, order, private=private)


async def retry(interaction: discord.Interaction, press: Press) -> None:
    """Tries a failed job once more, just as it was."""
    desk = desk_of(interaction)
    private = _buttons.is_private(interaction, press)

    async def order() -> Order:
        job = await desk.parts.jobs.get(press.job_id)
        submission = job.submission
        if submission.destination.private and job.owner_id != interaction.user.id:
            raise NotAllowedError(NOT_YOURS)
        if job.error is not None and job.error[0] == RefusedFileError.__name__:
            raise InvalidRequestError(NO_PICTURE)
        request = job.request
        if isinstance(_error_of(job), UnsafePictureError):  # the same would come to the same
            request = _options.rerolled(request)
        return Order(
            request,
            action=_buttons.RETRY,
            pins_model=submission.pins_model,
            parent_id=submission.parent_id,
            private=private,
            spoiler=submission.destination.spoiler,
        )

    await desk.orders.place(interaction, order, private=private)


async def info(interaction: discord.Interaction, press: Press) -> None:
    """Shows all parameters, and the command that makes the same picture."""
    desk = desk_of(interaction)

    async def work() -> tuple[Generation, Recipe]:
        generation = await _generation(interaction, press)
        recipe = await _recipe.of(desk, generation, interaction.user.id, gives_mask=True)
        return generation, recipe

    generation, recipe = await _answer.in_time(interaction, work(), ephemeral=True)
    embed, text = _info.card(
        generation, recipe, _styles.written(desk.parts.styles, generation.request.adapters)
    )
    files = [discord.File(io.BytesIO(text.encode()), "imagine.txt")] if text else []
    if recipe.mask is not None:
        description = t("A mask: what is white in it was made anew")
        files.append(discord.File(io.BytesIO(recipe.mask), "mask.png", description=description))
    await _answer.answer(interaction, ephemeral=True, embed=embed, files=files)


async def delete(interaction: discord.Interaction, press: Press) -> None:
    """Deletes the pictures and the message that shows them."""
    desk = desk_of(interaction)

    async def work() -> Job:
        job = await desk.parts.jobs.get(press.job_id)
        _check_owner(interaction, job)
        await desk.parts.history.delete_pictures(press.job_id)
        desk.mod_channel.wake()
        return job

    job = await _answer.in_time(interaction, work(), ephemeral=True)
    # Only now the messages: one that is left over can be deleted again, a picture could not be.
    if interaction.message is not None:
        with contextlib.suppress(discord.NotFound):
            if interaction.response.is_done():
                await interaction.message.delete()
            else:
                await interaction.response.defer()
                await interaction.delete_original_response()
        result_id = job.result_message_id
        if result_id is not None and result_id != interaction.message.id:
            # Pressed in /history show.
            channel_id = job.result_channel_id or job.submission.destination.channel_id
            await _delete_message(interaction.client, channel_id, result_id)
    await interaction.followup.send(t(DELETED), ephemeral=True)


async def _delete_message(client: discord.Client, channel_id: int, message_id: int) -> None:
    channel = client.get_partial_messageable(channel_id)
    # It was private, or somebody deleted it, or the channel was closed.
    with contextlib.suppress(discord.NotFound, discord.Forbidden):
        await channel.get_partial_message(message_id).delete()


async def cancel(interaction: discord.Interaction, press: Press) -> None:
    """Ends a waiting or running job."""
    desk = desk_of(interaction)

    async def work() -> tuple[Job, bool]:
        job = await desk.parts.jobs.get(press.job_id)
        _check_owner(interaction, job)
        is_cancelled = await desk.parts.queue.cancel(job.id)
        if (batch := sheets.batch_of(job.submission.origin)) is not None:
            for other in await desk.parts.jobs.of_batch(batch):
                is_cancelled |= await desk.parts.queue.cancel(other.id)
        if is_cancelled:
            await desk.board.release(job.id)  # the answer to this press is the line's last edit
        return job, is_cancelled

    job, is_cancelled = await _answer.in_time(interaction, work(), ephemeral=True)
    is_line = interaction.message is not None and interaction.message.id == job.status_message_id
    if is_cancelled or (is_line and job.state is JobState.CANCELLED):
        with speaking(job.submission.destination.locale):
            face = _status.cancelled(job, interaction.user.id if is_cancelled else None)
    else:
        await _errors.say(interaction, t(FINISHED))
        return
    is_shown = False
    if not interaction.response.is_done():
        try:
            await interaction.response.edit_message(content=face.content, view=None, attachments=[])
            is_shown = True
        except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
            # Nobody else edits the line any more: its last words must not hang on this answer.
            log.info("The press on Cancel of job %s is not answered: %r", job.id, error)
    else:
        await _answer.answer(interaction, face.content, ephemeral=True)
    if not is_shown and interaction.message is not None and not _buttons.is_private(interaction):
        await interaction.message.edit(content=face.content, view=None, attachments=[])
    if is_line:
        await desk.board.settled(job.id, job.status_message_id)


async def older(interaction: discord.Interaction, press: Press) -> None:
    """Shows the next page of a person's own history."""
    desk = desk_of(interaction)
    wanted = _search.decoded(desk, press.index, press.rest)
    page = await _answer.in_time(
        interaction,
        _album.page(desk, interaction.user.id, wanted, before=press.job_id),
        ephemeral=True,
    )
    if interaction.response.is_done():
        await _answer.answer(
            interaction, ephemeral=True, embed=page.embed, view=page.view, files=page.files()
        )
    else:
        await interaction.response.edit_message(
            embed=page.embed, view=page.view, attachments=page.files()
        )


ACTIONS: dict[str, Action] = {
    _buttons.REROLL: reroll,
    _buttons.RETRY: retry,
    _buttons.INFO: info,
    _buttons.DELETE: delete,
    _buttons.CANCEL: cancel,
    _buttons.OLDER: older,
}


def _error_of(job: Job) -> EngineError | None:
    return None if job.error is None else error_from_wire(*job.error)


async def _generation(interaction: discord.Interaction, press: Press) -> Generation:
    history = desk_of(interaction).parts.history
    generation = await history.get(press.job_id, reader_id=interaction.user.id)
    if generation.deleted_at is not None:
        raise UnknownJobError(GONE)
    return generation


def _check_owner(interaction: discord.Interaction, job: Job) -> None:
    """Moderators look after their own server: a forged button may name a job of another one."""
    guild_id = job.submission.destination.guild_id
    is_theirs = guild_id is not None and guild_id == interaction.guild_id
    may = is_theirs and interaction.permissions.manage_messages
    if interaction.user.id != job.owner_id and not may:
        raise NotAllowedError(NOT_YOURS)
