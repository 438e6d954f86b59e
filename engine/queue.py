"""The order of jobs: everything that makes a picture goes in through `JobQueue.submit`.

A job is stored, then paced, then waits in the fair queue, then goes to the engine as soon as there is
room for its rows, and leaves when the store has its end. The backlog stays here, so that fairness
and cancelling act at once; the engine holds what its batch can run and one job more.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

from engine.errors import (
    EngineDiedError,
    EngineError,
    GenerationCancelledError,
    GenerationError,
    InvalidRequestError,
    QueueClosedError,
    RequestError,
)
from engine.eta import WorkRate
from engine.interfaces import Engine, JobStore
from engine.keeper import JobKeeper
from engine.lineup import EngineState, Lineup
from engine.live import LiveJob, Stage
from engine.pacing import Pacer
from engine.types import (
    NOBODY,
    EngineDied,
    EngineEvent,
    EngineInfo,
    EngineLoading,
    EngineReady,
    Flow,
    GenerationFailed,
    GenerationRequest,
    GenerationResult,
    Job,
    JobEvent,
    JobState,
    Limits,
    Progress,
    Started,
    Submission,
)
from engine.words import N_

_log = logging.getLogger(__name__)

PACE = (4, 2.0)  # jobs of a person that enter the fair queue in so many seconds
_MAX_UNSAVED = 16  # jobs whose results wait for the disk, before no more are made
_MAX_DECODING_ROWS = 8  # also of a small batch: the largest job
_CANCELLED = "The job was cancelled."
CLOSED = N_(
    "No new pictures are taken for now: the operator of this bot lets the queue run empty. "
    "Try again later."
)


def as_asked(job: Job, info: EngineInfo) -> GenerationRequest:
    """Returns the job's request; raises InvalidRequestError when the model cannot make it."""
    info.check(job.request)
    return job.request


