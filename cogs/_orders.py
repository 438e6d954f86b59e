"""One way from any command or button to a stored job with its status line.

The order of DESIGN.md, "Answering": what can be refused from memory, then the store, then the public
status line as the acknowledgement.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import discord

from cogs import _answer, _buttons, _errors, _gate, _language, _status, _unsafe, _whereabouts
from cogs._board import Board
from cogs._language import N_, t
from engine.errors import InvalidRequestError, NotAllowedError, OverLimitError, TooManyWaitingError
from engine.queue import JobQueue
from engine.types import Destination, GenerationRequest, Job, Submission
from storage.channel_rules import Mode
from storage.jobs import JobTable
from storage.pictures import PictureFiles

log = logging.getLogger(__name__)

IMAGINE = "imagine"

NO_CHANNEL = N_(
    "I cannot post pictures in this kind of channel. Use me in a text channel or by DM."
)
MISSING_PERMISSIONS = N_(
    "I cannot post pictures here: I lack {names}. Ask a moderator to allow it, use another channel, "
    "or ask for the picture with private:True."
)
OUTDATED = N_("Use /imagine instead; **Info** shows the prompt and the options.")
ALREADY_DONE = N_("This was done before. See it with /history list.")


@dataclass(frozen=True, slots=True)
class Order:
    """What to make and how to show it.

    Attributes:
        files: Pictures that the request refers to and that are not stored yet, by sha256.
        pins_model: The person asked for the request's very model, see `Submission`.
    """

    request: GenerationRequest
    action: str = IMAGINE
    parent_id: str | None = None
    private: bool = False
    spoiler: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)
    pins_model: bool = False


class Orders:
    """Places orders: every entrance of Discord goes through here to `JobQueue.submit`."""

    def __init__(
        self, *, queue: JobQueue, jobs: JobTable, pictures: PictureFiles, board: Board
    ) -> None:
        """Needs the queue to submit, the store for what goes with a job, the board for its line."""
        self._queue = queue
        self._jobs = jobs
        self._pictures = pictures
        self._board = board

    async def place(
        self,
        interaction: discord.Interaction,
        order: Callable[[], Awaitable[Order]],
        *,
        private: bool,
    ) -> None:
        """Stores the job and answers with its status line.

        `order` may read from the database; it is awaited within the time that Discord gives.
        `private` is known before it, because a deferred answer is private or public at once.

        Raises:
            RequestError: What was asked cannot be done.
            discord.HTTPException: The answer was not sent; the job is stored and goes on.
        """
        check_permissions(interaction, private=private)
        origin = origin_of(interaction)
        with self._board.answering(origin):
            job = await _answer.in_time(
                interaction, self._submit(interaction, order, origin), ephemeral=private
            )
            await self._acknowledge(interaction, job)

    async def place_batch(
        self,
        interaction: discord.Interaction,
        submit: Callable[[], Awaitable[Job]],
        key: str,
        *,
        private: bool,
    ) -> None:
        """Stores several jobs of one command, and answers with the first one's line.

        Raises:
            RequestError: What was asked cannot be done.
            discord.HTTPException: The answer was not sent; the jobs are stored and go on.
        """
        check_permissions(interaction, private=private)
        with self._board.answering(key):
            job = await _answer.in_time(interaction, submit(), ephemeral=private)
            await self._acknowledge(interaction, job)

    async def _submit(
        self,
        interaction: discord.Interaction,
        order: Callable[[], Awaitable[Order]],
        origin: str,
    ) -> Job:
        placed = await order()
        try:
            submission = submission_of(interaction, placed, origin)
            return await submit(self._queue, self._jobs, self._pictures, submission, placed.files)
        except InvalidRequestError as error:
            if placed.action != IMAGINE:  # made for another model, or under other limits
                error.add_note(t(OUTDATED))
            raise
        except OverLimitError as error:
            if placed.action in (_buttons.REROLL, _buttons.RETRY):  # where nothing can be chosen
                error.add_note(t(OUTDATED))
            raise
        except TooManyWaitingError as error:
            mine = self._queue.waiting(interaction.user.id)
            if mine and mine[0].eta_s is not None:
                error.add_note(t("The next one {starts}.", starts=_status.start_of(mine[0].eta_s)))
            raise

    async def _acknowledge(self, interaction: discord.Interaction, job: Job) -> None:
        if job.state.is_final:  # an old event that came once more
            await _errors.say(interaction, t(ALREADY_DONE))
            return
        private = job.submission.destination.private
        with _language.speaking(job.submission.destination.locale):
            queue = self._queue
            face = _status.queued(job, queue.place(job.id), queue.engine_state, flow=queue.flow)
            view = _buttons.status_view(job.id, t(_status.CANCEL))
        try:
            message_id = await _answer.answer_once(
                interaction, face.content, ephemeral=private, view=view
            )
        except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            # The job is stored; its result will come as a message of its own.
            stale = _errors.is_stale(error)
            level = logging.INFO if stale else logging.WARNING
            log.log(level, "Job %s is not acknowledged: %r", job.id, error)
            return
        self._board.add(job, message_id, interaction, face)
        if message_id is not None and not private:
            await self._board.note(job.id, message_id)


async def submit(
    queue: JobQueue,
    jobs: JobTable,
    pictures: PictureFiles,
    submission: Submission,
    files: Mapping[str, bytes],
) -> Job:
    """Stores the files and submits the job that refers to them; refused, none of them stays.

    Raises:
        RequestError: What was asked cannot be done.
    """
    if not files:
        return await queue.submit(submission)
    is_used = False
    try:
        async with pictures.pinned(files):
            for data in files.values():
                await pictures.put(data)
            job = await queue.submit(submission)
        is_used = True
    finally:
        if not is_used:
            await jobs.drop_unused(files)
    return job


def origin_of(interaction: discord.Interaction) -> str:
    """Returns the key of what the interaction causes: delivered twice, it causes one thing."""
    # A message has its own, see `ByMessage`.
    return str(getattr(interaction, "origin", f"interaction:{interaction.id}"))


def submission_of(
    interaction: discord.Interaction, order: Order, origin: str, *, batch_pictures: int = 0
) -> Submission:
    """Returns the order with who asked, and where; for `batch_pictures` see `Submission`.

    Raises:
        NotAllowedError: The server wants no pictures there.
    """
    mode = _gate.check_place(interaction)
    _unsafe.check_engine(interaction, _whereabouts.place_of(interaction))
    return Submission(
        origin=origin,
        owner_id=interaction.user.id,
        owner_name=interaction.user.display_name,
        destination=Destination(
            channel_id=interaction.channel_id or 0,
            guild_id=interaction.guild_id,
            private=order.private,
            spoiler=order.spoiler or (mode is Mode.SPOILER and not order.private),
            locale=_language.of_person(interaction)
            if order.private
            else _language.of_place(interaction),
            parent_channel_id=_whereabouts.parent_of(interaction),
        ),
        request=order.request,
        action=order.action,
        parent_id=order.parent_id,
        role_ids=_whereabouts.roles_of(interaction),
        batch_pictures=batch_pictures,
        pins_model=order.pins_model,
    )


def check_permissions(interaction: discord.Interaction, *, private: bool) -> None:
    """Raises NotAllowedError when the result could, or may, not be posted where it was asked for."""
    if interaction.channel_id is None:
        raise NotAllowedError(NO_CHANNEL)
    _gate.check_place(interaction)
    if private or interaction.guild_id is None or _whereabouts.is_outside(interaction):
        return  # outside, the answer itself becomes the result
    mine = interaction.app_permissions
    needed = {
        N_("View Channel"): mine.view_channel,
        N_("Attach Files"): mine.attach_files,
    }
    if isinstance(interaction.channel, discord.Thread):
        needed[N_("Send Messages in Threads")] = mine.send_messages_in_threads
    else:
        needed[N_("Send Messages")] = mine.send_messages
    missing = [name for name, allowed in needed.items() if not allowed]
    if missing and not mine.administrator:
        raise NotAllowedError(MISSING_PERMISSIONS, names=t(" and ").join(map(t, missing)))
