"""The board keeps the status line of every job up to date until its picture replaces it.

A line is edited when what it would say has changed, spaced in time for each job and for each channel:
through the interaction's token while that lives, as an ordinary message afterwards and after a
restart. The words are in `_status`.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
import discord
from asyncio_throttle.throttler import Throttler
from discord.utils import MISSING

from cogs import _buttons, _errors, _status
from cogs._language import speak, t
from engine.errors import RequestError, UnknownJobError
from engine.queue import JobQueue
from engine.types import (
    Destination,
    GenerationFailed,
    GenerationResult,
    Job,
    JobEvent,
    JobState,
    Progress,
    Queued,
    Started,
)
from storage.jobs import JobTable

log = logging.getLogger(__name__)

TOKEN_LIFE_S = 14 * 60.0  # Discord's 15 minutes, less what is on its way
_EDIT_S = 60.0  # then a newer state is worth more
_REMEMBERED = 1000  # jobs that are over, whose line may still come
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0  # between two tries to delete a line
_OUT_OF_REACH_S = 3600.0  # a permission that was taken away may be given back


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things may happen, in seconds.

    Attributes:
        running: Between two edits of one running job's line.
        near: Between two edits while the job is among the first three in line.
        far: The same further back, where little changes.
        refresh: Looks at the engine's state at least so often.
        retry: Before the database is asked again.
        channel_edits: Edits of all lines of a channel in `channel_period`.
    """

    running: float = 2.5
    near: float = 4.0
    far: float = 15.0
    refresh: float = 3.0
    retry: float = 5.0
    channel_edits: int = 4
    channel_period: float = 5.0


@dataclass(slots=True, eq=False)
class Line:
    """One status line and what is known of its job."""

    job: Job
    message_id: int | None
    throttler: Throttler
    interaction: discord.Interaction | None = None
    token_until: float = 0.0  # on the board's clock
    event: JobEvent | None = None
    preview: bytes | None = None  # the newest; most steps come without one
    ended: bool = False  # nobody edits it any more
    ended_by: int | None = None  # who cancels the job for its owner
    shown: _status.Face | None = None
    edited_at: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_over(self) -> bool:
        """True when nobody edits the line any more."""
        return self.ended

    def take(self, event: JobEvent) -> None:
        """Notes what happened to the job."""
        self.event = event
        if not isinstance(event, Progress):
            self.preview = None  # made again from its first step, or over
        elif event.preview is not None:
            self.preview = event.preview
        self.changed.set()

    @property
    def file_limit(self) -> int | None:
        """Bytes that Discord takes for one file here, as it said itself."""
        return self.interaction.filesize_limit if self.interaction is not None else None