class JobQueue(Lineup):
    """Takes submissions, runs them on the engine in a fair order, and tells how each one goes."""

    def __init__(
        self,
        *,
        store: JobStore,
        engine: Engine,
        limits: Callable[[Submission], Limits],
        checks: Sequence[Callable[[Submission], Awaitable[None]]] = (),
        clock: Callable[[], float] = time.monotonic,
        pace: tuple[int, float] = PACE,
        retry_s: tuple[float, float] = (0.2, 30.0),
        flow: Flow = Flow.OPEN,
        refit: Callable[[Job, EngineInfo], GenerationRequest] = as_asked,
    ) -> None:
        """Prepares a queue; nothing moves before `run`.

        Args:
            store: Remembers the jobs.
            engine: Makes the pictures.
            limits: What the store may accept of a submission's owner.
            checks: Raise a RequestError for what may not be made at all; run in order.
            clock: Seconds, for the estimated times.
            pace: (jobs, seconds): so many of a person's jobs enter the fair queue in that time.
            retry_s: First and longest pause before a store that failed is tried again.
            flow: Whether it goes on, as it was decided before this start.
            refit: What a loaded model makes for a waiting job; raises InvalidRequestError when it cannot.
        """
        pacer = Pacer(*pace, enter=self._enter)
        super().__init__(store=store, engine=engine, pacer=pacer, clock=clock, flow=flow)
        self._limits = limits
        self._refit = refit
        self._checks = checks
        self._keeper = JobKeeper(store, retry_s=retry_s, on_saved=self._wake)
        self._early: list[Job] = []  # submitted before the recovery
        self._cancelled_early: set[str] = set()
        self._is_recovered = False
        self._may_send = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    def finished(self) -> AsyncIterator[Job]:
        """Yields the rendered and failed jobs whose owner is to be told; one reader at a time.

        First those of the store, then each one as it ends.
        """
        return self._keeper.finished()

    # What others do.

    async def submit(self, submission: Submission) -> Job:
        """Accepts a submission: checked, priced, stored, and in the queue. The one entrance.

        The same `origin` twice is one job. Works while the engine loads.

        Raises:
            RequestError: It may not or cannot be made, or a limit is reached.
            EngineDiedError: Nothing is known of the engine yet.
        """
        await self.check(submission)
        info = self._engine.info
        if info is None:
            raise EngineDiedError("The engine is starting. Try again in a moment.")
        info.check(submission.request)
        cost, limits = info.cost(submission.request), self._limits(submission)
        if submission.owner_id == NOBODY:  # free, and there are few of them
            cost, limits = 0.0, Limits(waiting=limits.queue, queue=limits.queue)
        job, is_new = await self._store.add(submission, cost=cost, limits=limits)
        # One that is not new, waits and is not here was stored by a call that was then cancelled.
        if is_new or (job.state is JobState.QUEUED and job.id not in self._live):
            if not self._is_recovered:
                self._early.append(job)
            elif job.id not in self._live:
                if self._pacer.add(self._take_up(job)):
                    self._start_task(self._pacer.let_through(job.owner_id))
                self._reordered()
                # Unless it has to be paced, it is in the fair queue after this: `place` is right.
                await asyncio.sleep(0)
        return job

    async def check(self, submission: Submission) -> None:
        """Raises the RequestError that keeps a submission from being made, before anything is done.

        For those that wait for something else first; `submit` asks again.
        """
        if self._flow is Flow.DRAINING:
            raise QueueClosedError(CLOSED)
        for check in self._checks:
            await check(submission)

    async def refuse(
        self, submission: Submission, error: EngineError, *, status_message_id: int | None = None
    ) -> None:
        """Notes an acknowledged submission that cannot become a job; its owner is told and not charged.

        Waits while the store is out of order.
        """
        await self._keeper.refuse(submission, error, status_message_id)

    async def tell_again(self, job_id: str) -> None:
        """Yields a job by `finished` once more, which the store has as one that is not delivered.

        Raises:
            UnknownJobError: There is no such job.
        """
        self._keeper.tell_again(await self._store.get(job_id))

    async def cancel(self, job_id: str) -> bool:
        """Ends a job in any state; False when it had ended already.

        Raises:
            UnknownJobError: There is no such job.
        """
        error = GenerationCancelledError(_CANCELLED)
        if await self._store.end(job_id, JobState.CANCELLED, error) is None:
            return False
        live = self._live.get(job_id)
        if live is None:
            if not self._is_recovered:
                self._cancelled_early.add(job_id)
            return True
        if live.stage is Stage.ARRIVING:
            self._pacer.remove(live)
        self._fair.remove(job_id)
        self._close(live, GenerationFailed(job_id, type(error).__name__, _CANCELLED))
        if job_id in self._in_engine:
            self._fair.credit(live.job.owner_id, live.work_left)
            await self._engine.cancel(job_id)
        return True

    async def bump(self, job_id: str) -> bool:
        """Puts a waiting job in front of all others; False when the engine has it, or it ended.

        Raises:
            UnknownJobError: There is no such job.
        """
        if not self._is_in_line(job_id):
            await self._store.get(job_id)
            return False
        await self._store.mark_bumped(job_id)  # so that it is there again after a restart
        if not self._is_in_line(job_id):  # it was its turn meanwhile
            return False
        live = self._live[job_id]
        if live.stage is Stage.ARRIVING:
            self._pacer.remove(live)
            self._enter(live)
        self._fair.bump(job_id)
        self._reordered()
        self._wake()
        return True

    def set_flow(self, flow: Flow) -> None:
        """Pauses the queue, lets it run empty, or lets it go on; see `Flow`."""
        self._flow = flow
        self._reordered()
        self._wake()

    async def run(self) -> None:
        """Recovers unfinished jobs, then keeps the engine busy until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._read_events())
                await self._recover()
                await self._dispatch()
        finally:
            self._group = None

    # Into the fair queue.

    async def _recover(self) -> None:
        """Takes up the jobs of the last run, and those that were submitted during this start."""
        jobs = [*await self._keeper.unfinished(), *self._early]
        for job in jobs:
            if job.id not in self._live and job.id not in self._cancelled_early:
                self._enter(self._take_up(job))
        bumped = [(job.bumped_at, job.id) for job in jobs if job.bumped_at is not None]
        for _, job_id in sorted(bumped):
            if job_id in self._fair:
                self._fair.bump(job_id)
        self._early.clear()
        self._cancelled_early.clear()
        self._is_recovered = True
        self._taken_up.notify()

    def _take_up(self, job: Job) -> LiveJob:
        live = self._live[job.id] = LiveJob(job)
        self._taken_up.notify()
        return live

    def _enter(self, live: LiveJob) -> None:
        live.stage = Stage.WAITING
        self._fair.add(live.job.id, live.job.owner_id, live.job.request.work)
        self._reordered()
        self._wake()

    def _is_in_line(self, job_id: str) -> bool:
        live = self._live.get(job_id)
        return live is not None and live.stage in (Stage.ARRIVING, Stage.WAITING)

    # To the engine.

    async def _dispatch(self) -> None:
        while True:
            await self._may_send.wait()
            self._may_send.clear()
            while (live := self._next_to_send()) is not None:
                await self._send(live)

    def _next_to_send(self) -> LiveJob | None:
        """Takes the next job out of the fair queue when the engine has room for it."""
        info, job_id = self._engine.info, self._fair.peek()
        if job_id is None or info is None or not self._engine.is_ready:
            return None
        if self._flow is Flow.PAUSED:
            return None
        if self._keeper.unsaved >= _MAX_UNSAVED:
            return None
        # Nobody's rows take no room away from people's, and are few.
        of_people = [one for one in self._in_engine.values() if one.job.owner_id != NOBODY]
        # Rows whose steps are done are being decoded and leave room in the batch.
        stepping = sum(live.rows for live in of_people if live.is_stepping)
        decoding = sum(live.rows for live in of_people) - stepping
        # One job beyond the knee is ready when a place becomes free; a job that is larger than the
        # batch waits until it is alone.
        is_full = stepping > info.max_rows or decoding > max(info.max_rows, _MAX_DECODING_ROWS)
        if is_full or (stepping and self._live[job_id].rows > info.max_rows):
            return None
        if self._live[job_id].job.owner_id == NOBODY and self._in_engine:
            return None
        self._fair.take()
        live = self._in_engine[job_id] = self._live[job_id]
        live.stage = Stage.SENT
        return live

    async def _send(self, live: LiveJob) -> None:
        """Hands a job to the engine; what stands against it ends this job alone."""
        job = live.job
        self._start_task(self._follow(live))
        failure: EngineError = GenerationCancelledError(_CANCELLED)
        try:
            if self._engine.info is not None:  # another handshake than the one it was accepted by
                request = self._refit(job, self._engine.info)
                if request != job.request:
                    job = live.job = await self._store.change_request(job.id, request)
            images = {name: await self._store.image(name) for name in job.request.images}
            if not live.has_ended():
                await self._engine.submit(job.id, job.request, images, job.attempts)
                if live.has_ended():  # cancelled while it was handed over
                    await self._engine.cancel(job.id)
                return
        except RequestError as error:
            failure = InvalidRequestError(str(error))
        except EngineError as error:
            failure = error
        except Exception:
            _log.exception("Job %s could not be handed to the engine.", job.id)
            failure = GenerationError("The request could not be prepared. Try again.")
        self._on_event(GenerationFailed(job.id, type(failure).__name__, str(failure)))

    # From the engine.

    async def _read_events(self) -> None:
        async for event in self._engine.events():
            self._on_event(event)

    def _on_event(self, event: EngineEvent) -> None:
        """Notes what happened; what the store is to know goes through the job's inbox."""
        if isinstance(event, EngineLoading | EngineReady | EngineDied):
            self._on_engine_state(event)
        elif (live := self._in_engine.get(event.job_id)) is not None:
            self._on_job_event(live, event)

    def _on_engine_state(self, state: EngineState) -> None:
        if isinstance(state, EngineDied):
            self._rate.stop()
            for live in self._in_engine.values():
                live.back_to_waiting()
            if state.job_ids:
                self._start_task(self._keeper.count_death(state.job_ids))
        if isinstance(state, EngineReady):
            self._look_for_misfits(state.info)
        self._engine_state = state
        self._engine_changed.notify()
        self._reordered()
        self._wake()

    def _look_for_misfits(self, info: EngineInfo) -> None:
        """Ends the waiting jobs that another model cannot make; the others are adapted in their turn."""
        if info.model != self._rate_of:
            self._rate, self._rate_of = WorkRate(), info.model
        for live in list(self._live.values()):
            if live.stage not in (Stage.ARRIVING, Stage.WAITING):
                continue
            try:
                self._refit(live.job, info)
            except InvalidRequestError as error:
                self._pacer.remove(live)
                self._fair.remove(live.job.id)
                self._in_engine[live.job.id] = live
                self._start_task(self._follow(live))
                failed = GenerationFailed(live.job.id, type(error).__name__, str(error))
                self._on_job_event(live, failed)

    def _on_job_event(self, live: LiveJob, event: JobEvent) -> None:
        now = self._clock()
        match event:
            case Started():
                live.stage, live.newest = Stage.RUNNING, event
                self._rate.begin(now)
                live.inbox.put_nowait(event)
                self._reordered()
            case Progress(step=step, total=total):
                if event.preview is None and isinstance(live.newest, Progress):
                    event = dataclasses.replace(event, preview=live.newest.preview)
                live.newest = event
                self._advance(live, step / max(total, 1), now)
            case GenerationResult() | GenerationFailed():
                del self._in_engine[live.job.id]
                if isinstance(event, GenerationResult):
                    self._advance(live, 1.0, now)
                live.stage = Stage.ENDING
                is_idle = not any(j.stage is Stage.RUNNING for j in self._in_engine.values())
                self._rate.finish_job(now, is_idle=is_idle)
                live.inbox.put_nowait(event)
                self._reordered()
        self._wake()
        live.changed.notify()

    def _advance(self, live: LiveJob, share_done: float, now: float) -> None:
        before, live.share_done = live.share_done, min(max(share_done, live.share_done), 1.0)
        self._rate.add(live.job.request.work * (live.share_done - before), now)

    async def _follow(self, live: LiveJob) -> None:
        if (final := await self._keeper.follow(live)) is not None:
            self._close(live, final)

    # Bookkeeping.

    def _close(self, live: LiveJob, final: JobEvent) -> None:
        """Gives watchers the final event; the first one counts."""
        if live.final is None:
            live.final = final
            self._live.pop(live.job.id, None)
            live.changed.notify()
            self._reordered()

    def _start_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            if self._group is None:
                raise RuntimeError("not running")
            self._group.create_task(coroutine)
        except RuntimeError:  # stopping: the store keeps what it is about for the next start
            coroutine.close()

    def _wake(self) -> None:
        self._may_send.set()
