"""What a process counts: ends of jobs with their waits, and ends of its engines."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from engine.tally import Spread, Tally
from engine.types import Job, JobState
from tests.storage.samples import HandClock, a_submission


def a_job(state: JobState, wait_s: float | None, error: tuple[str, str] | None = None) -> Job:
    asked = HandClock().now
    job = Job("a", a_submission(), state, 1.0, 0, asked, error=error)
    if wait_s is None:
        return job
    return dataclasses.replace(job, started_at=asked + timedelta(seconds=wait_s))


def test_jobs_by_end() -> None:
    tally = Tally()
    tally.job_ended(a_job(JobState.RENDERED, 2.0), pictures=3, seconds=8.0)
    tally.job_ended(a_job(JobState.RENDERED, -1.0), pictures=1, seconds=0.2)  # the clock went back
    tally.job_ended(a_job(JobState.CANCELLED, None, ("GenerationCancelledError", "x")))
    tally.job_ended(a_job(JobState.FAILED, 40.0, ("BrokenPictureError", "x")))
    assert dict(tally.ends) == {
        ("rendered", ""): 2,
        ("cancelled", "GenerationCancelledError"): 1,
        ("failed", "BrokenPictureError"): 1,
    }
    assert tally.pictures == 4
    assert tally.waits.total == 42.0
    assert tally.waits.cumulative()[-1] == (float("inf"), 3)
    assert tally.makings.total == 8.2


def test_a_spread_counts_up_to_each_bound() -> None:
    spread = Spread()
    for value in (0.0, 0.1, 0.11, 5.0, 1e9):
        spread.add(value)
    counts = dict(spread.cumulative())
    assert (counts[0.1], counts[0.25], counts[2.5], counts[5.0]) == (2, 3, 3, 4)
    assert (counts[3600.0], counts[float("inf")]) == (4, 5)


def test_only_the_last_deaths_are_kept() -> None:
    clock = HandClock()
    tally = Tally(clock=clock)
    for number in range(50):
        clock.turn(1)
        tally.engine_died(f"{number}")
    assert tally.engine_deaths == 50
    assert (tally.deaths[-1].why, tally.deaths[-1].at) == ("49", clock.now)
    assert len(tally.deaths) < 50
