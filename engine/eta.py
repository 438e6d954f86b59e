"""When a waiting job will start: the measured work per second, a schedule of rows, and the places.

Work is `GenerationRequest.work` (row-step-megapixels), so that one rate holds for jobs of every size.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.live import LiveJob
from engine.types import Queued

_MEMORY_S = 30.0  # older measurements fade with this time constant


@dataclass(slots=True)
class WorkRate:
    """Work per second of the busy engine, as an exponential moving average.

    Time in which nothing runs does not count. The rate is unknown until a first job finished, since
    the first steps of a process are slow and decoding is only then included.
    """

    _work: float = 0.0
    _seconds: float = 0.0
    _since: float | None = None  # busy and measured up to here
    _is_known: bool = False

    @property
    def per_second(self) -> float | None:
        """The rate, or None while it is unknown."""
        return self._work / self._seconds if self._is_known and self._seconds > 0 else None

    def begin(self, now: float) -> None:
        """Something runs from now on."""
        if self._since is None:
            self._since = now

    def add(self, work: float, now: float) -> None:
        """Counts work that was done since the last call."""
        if self._since is None:
            return
        seconds = max(now - self._since, 0.0)
        fade = math.exp(-seconds / _MEMORY_S)
        self._work = self._work * fade + work
        self._seconds = self._seconds * fade + seconds
        self._since = now

    def finish_job(self, now: float, *, is_idle: bool) -> None:
        """A job finished; `is_idle` when no other one runs."""
        self.add(0.0, now)
        self._is_known = self._is_known or self._work > 0
        if is_idle:
            self._since = None

    def stop(self) -> None:
        """The engine is gone: nothing runs until the next `begin`."""
        self._since = None


def start_times(
    running: Iterable[tuple[int, float]],
    waiting: Iterable[tuple[int, float]],
    *,
    max_rows: int,
    work_per_second: float,
) -> list[float]:
    """Returns the seconds from now until each waiting job starts.

    `running` (in the batch) and `waiting` (in the order of start) are (rows, work left). The schedule
    is the queue's: as long as the batch is not over `max_rows`, one job more joins it, and a job
    with more rows waits until it is alone. All rows get on alike: what a full batch does in a
    second, rows beyond it only divide further.
    """
    ends = [(work / rows, rows) for rows, work in running]  # when the work of each row is done
    heapq.heapify(ends)
    in_batch = sum(rows for _, rows in ends)
    now = done = 0.0  # done: work of each row since then
    starts = []
    for rows, work in waiting:
        while in_batch > max_rows or (in_batch and rows > max_rows):
            end, freed = heapq.heappop(ends)
            now += (end - done) * max(in_batch, max_rows) / work_per_second
            done = end
            in_batch -= freed
        starts.append(now)
        in_batch += rows
        heapq.heappush(ends, (done + work / rows, rows))
    return starts


def places_of(
    waiting: Sequence[LiveJob],
    in_engine: Iterable[LiveJob],
    *,
    max_rows: int,
    work_per_second: float | None,
) -> dict[str, Queued]:
    """Returns the place of each waiting job, by id; `waiting` is the order in which they start.

    Args:
        waiting: Those that the engine has and has not begun come first.
        in_engine: All that the engine has.
        max_rows: Of the engine's batch.
        work_per_second: None when nothing can be said about times.
    """
    etas: Sequence[float | None] = [None] * len(waiting)
    if work_per_second is not None:
        etas = start_times(
            [
                (live.rows, live.work_left)
                for live in in_engine
                if live.is_stepping and not live.is_waiting
            ],
            [(live.rows, live.work_left) for live in waiting],
            max_rows=max_rows,
            work_per_second=work_per_second,
        )
    return {
        live.job.id: Queued(live.job.id, position, eta)
        for position, (live, eta) in enumerate(zip(waiting, etas, strict=True), start=1)
    }
