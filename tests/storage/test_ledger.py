"""Charges: two rolling windows, exact times to try again, refunds, clocks that go back."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from engine.errors import QuotaExceededError
from engine.types import Job, JobState, Limits
from storage.database import Database
from tests.storage.samples import HandClock, Store, a_result, a_submission

DAY_S = 24 * 3600


async def add(store: Store, cost: float, limits: Limits, owner_id: int = 1) -> Job:
    job, _ = await store.jobs.add(a_submission(owner_id), cost=cost, limits=limits)
    return job


async def refusal(store: Store, cost: float, limits: Limits) -> QuotaExceededError:
    with pytest.raises(QuotaExceededError) as caught:
        await add(store, cost, limits)
    return caught.value


def daily(limit: float) -> Limits:
    return Limits(waiting=1000, queue=1000, daily=limit)


def per_minute(limit: int) -> Limits:
    return Limits(waiting=1000, queue=1000, per_minute=limit)


async def test_daily_allowance_is_refused_with_its_numbers(store: Store, clock: HandClock) -> None:
    start = clock.now
    await add(store, 40, daily(50))
    clock.turn(100)
    await add(store, 8.5, daily(50))
    error = await refusal(store, 4, daily(50))
    assert str(error) == (
        "You have used 48.5 of 50 pictures in the last 24 hours, and this one costs 4."
    )
    assert error.retry_at == start + timedelta(days=1)
    await add(store, 1.5, daily(50))  # exactly full is allowed


async def test_retry_time_is_exact(store: Store, clock: HandClock) -> None:
    for _ in range(5):
        await add(store, 10, daily(50))
        clock.turn(600)
    error = await refusal(store, 25, daily(50))  # three charges have to leave
    assert error.retry_at is not None
    clock.now = error.retry_at - timedelta(microseconds=1)
    assert (await refusal(store, 25, daily(50))).retry_at == error.retry_at
    clock.now = error.retry_at
    await add(store, 25, daily(50))


async def test_job_that_never_fits_has_no_retry_time(store: Store) -> None:
    error = await refusal(store, 60, daily(50))
    assert error.retry_at is None
    assert "60 pictures, and the limit is 50" in str(error)


async def test_cents_of_cost_add_up(store: Store) -> None:
    for _ in range(10):
        await add(store, 0.1, daily(1.0))
    await refusal(store, 0.01, daily(1.0))


async def test_jobs_per_minute_count_also_when_they_were_cancelled(
    store: Store, clock: HandClock
) -> None:
    start = clock.now
    for _ in range(3):
        job = await add(store, 1, per_minute(3))
        await store.jobs.end(job.id, JobState.CANCELLED)
        clock.turn(10)
    error = await refusal(store, 1, per_minute(3))
    assert str(error) == "You have started 3 jobs in the last minute, the limit is 3."
    assert error.retry_at == start + timedelta(seconds=60)
    clock.now = error.retry_at
    await add(store, 1, per_minute(3))


async def test_lowered_limit_names_the_time_when_enough_have_left(
    store: Store, clock: HandClock
) -> None:
    start = clock.now
    for _ in range(4):
        await add(store, 1, per_minute(0))
        clock.turn(5)
    assert (await refusal(store, 1, per_minute(2))).retry_at == start + timedelta(seconds=10 + 60)


async def test_both_windows_refuse_until_the_later_one_has_room(
    store: Store, clock: HandClock
) -> None:
    start = clock.now
    limits = Limits(waiting=10, queue=10, daily=1, per_minute=1)
    await add(store, 1, limits)
    assert (await refusal(store, 1, limits)).retry_at == start + timedelta(days=1)


async def test_failure_and_cancel_are_refunded_once_and_a_picture_is_not(store: Store) -> None:
    jobs = [await add(store, 10, daily(50)) for _ in range(3)]
    await store.jobs.end(jobs[0].id, JobState.FAILED)
    await store.jobs.end(jobs[0].id, JobState.FAILED)
    await store.jobs.end(jobs[1].id, JobState.CANCELLED)
    await store.jobs.finish(jobs[2].id, a_result(jobs[2].id, b"png"))
    await store.jobs.end(jobs[2].id, JobState.FAILED)
    assert (await store.ledger.usage(1, daily(50))).used_today == 10


async def test_people_do_not_share_their_allowance(store: Store) -> None:
    await add(store, 50, daily(50), owner_id=1)
    await add(store, 50, daily(50), owner_id=2)


async def test_usage_says_when_all_of_it_is_back(store: Store, clock: HandClock) -> None:
    usage = await store.ledger.usage(1, daily(50))
    assert (usage.used_today, usage.daily, usage.resets_at, usage.waiting) == (0, 50, None, 0)
    await add(store, 1.25, daily(50))
    clock.turn(3600)
    last = clock.now
    await add(store, 2, daily(50))
    clock.turn(3600)
    usage = await store.ledger.usage(1, daily(50))
    assert (usage.used_today, usage.waiting) == (3.25, 2)
    assert usage.resets_at == last + timedelta(days=1)
    clock.turn(DAY_S)
    assert (await store.ledger.usage(1, daily(50))).used_today == 0


async def test_limits_survive_a_restart(tmp_path: Path, clock: HandClock) -> None:
    for allowed in (True, False):
        async with Database.open(tmp_path) as db:
            store = Store(db, tmp_path, clock)
            if allowed:
                await add(store, 50, daily(50))
            else:
                await refusal(store, 1, daily(50))


@pytest.mark.parametrize("back_s", [1, 3600, 3 * DAY_S, 70 * 365 * DAY_S])
async def test_clock_that_goes_back_frees_nothing_and_locks_nobody_out(
    store: Store, clock: HandClock, back_s: float
) -> None:
    limits = Limits(waiting=100, queue=100, daily=50, per_minute=1)
    clock.turn(71 * 365 * DAY_S)
    await add(store, 50, limits)
    clock.turn(-back_s)
    error = await refusal(store, 1, limits)
    assert (await store.ledger.usage(1, limits)).used_today == 50
    wanted: datetime = clock.now + timedelta(days=1)
    assert error.retry_at == wanted
    clock.now = wanted
    await add(store, 50, limits)
