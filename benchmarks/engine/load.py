"""Three shapes of load: everything at once, people who wait for their picture, and chance arrivals.

Time is wall time and the process's CPU time (all threads), both. Where nobody has anything to do until
the next arrival, the clock is put forward instead of waiting.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.engine.contender import Contender, Listener
from benchmarks.engine.trace import Job

Pace = Literal["wall", "cpu"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A time on both clocks, seconds."""

    wall: float
    cpu: float

    def on(self, pace: Pace) -> float:
        """Returns the time on one of the clocks."""
        return self.wall if pace == "wall" else self.cpu


class Clock:
    """Both clocks; one of them decides when jobs arrive, and can be put forward."""

    def __init__(self, pace: Pace) -> None:
        """Starts at zero."""
        self.pace: Pace = pace
        self._start = Moment(time.perf_counter(), time.process_time())
        self._skipped = {"wall": 0.0, "cpu": 0.0}

    def now(self) -> Moment:
        """Returns the time since the start."""
        return Moment(
            time.perf_counter() - self._start.wall + self._skipped["wall"],
            time.process_time() - self._start.cpu + self._skipped["cpu"],
        )

    def skip_to(self, at: float) -> None:
        """Puts the deciding clock forward."""
        self._skipped[self.pace] += max(at - self.now().on(self.pace), 0.0)


@dataclass(slots=True)
class Life:
    """When one job came, showed something, and was done."""

    job: Job
    arrived: Moment
    preview: Moment | None = None
    picture: Moment | None = None
    png: bytes = b""


@dataclass(slots=True)
class Load:
    """When jobs arrive: each at its time, or each when one before it is done.

    Attributes:
        name: "burst", "closed" or "poisson".
        arrivals: Seconds of each job that comes by itself, rising.
        followers: Jobs of which one arrives whenever a job is done.
    """

    name: str
    arrivals: deque[tuple[float, Job]]
    followers: deque[Job] = field(default_factory=deque)

    def due(self, now: Moment, pace: Pace, ended: Sequence[Moment]) -> list[Life]:
        """Returns the jobs that have arrived by now, though a contender that was busy asks late.

        Args:
            now: The time.
            pace: The clock that `arrivals` are on; on the other one they come when they are noticed.
            ended: When jobs were done since the last call.
        """
        lives = []
        while self.arrivals and self.arrivals[0][0] <= now.on(pace):
            at, job = self.arrivals.popleft()
            arrived = Moment(at, now.cpu) if pace == "wall" else Moment(now.wall, at)
            lives.append(Life(job, arrived))
        followed = ended[: len(self.followers)]
        return lives + [Life(self.followers.popleft(), end) for end in followed]


def burst(jobs: Sequence[Job]) -> Load:
    """All jobs at once."""
    return Load("burst", deque((0.0, job) for job in jobs))


def closed(jobs: Sequence[Job], people: int) -> Load:
    """So many people, each asking for the next picture when the last one is there."""
    return Load("closed", deque((0.0, job) for job in jobs[:people]), deque(jobs[people:]))


def poisson(jobs: Sequence[Job], per_s: float, seed: int) -> Load:
    """Jobs that come by chance, independent of each other."""
    rng = random.Random(seed)
    at = 0.0
    arrivals: deque[tuple[float, Job]] = deque()
    for job in jobs:
        at += rng.expovariate(per_s)
        arrivals.append((at, job))
    return Load("poisson", arrivals)


@dataclass(slots=True)
class Run:
    """One contender under one load, once.

    Attributes:
        seconds: From the first arrival to the last picture.
        lives: Of each job, by id.
    """

    contender: str
    load: str
    seconds: Moment
    lives: dict[str, Life]

    @property
    def row_steps(self) -> int:
        """U-Net rows of all jobs and steps."""
        return sum(life.job.row_steps for life in self.lives.values())

    def to_picture(self, pace: Pace) -> list[float]:
        """Returns of each job the seconds until its picture."""
        return [
            life.picture.on(pace) - life.arrived.on(pace)
            for life in self.lives.values()
            if life.picture is not None
        ]

    def to_preview(self, pace: Pace) -> list[float]:
        """Returns of each job the seconds until its owner sees anything: preview or picture."""
        firsts = [(life, life.preview or life.picture) for life in self.lives.values()]
        return [
            first.on(pace) - life.arrived.on(pace) for life, first in firsts if first is not None
        ]


def run(contender: Contender, load: Load, pace: Pace) -> Run:
    """Runs a load to its end.

    Raises:
        RuntimeError: A job has not become a picture.
    """
    clock = Clock(pace)
    lives: dict[str, Life] = {}
    done: deque[Moment] = deque()  # filled by any thread

    def on_preview(job_id: str, jpeg: bytes) -> None:
        if lives[job_id].preview is None:
            lives[job_id].preview = clock.now()

    def on_picture(job_id: str, png: bytes) -> None:
        now = lives[job_id].picture = clock.now()
        lives[job_id].png = png
        done.append(now)

    contender.listener.preview, contender.listener.picture = on_preview, on_picture
    while True:
        ended = [done.popleft() for _ in range(len(done))]
        for life in load.due(clock.now(), pace, ended):
            lives[life.job.id] = life
            contender.submit(life.job)
        if contender.work():
            continue
        contender.settle()
        if done:
            continue
        if not load.arrivals:
            break
        clock.skip_to(load.arrivals[0][0])
    contender.listener.preview, contender.listener.picture = (
        Listener().preview,
        Listener().picture,
    )
    ends = [life.picture for life in lives.values() if life.picture is not None]
    if len(ends) != len(lives) or load.followers:
        raise RuntimeError(f"{contender.name}: {len(ends)} of {len(lives)} jobs became a picture")
    last = Moment(max(end.wall for end in ends), max(end.cpu for end in ends))
    return Run(contender.name, load.name, last, lives)
