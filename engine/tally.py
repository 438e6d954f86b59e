"""What this process counted: how jobs ended, how long they waited and took, and the engine's ends.

It costs additions only, so it is always on. `/admin ops status` and the metrics read it; there are
numbers in it and the engine's last words, nothing of anybody's.
"""

from __future__ import annotations

import bisect
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engine.types import Job, JobState

_DEATHS_KEPT = 20
_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Death:
    """One end of an engine process; `why` is for the operator."""

    at: datetime
    why: str


@dataclass(slots=True)
class Spread:
    """How values are spread: how many were at most each bound, and their sum."""

    bounds: tuple[float, ...] = _SECONDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))
    total: float = 0.0

    def add(self, value: float) -> None:
        """Counts one."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[float, int]]:
        """Returns (bound, values up to it), infinity last."""
        found, seen = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            found.append((bound, seen))
        return found


class Tally:
    """Counts since the start of this process."""

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Takes the clock as an argument for the tests."""
        self._clock = clock
        self.since = clock()
        self.ends: Counter[tuple[str, str]] = Counter()  # (state, name of the error)
        self.pictures = 0
        self.waits = Spread()  # from the request to its first step
        self.makings = Spread()  # from a job's first step to its last picture
        self.engine_starts = 0
        self.engine_deaths = 0
        self.deaths: deque[Death] = deque(maxlen=_DEATHS_KEPT)

    def job_ended(self, job: Job, *, pictures: int = 0, seconds: float = 0.0) -> None:
        """Counts a job that has become final; `seconds` is what the engine took."""
        self.ends[job.state, "" if job.error is None else job.error[0]] += 1
        if job.started_at is not None:
            self.waits.add(max((job.started_at - job.created_at).total_seconds(), 0.0))
        if job.state is JobState.RENDERED:
            self.pictures += pictures
            self.makings.add(seconds)

    def engine_started(self) -> None:
        """Counts a process that is ready."""
        self.engine_starts += 1

    def engine_died(self, why: str) -> None:
        """Counts a process that ended."""
        self.engine_deaths += 1
        self.deaths.append(Death(self._clock(), why))
