"""Delivers results and apologies: exactly one message a job, whatever fails on the way.

The send carries the job's nonce, so Discord itself refuses to post it twice within some minutes. A try
whose outcome is unknown and older than that first looks for our own message, known by its buttons.
Connection errors and Discord's own failures are tried again without end; a channel that is gone or
closed leads to a DM, and closed DMs leave the pictures for /history.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import discord

from cogs import _buttons, _errors, _parcel, _sharing, _sheet, _styles, _unsafe, _whereabouts
from cogs._board import Board
from cogs._desk import Parts
from cogs._language import speak, t
from cogs._mod_channel import ModChannel
from cogs._parcel import Parcel
from cogs._style_previews import StylePreviews
from cogs._tidier import Tidier
from engine import sheets
from engine.errors import EngineError, RequestError, UnknownJobError
from engine.types import NOBODY, Job, JobState
from storage.ledger import Usage
from storage.safety import Classifier

log = logging.getLogger(__name__)

_ATTEMPT_S = 300.0  # four large files over a slow line
NONCE_LIFE = timedelta(minutes=2)  # Discord forgets nonces "after a few minutes"
_CLOCK_DIFFERENCE = timedelta(minutes=10)
_SEARCH_DEPTH = 500  # messages looked through from either end
_TOO_LARGE = 40005  # Discord's code beside the status 413
_LEAST_BYTES = 64 * 1024  # a smaller file would help nobody
_TRANSIENT = (
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    discord.DiscordServerError,
    discord.RateLimited,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How deliveries are tried again, in seconds.

    Attributes:
        first: After the first failure; it doubles.
        longest: Upper bound.
        at_once: Messages being sent at the same time.
    """

    first: float = 1.0
    longest: float = 60.0
    at_once: int = 8

    def pauses(self) -> Iterator[float]:
        """Yields the pauses between tries, without end."""
        pause = self.first
        while True:
            yield pause
            pause = min(pause * 2, self.longest)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A delivered message; `channel_id` is None for a private answer, which is in no other place."""

    message_id: int
    channel_id: int | None = None
    is_status_line: bool = False


class Delivery:
    """Sends what `JobQueue.finished` yields."""

    def __init__(
        self,
        *,
        client: discord.Client,
        parts: Parts,
        board: Board,
        previews: StylePreviews,
        tidier: Tidier,
        mod_channel: ModChannel,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience: Patience | None = None,
    ) -> None:
        """`now` must agree with the clock of the store."""
        self._client = client
        self._parts = parts
        self._board = board
        self._previews = previews
        self._tidier = tidier
        self._mod_channel = mod_channel
        self._now = now
        self._patience = patience or Patience()
        self._sending = asyncio.Semaphore(self._patience.at_once)
        self._sheets: set[str] = set()  # somebody is at them

    async def run(self) -> None:
        """Delivers until cancelled. A job that waits for Discord holds up no other one."""
        async with asyncio.TaskGroup() as group:
            async for job in self._parts.queue.finished():
                group.create_task(self._deliver(job), name=f"delivery of {job.id}")

    async def _deliver(self, job: Job) -> None:
        """Brings one job to its end; tries again after any error."""
        speak(job.submission.destination.locale)
        for pause in self._patience.pauses():
            try:
                await self._deliver_once(job)
                return
            except UnknownJobError as error:  # erased while its message was on the way
                log.info("Job %s is not delivered: %s", job.id, error)
                await self._board.remove(job)
                return
            except Exception:
                log.exception("Delivery of job %s failed, next try in %.0f s", job.id, pause)
                await asyncio.sleep(pause)

    async def _deliver_once(self, job: Job) -> None:
        if job.owner_id == NOBODY:
            await self._previews.keep(job)
            await self._parts.jobs.mark_delivered(job.id, None)
            return
        if (sheet := sheets.sheet_of(job.submission.origin)) is not None:
            if sheet not in self._sheets:  # the first of its jobs that ends looks after all of them
                self._sheets.add(sheet)
                try:
                    await self._deliver_sheet(sheet)
                finally:
                    self._sheets.discard(sheet)
            return
        await self._board.answered(job.submission.origin)
        job, verdict = await _unsafe.settle(self._client, self._parts, job)
        if verdict is Classifier.HOLD:
            self._mod_channel.wake()
        parcel = await self._pack(job, verdict)
        if parcel is None:  # the pictures were deleted before they could be sent
            await self._parts.jobs.mark_delivered(job.id, None)
            await self._board.remove(job)
            return
        previous = await self._parts.jobs.begin_sending(job.id)
        sent = await self._send(parcel, previous)
        if verdict is Classifier.HOLD:
            await self._note_held(job, sent)
        else:
            await self._note_delivered(job, sent)
        if sent is None:
            log.warning("Job %s has no place to be delivered to, kept for /history", job.id)
        # The status line's id may be newer than the event.
        fresh = await self._parts.jobs.get(job.id)
        await self._board.remove(fresh, keep_message=sent is not None and sent.is_status_line)
        if verdict is not Classifier.HOLD:
            await self._copy(fresh)

    async def _deliver_sheet(self, sheet: str) -> None:
        """Waits for all its jobs, and sends them as one message in the name of the first."""
        await self._board.answered(sheet)
        for job in await self._parts.jobs.of_batch(sheet):
            async for _ in self._parts.queue.watch(job.id):
                pass
        judged = [
            await _unsafe.settle_in_sheet(self._client, self._parts, job)
            for job in await self._parts.jobs.of_batch(sheet)
        ]
        jobs = [job for job, _ in judged]
        told = [job for job in jobs if job.state is not JobState.CANCELLED]
        waiting = [job for job in told if job.delivered_at is None]
        if not waiting:
            return
        lead, sent = told[0], None
        if lead.delivered_at is None:
            spoiler = any(is_hidden for _, is_hidden in judged)
            parcel = await _sheet.parcel(self._parts, jobs, lead, spoiler=spoiler)
            sent = await self._send(parcel, await self._parts.jobs.begin_sending(lead.id))
        for job in waiting:
            await self._note_delivered(job, sent if job.id == lead.id else None)
        fresh = await self._parts.jobs.get(jobs[0].id)
        is_line = sent is not None and sent.is_status_line
        await self._board.remove(fresh, keep_message=is_line)

    async def _note_delivered(self, job: Job, sent: _Sent | None) -> None:
        """Stores where the result is, None for nowhere; one of an erased job is deleted again.

        Raises:
            UnknownJobError: It was erased.
        """
        place = (None, None) if sent is None else (sent.message_id, sent.channel_id)
        try:
            await self._parts.jobs.mark_delivered(job.id, *place)
        except UnknownJobError:
            if sent is not None and sent.channel_id is not None:
                await self._tidier.add(sent.channel_id, sent.message_id)
            raise

    async def _note_held(self, job: Job, sent: _Sent | None) -> None:
        """Stores where its owner was told; what was decided meanwhile makes that message needless."""
        place = (None, None) if sent is None else (sent.message_id, sent.channel_id)
        is_held = await self._parts.cases.note_told(job.id, *place)
        if not is_held and sent is not None and sent.channel_id is not None:
            await self._tidier.add(sent.channel_id, sent.message_id)

    async def _copy(self, job: Job) -> None:
        """Sends the owner a copy by DM, when that is wanted; the result is delivered without it."""
        wanted = self._parts.people.preferences(job.owner_id).dm_copies
        is_there = job.result_channel_id not in (None, job.submission.destination.channel_id)
        is_dm = job.submission.destination.guild_id is None or is_there
        if job.state is not JobState.RENDERED or is_dm or not wanted:
            return
        try:
            generation = await self._parts.history.get(job.id)
            nonce = f"{job.id}:d"
            async with self._sending, asyncio.timeout(_ATTEMPT_S):
                await _sharing.send_copy(
                    self._client, self._parts, generation, job.owner_id, nonce=nonce
                )
        except (*_TRANSIENT, discord.HTTPException, RequestError) as error:
            log.info("Job %s: no copy by DM: %r", job.id, error)

    async def _pack(self, job: Job, verdict: Classifier) -> Parcel | None:
        if job.state is not JobState.RENDERED:
            return _parcel.failure(job)
        if verdict is Classifier.HOLD:
            return _parcel.held(job)
        generation = await self._parts.history.get(job.id)
        if generation.deleted_at is not None or not generation.pictures:
            return None
        style = _styles.written(self._parts.styles, job.request.adapters)
        wish = self._parts.server_models.of(job.submission.destination.guild_id).default
        other = "" if job.submission.pins_model or wish in (None, job.request.model) else wish
        return _parcel.result(
            job,
            generation,
            await self._usage(job),
            style,
            other or "",
            spoiler=verdict is Classifier.SPOILER,
        )

    async def _usage(self, job: Job) -> Usage | None:
        try:
            return await self._parts.ledger.usage(job.owner_id, self._parts.rules.of(job.owner_id))
        except EngineError as error:
            log.warning("Usage of the owner of job %s is not known: %s", job.id, error)
            return None

    async def _send(self, parcel: Parcel, previous: datetime | None) -> _Sent | None:
        """Returns the message, or None when no place is open to us."""
        job = parcel.job
        destination = job.submission.destination
        if destination.private or self._is_outside(job):
            sent = await self._by_token(parcel)
            if sent is not None:
                return sent
        if not destination.private:
            channel = self._client.get_partial_messageable(
                destination.channel_id, guild_id=destination.guild_id
            )
            sent = await self._to_channel(parcel, channel, previous)
            if sent is not None:
                return sent
            log.info("Job %s: its channel is closed, trying a DM", job.id)
            parcel = parcel.elsewhere()
        return await self._by_dm(parcel, previous)

    async def _by_token(self, parcel: Parcel) -> _Sent | None:
        """Turns the private status line into the result; None when the token is of no use."""
        job = parcel.job
        for pause in self._patience.pauses():
            interaction = self._board.token_of(job.id)
            line = self._board.get(job.id)
            if interaction is None or line is None:
                return None
            limit = interaction.filesize_limit
            line.ended = True
            try:
                async with asyncio.timeout(_ATTEMPT_S), self._sending, line.lock:
                    message = await interaction.edit_original_response(
                        content=parcel.content,
                        attachments=await parcel.files(self._parts.pictures, limit),
                        view=parcel.view(),
                        allowed_mentions=parcel.mentions(),
                    )
                return _Sent(message.id, is_status_line=True)
            except RequestError as error:
                parcel = _unreadable(parcel, error)
                continue
            except discord.HTTPException as error:
                if error.status < 500:
                    log.info("Job %s: the private line cannot be edited: %s", job.id, error)
                    return None
                log.info("Job %s not delivered yet: %r", job.id, error)
            except _TRANSIENT as error:
                log.info("Job %s not delivered yet: %r", job.id, error)
            await asyncio.sleep(pause)
        return None

    async def _by_dm(self, parcel: Parcel, previous: datetime | None) -> _Sent | None:
        for pause in self._patience.pauses():
            try:
                channel = await self._client.create_dm(discord.Object(parcel.job.owner_id))
            except _TRANSIENT as error:
                log.info("Job %s not delivered yet: %r", parcel.job.id, error)
                await asyncio.sleep(pause)
            except discord.HTTPException as error:
                if not _errors.is_passing(error):
                    log.info("Job %s: no DM to its owner: %s", parcel.job.id, error)
                    return None
                log.info("Job %s not delivered yet: %s", parcel.job.id, error)
                await asyncio.sleep(pause)
            else:
                return await self._to_channel(parcel, channel, previous)
        return None

    async def _to_channel(
        self,
        parcel: Parcel,
        channel: discord.PartialMessageable | discord.DMChannel,
        previous: datetime | None,
    ) -> _Sent | None:
        """Sends until the outcome is known; returns None when the channel is closed to us."""
        began = previous or self._now()
        is_uncertain = previous is not None
        limit = self._file_limit(parcel.job)
        for pause in self._patience.pauses():
            try:
                if is_uncertain and self._now() - began > NONCE_LIFE:
                    found = await self._find(parcel, channel, began)
                    if found is not None:
                        return _Sent(found, channel.id)
                async with self._sending, asyncio.timeout(_ATTEMPT_S):
                    message = await channel.send(
                        parcel.content,
                        files=await parcel.files(self._parts.pictures, limit),
                        view=parcel.view(),
                        nonce=parcel.nonce,
                        allowed_mentions=parcel.mentions(),
                    )
                return _Sent(message.id, channel.id)
            except _TRANSIENT as error:
                is_uncertain = True
                log.info("Job %s not delivered yet: %r", parcel.job.id, error)
            except RequestError as error:
                parcel = _unreadable(parcel, error)
                continue
            except discord.HTTPException as error:
                if _errors.is_unreachable(error):
                    return None
                if _errors.is_passing(error):
                    is_uncertain = True
                    log.info("Job %s not delivered yet: %s", parcel.job.id, error)
                elif parcel.pictures and _is_too_large(error) and limit > _LEAST_BYTES:
                    limit //= 2
                    continue
                elif parcel.pictures:
                    # A message that Discord will never take must not be sent for ever.
                    log.error("Job %s: Discord refused the result: %s", parcel.job.id, error)
                    parcel = _parcel.apology(parcel.job, t(_parcel.TOO_LARGE))
                    continue
                else:
                    log.error("Job %s: Discord refused the message: %s", parcel.job.id, error)
                    return None
            await asyncio.sleep(pause)
        return None

    async def _find(
        self,
        parcel: Parcel,
        channel: discord.PartialMessageable | discord.DMChannel,
        began: datetime,
    ) -> int | None:
        """Returns our message of an earlier try, known by its buttons."""
        # The clocks of Discord and of this machine differ, so "after the first try" is taken
        # widely, and the newest messages are looked through as well.
        asked = _snowflake_of(parcel.job)
        since = max(asked, discord.utils.time_snowflake(began - _CLOCK_DIFFERENCE))
        try:
            for after, oldest_first in ((since, True), (asked, False)):
                async for message in channel.history(
                    limit=_SEARCH_DEPTH, after=discord.Object(after), oldest_first=oldest_first
                ):
                    if self._is_mine(message) and _buttons.carries(
                        message, parcel.job.id, parcel.actions
                    ):
                        return message.id
        except discord.Forbidden as error:
            if _errors.is_passing(error):
                raise
            log.info("Job %s: the channel's history cannot be read", parcel.job.id)
        return None

    def _is_mine(self, message: discord.Message) -> bool:
        return self._client.user is not None and message.author.id == self._client.user.id

    def _is_outside(self, job: Job) -> bool:
        """True when the answer is all that the bot can show where the job was asked for."""
        interaction = self._board.token_of(job.id)
        return interaction is not None and _whereabouts.is_outside(interaction)

    def _file_limit(self, job: Job) -> int:
        """Returns the largest file in bytes that Discord takes at the job's place."""
        line = self._board.get(job.id)
        if line is not None and line.file_limit is not None:
            return line.file_limit
        guild_id = job.submission.destination.guild_id
        guild = self._client.get_guild(guild_id) if guild_id is not None else None
        if guild is None or guild.unavailable:
            return discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES
        return guild.filesize_limit


def _snowflake_of(job: Job) -> int:
    """Returns an id of the time when the job was asked for; every message of its own is newer."""
    kind, _, number = job.submission.origin.partition(":")
    if kind in ("interaction", "message") and number.isdecimal():
        return int(number)
    return discord.utils.time_snowflake(job.created_at - _CLOCK_DIFFERENCE)


def _unreadable(parcel: Parcel, error: RequestError) -> Parcel:
    """Returns the apology for pictures that were deleted or damaged after they were made."""
    log.warning("Job %s: a picture cannot be read: %s", parcel.job.id, error)
    return _parcel.apology(parcel.job, _errors.words(error))


def _is_too_large(error: discord.HTTPException) -> bool:
    return error.status == 413 or error.code == _TOO_LARGE
