"""What others see of the queue: whether it goes on, who is where in line, each job's newest event."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from engine.eta import WorkRate, places_of
from engine.fairness import FairQueue
from engine.interfaces import Engine, JobStore
from engine.live import LiveJob, Signal, event_of
from engine.pacing import Pacer
from engine.types import (
    EngineDied,
    EngineLoading,
    EngineReady,
    Flow,
    JobEvent,
    Queued,
)

EngineState = EngineLoading | EngineReady | EngineDied


class Lineup:
    """The jobs that are not final, as they can be read; `engine.queue.JobQueue` moves them."""

    def __init__(
        self,
        *,
        store: JobStore,
        engine: Engine,
        pacer: Pacer,
        clock: Callable[[], float] = time.monotonic,
        flow: Flow = Flow.OPEN,
    ) -> None:
        """Begins with nobody in line."""
        self._store = store
        self._engine = engine
        self._clock = clock
        self._flow = flow
        self._pacer = pacer
        self._fair = FairQueue()
        self._rate = WorkRate()
        self._rate_of = ""  # the model that was measured
        self._live: dict[str, LiveJob] = {}  # every job that is not final
        self._in_engine: dict[str, LiveJob] = {}  # cancelled ones too, until it lets go of them
        self._taken_up = Signal()  # a job became live, or the recovery is over
        self._engine_state: EngineState = EngineLoading("starting")
        self._engine_changed = Signal()
        self._places: dict[str, Queued] = {}
        self._places_at: float | None = None  # None: the order changed since

    @property
    def engine_state(self) -> EngineState:
        """What the engine is doing now."""
        return self._engine_state

    @property
    def flow(self) -> Flow:
        """Whether the queue goes on."""
        return self._flow

    async def engine_states(self) -> AsyncIterator[EngineState]:
        """Yields what the engine is doing, now and then at every change; slow readers skip."""
        seen = None
        while True:
            changed = self._engine_changed.next
            if self._engine_state is seen:
                await changed.wait()
            seen = self._engine_state
            yield seen

    def place(self, job_id: str) -> Queued | None:
        """Returns where a waiting job stands; None when it runs, ended or is not known."""
        return self._all_places().get(job_id)

    def waiting(self, owner_id: int | None = None) -> list[Queued]:
        """Returns the waiting jobs of a person, or of everybody, in the order they will start."""
        return [
            place
            for job_id, place in self._all_places().items()
            if owner_id is None or self._live[job_id].job.owner_id == owner_id
        ]

    async def watch(self, job_id: str) -> AsyncIterator[JobEvent]:
        """Yields the job's newest state and then every newer one, to the final event.

        A slow reader skips. The final event comes after the store has it; of a job that had ended
        before, it carries no pictures: they are in history.

        Raises:
            UnknownJobError: There is no such job.
        """
        taken_up = self._taken_up.next
        while (live := self._live.get(job_id)) is None:
            job = await self._store.get(job_id)
            if (event := event_of(job)) is not None:
                yield event
                return
            await taken_up.wait()
            taken_up = self._taken_up.next
        seen: JobEvent | None = None
        while live.final is None or seen is not live.final:
            changed = live.changed.next
            newest = live.final or self.place(job_id) or live.newest
            if newest is None or newest == seen:
                await changed.wait()
            else:
                seen = newest
                yield newest

    def _reordered(self) -> None:
        """The order changed: whoever watches a waiting job sees its new place."""
        self._places_at = None
        for live in self._live.values():
            if live.is_waiting:
                live.changed.notify()

    def _all_places(self) -> dict[str, Queued]:
        """Returns the places in order of start; estimates are at most a second old."""
        now = self._clock()
        if self._places_at is None or now - self._places_at >= 1.0:
            self._places = self._compute_places()
            self._places_at = now
        return self._places

    def _compute_places(self) -> dict[str, Queued]:
        handed_over = list(self._in_engine.values())
        waiting = [live for live in handed_over if live.is_waiting]
        waiting += [self._live[job_id] for job_id in self._fair.order()]
        waiting += list(self._pacer)
        info, rate = self._engine.info, self._rate.per_second
        if not self._engine.is_ready or self._flow is Flow.PAUSED:
            rate = None
        max_rows = 1 if info is None else info.max_rows
        return places_of(waiting, handed_over, max_rows=max_rows, work_per_second=rate)
