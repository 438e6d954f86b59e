"""What an operator is told of the database."""

from __future__ import annotations

import pytest

from storage.figures import Figures, Holdings, Speeds, quantile
from tests.storage.samples import NO_LIMITS, HandClock, Store, a_result, a_submission, make


@pytest.fixture
def figures(store: Store, clock: HandClock) -> Figures:
    return Figures(store.db, clock=clock)


async def test_speeds_are_of_the_last_hour_and_day(
    store: Store, figures: Figures, clock: HandClock
) -> None:
    assert await figures.speeds() == Speeds(0, 0, 0.0, 0.0)
    for wait_s in (500, *range(1, 21)):  # the first one a day ago
        job, _ = await store.jobs.add(a_submission(), cost=1.0, limits=NO_LIMITS)
        clock.turn(wait_s)
        await store.jobs.mark_running(job.id)
        await store.jobs.finish(job.id, a_result(job.id, f"{job.id} 1".encode(), b"2"))
        if wait_s == 500:
            clock.turn(86_400)
    speeds = await figures.speeds()
    assert speeds == Speeds(pictures=40, jobs=20, wait_p50_s=11.0, wait_p95_s=20.0)
    clock.turn(3601)
    assert (await figures.speeds()).pictures == 0


async def test_waiting_jobs_by_server_and_what_is_kept(store: Store, figures: Figures) -> None:
    await make(store, b"12345")
    assert await figures.waiting() == {}
    for _ in range(3):
        await store.jobs.add(a_submission(), cost=1.0, limits=NO_LIMITS)
    guild_id = a_submission().destination.guild_id
    assert await figures.waiting() == {guild_id: 3}
    held = await figures.holdings()
    assert held == Holdings(await store.db.size_bytes(), 1, 5)


def test_quantile() -> None:
    assert quantile([], 0.95) == 0.0
    assert quantile([3.0], 0.95) == 3.0
    assert quantile([float(n) for n in range(100)], 0.95) == 95.0