class Board:
    """All status lines."""

    def __init__(
        self,
        *,
        client: discord.Client,
        queue: JobQueue,
        jobs: JobTable,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
        may_preview: Callable[[Destination], bool] = lambda _: True,
    ) -> None:
        """Nothing is edited before `run`; `may_preview` says where unfinished pictures are shown."""
        self._may_preview = may_preview
        self._client = client
        self._queue = queue
        self._jobs = jobs
        self._clock = clock
        self._pace = pace or Pace()
        self._lines: dict[str, Line] = {}
        self._arrivals: asyncio.Queue[Line] = asyncio.Queue()
        self._answering: dict[str, asyncio.Event] = {}
        self._over: dict[str, None] = {}  # jobs delivered or erased, in that order
        self._throttlers: weakref.WeakValueDictionary[int, Throttler] = (
            weakref.WeakValueDictionary()
        )

    async def run(self) -> None:
        """Keeps the lines until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._adopt(), name="status lines of before the restart")
            while True:
                line = await self._arrivals.get()
                group.create_task(self._keep(line), name=f"status line of {line.job.id}")

    @contextmanager
    def answering(self, origin: str) -> Iterator[None]:
        """Marks that the answer to a submission is on its way, so that its result waits for it."""
        if origin in self._answering:  # the same interaction once more
            yield
            return
        self._answering[origin] = done = asyncio.Event()
        try:
            yield
        finally:
            del self._answering[origin]
            done.set()

    async def answered(self, origin: str, timeout_s: float = 10.0) -> None:
        """Returns when the answer to the submission is out, or after the timeout."""
        done = self._answering.get(origin)
        if done is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await done.wait()
        except TimeoutError:
            log.warning("The answer to %s took longer than %.0f s", origin, timeout_s)

    def add(
        self,
        job: Job,
        message_id: int | None,
        interaction: discord.Interaction | None = None,
        shown: _status.Face | None = None,
    ) -> None:
        """Takes over a line that is there already and shows `shown`; once for each job."""
        if job.id in self._lines:
            return
        channel_id = job.submission.destination.channel_id
        throttler = self._throttlers.get(channel_id)
        if throttler is None:
            throttler = Throttler(
                rate_limit=self._pace.channel_edits,
                period=self._pace.channel_period,
                retry_interval=min(0.25, self._pace.channel_period / 4),
            )
            self._throttlers[channel_id] = throttler
        line = Line(job, message_id, throttler, interaction, shown=shown)
        now = self._clock()
        line.edited_at = now
        if interaction is not None:
            line.token_until = now + TOKEN_LIFE_S
        line.ended = job.id in self._over
        self._lines[job.id] = line
        self._arrivals.put_nowait(line)

    def get(self, job_id: str) -> Line | None:
        """Returns the line while the board keeps it."""
        return self._lines.get(job_id)

    def name_canceller(self, job_id: str, person_id: int) -> None:
        """Says who is about to cancel a job, for the last words of its line."""
        line = self._lines.get(job_id)
        if line is not None:
            line.ended_by = person_id

    def token_of(self, job_id: str) -> discord.Interaction | None:
        """Returns the job's interaction while its token can be used."""
        line = self._lines.get(job_id)
        if line is None or self._clock() >= line.token_until:
            return None
        return line.interaction

    async def release(self, job_id: str) -> Line | None:
        """Stops editing a job's line, waits for an edit on its way, and returns the line."""
        line = self._lines.pop(job_id, None)
        if line is not None:
            line.ended = True
            line.changed.set()
            async with line.lock:
                pass
        return line

    async def forget(self, job_id: str) -> None:
        """Leaves an erased job's line to whoever deletes it; one that comes later is deleted here."""
        self._note_over(job_id)
        await self.release(job_id)

    async def remove(self, job: Job, *, keep_message: bool = False) -> None:
        """Deletes a job's line after its result is out; never raises for Discord.

        `keep_message`: the line has become the result (private jobs).
        """
        self._note_over(job.id)
        line = await self.release(job.id)
        if keep_message:
            return
        if line is None:
            if job.status_message_id is None or job.submission.destination.private:
                return
            line = Line(job, job.status_message_id, Throttler(1))
        await self._delete(line)

    async def note(self, job_id: str, message_id: int) -> None:
        """Notes where a line is, for the next start; never raises for the store."""
        try:
            await self._jobs.set_status_message(job_id, message_id)
        except UnknownJobError:
            log.info("Job %s was erased while its status line was on the way", job_id)
        except Exception:  # the job is accepted; only a restart would miss its line
            log.exception("The status line of job %s is not noted", job_id)

    async def settled(self, job_id: str, message_id: int | None) -> None:
        """Notes that nothing is left to do about a line: the next start leaves it alone."""
        if message_id is None:
            return
        try:
            await self._jobs.set_status_message(job_id, None)
        except UnknownJobError:
            log.info("Job %s was erased, its status line is gone", job_id)
        except Exception:  # then the next start looks after it once more
            log.exception("The end of the status line of job %s is not noted", job_id)

    def _note_over(self, job_id: str) -> None:
        self._over[job_id] = None
        while len(self._over) > _REMEMBERED:
            del self._over[next(iter(self._over))]

    # Keeping one line

    async def _keep(self, line: Line) -> None:
        speak(line.job.submission.destination.locale)
        try:
            if line.is_over():  # delivered or erased before the line was known
                await self._delete(line)
                return
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch(line))
                while not line.is_over():
                    await self._next_change(line)
                    if self._face(line) != line.shown and not line.is_over():
                        await self._wait_turn(line)
                        await self._paint(line)
                watcher.cancel()
            match line.event:
                case GenerationFailed(error=_status.CANCELLED) if line.job.id in self._lines:
                    await self.settled(line.job.id, line.message_id)
        except Exception:
            log.exception("The status line of job %s is not kept any more", line.job.id)
        finally:
            line.ended = True
            match line.event:
                case None | GenerationFailed(error=_status.CANCELLED):
                    self._lines.pop(line.job.id, None)  # no result will come and remove it

    async def _watch(self, line: Line) -> None:
        try:
            async for event in self._queue.watch(line.job.id):
                line.take(event)
        except RequestError:  # forgotten while the answer was on its way
            line.ended = True
            line.changed.set()

    async def _next_change(self, line: Line) -> None:
        try:
            async with asyncio.timeout(self._pace.refresh):
                await line.changed.wait()
        except TimeoutError:
            pass  # the engine's state or the place in line may have changed
        line.changed.clear()

    async def _wait_turn(self, line: Line) -> None:
        due = line.edited_at + self._spacing(line)
        while not line.is_over() and (rest := due - self._clock()) > 0:
            # A step does not end the wait, being started or over does.
            before = type(line.event)
            try:
                async with asyncio.timeout(rest):
                    await line.changed.wait()
            except TimeoutError:
                break
            line.changed.clear()
            if type(line.event) is not before:
                due = min(due, line.edited_at + self._spacing(line))
        if not line.is_over():  # or it would spend an edit that others wait for
            async with line.throttler:
                pass

    def _spacing(self, line: Line) -> float:
        if not isinstance(line.event, Queued):
            return self._pace.running
        return self._pace.near if line.event.position <= 3 else self._pace.far

    def _face(self, line: Line) -> _status.Face | None:
        """Returns what the line should show; None when it should stay as it is."""
        event = line.event
        if isinstance(event, Queued):
            event = self._queue.place(line.job.id) or event
        match event:
            case Queued():
                queue = self._queue
                return _status.queued(
                    line.job, event, queue.engine_state, line.shown, flow=queue.flow
                )
            case Started():
                return _status.started(line.job)
            case Progress():
                is_shown = self._may_preview(line.job.submission.destination)
                return _status.running(line.job, event, line.preview if is_shown else None)
            case GenerationFailed(error=_status.CANCELLED):
                return _status.cancelled(line.job, line.ended_by)
            case GenerationResult() | GenerationFailed() | None:
                return line.shown  # the delivery will remove it

    async def _paint(self, line: Line) -> None:
        async with line.lock:
            if line.is_over():
                return
            face = self._face(line)
            if face is None or face == line.shown:
                return
            is_shown = False
            try:
                async with asyncio.timeout(_EDIT_S):
                    await self._edit(line, face)
                is_shown = True
            except discord.HTTPException as error:
                is_refused = error.status < 500 and error.status != 429
                if _errors.is_unreachable(error) or error.status == 401:
                    line.ended = True  # deleted by somebody, or out of reach
                elif is_refused and face.is_last:
                    line.ended = True
                    log.error("Status line of job %s not edited: %s", line.job.id, error)
                else:
                    log.warning("Status line of job %s not edited: %s", line.job.id, error)
            except (
                aiohttp.ClientError,
                OSError,
                TimeoutError,
                discord.RateLimited,
            ) as error:
                log.info("Status line of job %s not edited: %r", line.job.id, error)
            line.edited_at = self._clock()
            # A newer face follows one that was not shown, but for the last one: that is tried again.
            if is_shown or not face.is_last:
                line.shown = face
            if is_shown and face.is_last:
                line.ended = True

    async def _edit(self, line: Line, face: _status.Face) -> None:
        view = _buttons.status_view(line.job.id, face.button) if face.button else None
        attachments = _preview_of(line, face)
        if line.interaction is not None and self._clock() < line.token_until:
            try:
                await line.interaction.edit_original_response(
                    content=face.content, view=view, attachments=attachments
                )
                return
            except discord.HTTPException as error:
                if error.code != _errors.INVALID_TOKEN and error.status != 401:
                    raise
                line.token_until = 0.0
                attachments = _preview_of(line, face)  # a file can be sent once only
        message = self._message(line)
        if message is None:
            line.ended = True
            return
        await message.edit(content=face.content, view=view, attachments=attachments)

    def _message(self, line: Line) -> discord.PartialMessage | None:
        """Returns the line as an ordinary message; private ones can only be reached by token."""
        destination = line.job.submission.destination
        if line.message_id is None or destination.private:
            return None
        channel = self._client.get_partial_messageable(
            destination.channel_id, guild_id=destination.guild_id
        )
        return channel.get_partial_message(line.message_id)

    async def _delete(self, line: Line) -> None:
        """Deletes a line; tries again until it is gone, or was out of reach for long."""
        pause, until = _FIRST_PAUSE_S, self._clock() + _OUT_OF_REACH_S
        while True:
            try:
                if await self._is_deleted(line):
                    break
            except discord.HTTPException as error:
                if self._clock() >= until:
                    log.warning("The status line of job %s stays: %s", line.job.id, error)
                    break
                log.info("Status line of job %s out of reach: %s", line.job.id, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        await self.settled(line.job.id, line.message_id)

    async def _is_deleted(self, line: Line) -> bool:
        """Tries once; False when Discord or the connection failed.

        The token also reaches what only one person sees, and lines where the bot may not look any more.

        Raises:
            discord.HTTPException: Neither the bot nor the token may.
        """
        ways: list[Callable[[], Awaitable[None]]] = []
        if (message := self._message(line)) is not None:
            ways.append(message.delete)
        if line.interaction is not None and self._clock() < line.token_until:
            ways.append(line.interaction.delete_original_response)
        refusal: discord.HTTPException | None = None
        for delete in ways:
            try:
                await delete()
                return True
            except discord.HTTPException as error:
                if error.code == _errors.INVALID_TOKEN:
                    continue
                if _errors.is_passing(error):
                    log.info("Status line of job %s not deleted yet: %s", line.job.id, error)
                    return False
                refusal = None if isinstance(error, discord.NotFound) else error
            except (discord.RateLimited, aiohttp.ClientError, OSError) as error:
                log.info("Status line of job %s not deleted yet: %r", line.job.id, error)
                return False
        if refusal is not None:
            raise refusal
        return True

    # Lines of before the restart

    async def _adopt(self) -> None:
        """Takes over the lines that the process before has left."""
        while True:
            try:
                stored = await self._jobs.with_status_line()
                break
            except Exception:
                log.exception("Status lines of before the restart are not known yet")
                await asyncio.sleep(self._pace.retry)
        left_behind = [job for job in stored if job.delivered_at is not None]
        for job in stored:
            # A result that is not delivered yet removes its line itself.
            if job.state not in (JobState.RENDERED, JobState.FAILED):
                self.add(job, job.status_message_id)
        async with asyncio.TaskGroup() as group:  # one that must wait holds up no other
            for job in left_behind:
                group.create_task(self.remove(job), name=f"status line of {job.id}")


def _preview_of(line: Line, face: _status.Face) -> list[discord.File]:
    """Returns the attachments of an edit; MISSING leaves the preview that is there."""
    if line.shown is not None and face.preview == line.shown.preview:
        return MISSING  # type: ignore[no-any-return]  # discord.py's "not given" fits every type
    if face.preview is None:
        return []
    return [
        discord.File(
            io.BytesIO(face.preview),
            "preview.jpg",
            spoiler=line.job.submission.destination.spoiler,
            description=t("Preview of the unfinished picture"),
        )
    ]
