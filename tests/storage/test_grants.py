"""Extra pictures: used up once or for some days, refunded, and never counted twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.errors import QuotaExceededError
from engine.types import Job, JobState, Limits
from storage.grants import GRANTED, TAKEN_BACK
from tests.storage.samples import HandClock, Store, a_submission

OWNER = 99
DAY_S = 24 * 3600
TEN = Limits(waiting=100, queue=100, daily=10.0)


async def add(store: Store, cost: float) -> Job:
    job, _ = await store.jobs.add(a_submission(), cost=cost, limits=TEN)
    return job


async def give(store: Store, clock: HandClock, pictures: float, days: int | None = None) -> None:
    ends_at = None if days is None else clock.now + timedelta(days=days)
    await store.grants.give(1, pictures, ends_at=ends_at, actor_id=OWNER)


async def left(store: Store) -> tuple[float, float, float]:
    usage = await store.ledger.usage(1, TEN)
    return usage.used_today, usage.daily, usage.extra


async def test_pictures_given_once_pay_what_the_allowance_does_not(
    store: Store, clock: HandClock
) -> None:
    await give(store, clock, 5)
    await add(store, 8)
    assert await left(store) == (8, 10, 5)
    await add(store, 4)  # 2 of the allowance, 2 of the grant
    assert await left(store) == (10, 10, 3)
    with pytest.raises(QuotaExceededError) as caught:
        await add(store, 3.5)
    assert caught.value.retry_at == clock.now + timedelta(days=1)
    await add(store, 3)
    assert await left(store) == (10, 10, 0)
    clock.turn(DAY_S)  # the allowance is back, the grant is used up
    assert await left(store) == (0, 10, 0)
    await add(store, 10)
    with pytest.raises(QuotaExceededError):
        await add(store, 0.5)


async def test_a_job_that_fails_gives_the_grant_its_part_back_once(
    store: Store, clock: HandClock
) -> None:
    await give(store, clock, 5)
    await add(store, 9)
    job = await add(store, 4)
    assert await left(store) == (10, 10, 2)
    for _ in range(2):
        await store.jobs.end(job.id, JobState.FAILED)
        assert await left(store) == (9, 10, 5)


async def test_a_picture_larger_than_the_allowance_can_be_paid_by_a_grant(
    store: Store, clock: HandClock
) -> None:
    with pytest.raises(QuotaExceededError) as caught:
        await add(store, 12)
    assert caught.value.retry_at is None
    await give(store, clock, 2)
    await add(store, 12)
    assert await left(store) == (10, 10, 0)


async def test_a_grant_for_some_days_makes_the_allowance_larger_until_it_ends(
    store: Store, clock: HandClock
) -> None:
    await give(store, clock, 20, days=2)
    await add(store, 30)
    assert await left(store) == (30, 30, 0)
    clock.turn(DAY_S)
    await add(store, 30)
    clock.turn(DAY_S)  # it has ended
    assert await left(store) == (0, 10, 0)
    with pytest.raises(QuotaExceededError):
        await add(store, 10.5)
    await give(store, clock, 1, days=1)  # the old one is not counted again
    assert await left(store) == (0, 11, 0)


async def test_grants_add_up_are_audited_and_can_be_taken_back(
    store: Store, clock: HandClock
) -> None:
    for _ in range(2):
        await give(store, clock, 3)
    await give(store, clock, 4, days=1)
    assert await left(store) == (0, 14, 6)
    taken = await store.grants.take_back(1, actor_id=OWNER)
    assert (taken.once, taken.daily) == (6, 4)
    assert await left(store) == (0, 10, 0)
    acts = [entry.act for entry in await store.audit.newest()]
    assert acts == [TAKEN_BACK, GRANTED, GRANTED, GRANTED]


async def test_what_a_grant_paid_comes_back_also_when_it_was_taken_back_meanwhile(
    store: Store, clock: HandClock
) -> None:
    await give(store, clock, 5)
    job = await add(store, 12)
    await store.grants.take_back(1, actor_id=OWNER)
    await store.jobs.end(job.id, JobState.CANCELLED)
    assert await left(store) == (0, 10, 2)
