"""What the store is told of the jobs: their start, their end, and nothing lost when it is out of order.

A full or slow disk delays the end of a job, it never drops one: the result stays in memory and is
written again and again with growing pauses. What the store can never take (a receipt that is no
JSON) ends its job as failed, since it would fail for ever and hold up the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from engine.errors import (
    EngineError,
    GenerationCancelledError,
    GenerationError,
    StartError,
    error_from_wire,
)
from engine.interfaces import JobStore
from engine.live import LiveJob, event_of
from engine.types import (
    GenerationFailed,
    GenerationResult,
    Job,
    JobEvent,
    JobState,
    Started,
    Submission,
)

_log = logging.getLogger(__name__)

T = TypeVar("T")

_NOT_STORED = "The result could not be stored. The operator's log says why."


class JobKeeper:
    """Writes the lives of jobs into the store, each in its own order."""

    def __init__(
        self, store: JobStore, *, retry_s: tuple[float, float], on_saved: Callable[[], None]
    ) -> None:
        """Prepares a keeper.

        Args:
            store: Where the jobs are.
            retry_s: First and longest pause before the store is tried again.
            on_saved: Called when `unsaved` became less.
        """
        self._store = store
        self._retry_s = retry_s
        self._on_saved = on_saved
        self._unsaved = 0
        self._finished: asyncio.Queue[Job] = asyncio.Queue()
        self._told: set[str] = set()  # those of the store that may come by the queue as well

    @property
    def unsaved(self) -> int:
        """Jobs that the engine is done with and the store is not."""
        return self._unsaved

    async def unfinished(self) -> Sequence[Job]:
        """Returns the jobs to go on with, as soon as the store is in order.

        Raises:
            StartError: They cannot be read.
        """
        return await self._at_start("jobs", self._store.unfinished)

    async def finished(self) -> AsyncIterator[Job]:
        """Yields the rendered and failed jobs whose owner is to be told; see `JobQueue.finished`.

        Raises:
            StartError: Those of the last run cannot be read.
        """
        while not self._finished.empty():
            self._finished.get_nowait()  # the store has them as well
        self._told.clear()
        for job in await self._at_start("results", self._store.undelivered):
            self._told.add(job.id)
            yield job
        while True:
            job = await self._finished.get()
            if job.id not in self._told:
                yield job
            self._told.discard(job.id)

    def tell_again(self, job: Job) -> None:
        """Lets the owner of a job that was delivered be told something new of it."""
        self._told.discard(job.id)
        self._finished.put_nowait(job)

    async def follow(self, live: LiveJob) -> JobEvent | None:
        """Writes down what comes into the job's inbox, and returns its final event.

        None when the job was cancelled before the engine was done with it.
        """
        while True:
            event = await live.inbox.get()
            if live.has_ended():
                return None
            if isinstance(event, Started):
                await self._mark_running(live.job.id)
            else:
                self._unsaved += 1
                try:
                    return await self._conclude(live.job.id, event)
                finally:
                    self._unsaved -= 1
                    self._on_saved()

    async def refuse(
        self, submission: Submission, error: EngineError, status_message_id: int | None
    ) -> None:
        """Stores a job that could not begin and lets its owner be told."""
        job = await self._persist(
            submission.origin,
            lambda: self._store.refuse(submission, error, status_message_id=status_message_id),
        )
        if job.state is JobState.FAILED and job.delivered_at is None:
            self._finished.put_nowait(job)

    async def count_death(self, job_ids: Sequence[str]) -> None:
        """Counts an engine death against its suspects."""
        try:
            await self._store.add_attempt(job_ids)
        except Exception:  # only a start of the bot right after it would miss the count
            _log.exception("An engine death could not be counted against %s.", ", ".join(job_ids))

    async def _mark_running(self, job_id: str) -> None:
        try:
            await self._store.mark_running(job_id)
        except Exception:  # nothing depends on it: both states are recovered alike
            _log.exception("Job %s could not be marked as running.", job_id)

    async def _conclude(self, job_id: str, event: JobEvent) -> JobEvent:
        """Writes the end of a job; returns `event`, or the other end that the store has."""
        try:
            try:
                return await self._write_end(job_id, event)
            except EngineError:
                raise
            except Exception:
                _log.exception("The end of job %s could not be stored.", job_id)
            failed = GenerationFailed(job_id, GenerationError.__name__, _NOT_STORED)
            return await self._write_end(job_id, failed)
        except EngineError as error:  # it was deleted from the store meanwhile
            _log.warning("Job %s ended unrecorded: %s", job_id, error)
            return GenerationFailed(job_id, type(error).__name__, str(error))
        except Exception:
            _log.exception("Job %s ended unrecorded; the next start makes it again.", job_id)
            return GenerationFailed(job_id, GenerationError.__name__, _NOT_STORED)

    async def _write_end(self, job_id: str, event: JobEvent) -> JobEvent:
        match event:
            case GenerationResult() as result:
                job = await self._persist(job_id, lambda: self._store.finish(job_id, result))
                is_ours = job.state is JobState.RENDERED
            case GenerationFailed(error=name, message=message):
                error = error_from_wire(name, message)
                is_cancel = isinstance(error, GenerationCancelledError)
                state = JobState.CANCELLED if is_cancel else JobState.FAILED
                ended = await self._persist(job_id, lambda: self._store.end(job_id, state, error))
                is_ours = ended is not None
                if ended is None:
                    ended = await self._persist(job_id, lambda: self._store.get(job_id))
                job = ended
            case _:
                raise TypeError(f"{type(event).__name__} is no end of a job")
        if is_ours and job.state is not JobState.CANCELLED:
            self._finished.put_nowait(job)
        return event if is_ours else event_of(job) or event

    async def _at_start(self, what: str, access: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._persist(what, access)
        except EngineError:
            raise
        except Exception as error:
            _log.exception("The %s of the last run cannot be read.", what)
            raise StartError(
                f"The {what} of the last run cannot be read from the database "
                f"({type(error).__name__}). The log says more; a backup of the data directory may help."
            ) from error

    async def _persist(self, what: str, access: Callable[[], Awaitable[T]]) -> T:
        """Returns what `access` returns, tried again while the world outside is out of order.

        Raises:
            EngineError: The store's answer.
            Exception: The data or the program is wrong; another try would fail as well.
        """
        pause, longest = self._retry_s
        while True:
            try:
                return await access()
            except Exception as error:
                if not self._store.is_passing(error):
                    raise
                _log.exception("The store failed (%s). Next try in %.1f s.", what, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
