"""Rules of limits: stored, in memory, audited, and what they do to submissions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from engine import sheets
from engine.errors import (
    EngineError,
    InvalidRequestError,
    OverLimitError,
    QuotaExceededError,
    TooManyWaitingError,
)
from engine.limits import EVERYWHERE, NOTHING, Kind, Rule, Target
from engine.types import Job, JobState, Limits, Submission
from storage.database import Database
from storage.rules import MAX_RULES, RESET, SET, Rules
from tests.storage.samples import HandClock, Store, a_request, a_submission

HERE, THERE, OWNER = 20, 30, 99
FOR_ROLE = Target(HERE, Kind.ROLE, 5)


async def add(store: Store, submission: Submission, cost: float = 1.0) -> Job:
    limits = store.rules.of_submission(submission)
    job, _ = await store.jobs.add(submission, cost=cost, limits=limits)
    return job


async def refused(store: Store, submission: Submission) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await add(store, submission)
    return caught.value


def cell(number: int, batch: int = 7, **fields: int) -> Submission:
    origin = sheets.origin_of(sheets.key_of(batch, is_sheet=False), number)
    return a_submission(origin=origin, **fields)  # type: ignore[arg-type]


async def test_rules_are_there_after_a_restart_and_in_the_audit(store: Store) -> None:
    rule = Rule(per_minute=3, side=512)
    await store.rules.set(FOR_ROLE, rule, actor_id=OWNER)
    await store.rules.set(Target(EVERYWHERE), Rule(daily=12.5), actor_id=OWNER)
    again = Rules(store.db, configured=Limits(4, 9), info=lambda: None)
    await again.load()
    assert again.of_server(HERE) == {FOR_ROLE: rule}
    assert again.rule(Target(EVERYWHERE)) == Rule(daily=12.5)
    assert again.of(1).daily == 12.5
    assert again.of(1, HERE, (5,)).side is not None
    assert await again.reset([FOR_ROLE, Target(HERE)], actor_id=OWNER) == 1
    await store.rules.set(Target(EVERYWHERE), NOTHING, actor_id=OWNER)
    await again.load()
    assert again.of_server(HERE) == again.of_server(EVERYWHERE) == {}
    entries = await store.audit.newest()
    assert [entry.act for entry in entries] == [RESET, RESET, SET, SET]
    assert entries[-1].detail == {
        "guild_id": HERE,
        "for": "role",
        "id": 5,
        "per_minute": 3,
        "side": 512,
    }
    assert entries[-1].actor_id == OWNER


async def test_a_server_keeps_so_many_rules_and_no_more(store: Store) -> None:
    for number in range(MAX_RULES + 1):
        target = Target(HERE, Kind.PERSON if number else Kind.EVERYBODY, number)
        await store.rules.set(target, Rule(count=1), actor_id=OWNER)
    with pytest.raises(InvalidRequestError, match="100 limits"):
        await store.rules.set(FOR_ROLE, Rule(count=1), actor_id=OWNER)
    await store.rules.set(Target(HERE, Kind.PERSON, 1), Rule(count=2), actor_id=OWNER)
    await store.rules.set(Target(THERE), Rule(count=1), actor_id=OWNER)


async def test_the_minute_of_a_server_has_only_what_was_started_there(
    store: Store, clock: HandClock
) -> None:
    await store.rules.set(Target(HERE), Rule(per_minute=2), actor_id=OWNER)
    for guild_id in (THERE, None, THERE):  # as much as one likes elsewhere
        await add(store, a_submission(guild_id=guild_id))
    start = clock.now
    for _ in range(2):
        await add(store, a_submission(guild_id=HERE))
    error = await refused(store, a_submission(guild_id=HERE))
    assert isinstance(error, QuotaExceededError)
    assert error.retry_at == start + timedelta(minutes=1)
    assert (
        "2 jobs in this server in the last minute and at most 2 are allowed (set for everybody"
        in str(error)
    )
    await add(store, a_submission(guild_id=THERE))
    await add(store, a_submission(guild_id=None))
    await add(store, a_submission(2, guild_id=HERE))
    clock.now = error.retry_at - timedelta(microseconds=1)
    await refused(store, a_submission(guild_id=HERE))
    clock.now = error.retry_at
    await add(store, a_submission(guild_id=HERE))


async def test_servers_together_never_give_more_than_the_owners_minute(
    store: Store, clock: HandClock
) -> None:
    """What the owners allow is counted over all servers and DMs, whatever servers allow."""
    await store.rules.set(Target(EVERYWHERE), Rule(per_minute=3), actor_id=OWNER)
    for guild_id in (HERE, THERE):
        await store.rules.set(Target(guild_id), Rule(per_minute=1000), actor_id=OWNER)
    for guild_id in (HERE, THERE, None):
        await add(store, a_submission(guild_id=guild_id))
    for guild_id in (HERE, THERE, None, 40):
        error = await refused(store, a_submission(guild_id=guild_id))
        assert isinstance(error, QuotaExceededError)
        assert "3 jobs in the last minute, the limit is 3" in str(error)


@pytest.mark.parametrize("shift", [-3600, 365 * 86400])
async def test_a_clock_that_jumps_neither_frees_the_minute_nor_locks_it(
    store: Store, clock: HandClock, shift: float
) -> None:
    await store.rules.set(Target(HERE), Rule(per_minute=1), actor_id=OWNER)
    if shift > 0:  # it was ahead and is put right
        clock.turn(shift)
        await add(store, a_submission())
        clock.turn(-shift)
    else:
        await add(store, a_submission())
        clock.turn(shift)
    error = await refused(store, a_submission())
    assert isinstance(error, QuotaExceededError)
    assert error.retry_at == clock.now + timedelta(minutes=1)
    clock.turn(60)
    await add(store, a_submission())


async def test_the_minute_of_a_server_outlives_a_restart_a_cancel_and_an_erasure(
    tmp_path: Path, clock: HandClock
) -> None:
    async with Database.open(tmp_path) as db:
        store = Store(db, tmp_path, clock)
        await store.rules.set(Target(HERE), Rule(per_minute=1), actor_id=OWNER)
        job = await add(store, a_submission())
        await store.jobs.end(job.id, JobState.CANCELLED)
    async with Database.open(tmp_path) as db:
        store = Store(db, tmp_path, clock)
        await store.rules.load()
        assert isinstance(await refused(store, a_submission()), QuotaExceededError)
        await store.privacy.begin_erasure(1)
        await store.privacy.erase(1)
        about = await store.privacy.about(1)
        assert [charge["guild_id"] for charge in about["charges"]] == [-1]  # not where it was
        assert isinstance(await refused(store, a_submission()), QuotaExceededError)
        await add(store, a_submission(guild_id=THERE))  # without a limit of its own
        clock.turn(60)
        await add(store, a_submission())


async def test_waiting_jobs_of_a_server_are_counted_there_alone(store: Store) -> None:
    await store.rules.set(FOR_ROLE, Rule(waiting=1), actor_id=OWNER)
    await add(store, a_submission(guild_id=THERE, role_ids=(5,)))
    await add(store, a_submission(role_ids=(5,)))
    error = await refused(store, a_submission(role_ids=(5, 6)))
    assert isinstance(error, TooManyWaitingError)
    assert "1 jobs waiting in this server and at most 1 are allowed (set for your roles" in str(
        error
    )
    await add(store, a_submission(guild_id=None))
    await add(store, a_submission())  # without the role


async def test_a_batch_is_accepted_where_one_job_is_and_then_all_of_it_counts(
    store: Store, clock: HandClock
) -> None:
    await store.rules.set(Target(HERE), Rule(per_minute=2, waiting=2), actor_id=OWNER)
    await add(store, a_submission())
    for number in range(3):
        await add(store, cell(number, batch=8))
    assert isinstance(await refused(store, cell(0, batch=9)), TooManyWaitingError)
    for job in await store.jobs.waiting_of(1):
        await store.jobs.end(job.id, JobState.CANCELLED)
    error = await refused(store, cell(0, batch=9))
    assert isinstance(error, QuotaExceededError)
    assert "4 jobs in this server in the last minute" in str(error)
    await add(store, cell(3, batch=8))  # goes on


async def test_steps_size_and_count_are_checked(store: Store) -> None:
    await store.rules.set(Target(HERE), Rule(steps=10), actor_id=OWNER)
    await store.rules.set(Target(HERE, Kind.PERSON, 2), Rule(steps=20), actor_id=OWNER)
    asked = a_request(num_inference_steps=20)
    with pytest.raises(OverLimitError, match="set for everybody in this server"):
        await store.rules.check(a_submission(1, request=asked))
    await store.rules.check(a_submission(2, request=asked))
    await store.rules.check(a_submission(1, request=asked, guild_id=None))
    await store.rules.check(a_submission(1, request=asked, guild_id=THERE))
