"""Jobs: what is stored comes back, in every state of their life, also after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import (
    EngineOutOfMemoryError,
    QueueFullError,
    TooManyWaitingError,
    UnknownJobError,
)
from engine.interfaces import JobStore
from engine.types import AdapterWeight, Destination, Job, JobState, Limits, SecondPass
from storage.database import Database
from tests.storage.samples import (
    NO_LIMITS,
    HandClock,
    Store,
    a_request,
    a_result,
    a_submission,
)


async def add(store: Store, owner_id: int = 1, **fields: object) -> Job:
    submission = a_submission(owner_id, **fields)  # type: ignore[arg-type]
    job, _ = await store.jobs.add(submission, cost=1.0, limits=NO_LIMITS)
    return job


def test_job_table_is_a_job_store(store: Store) -> None:
    protocol: JobStore = store.jobs
    names = [name for name in vars(JobStore) if not name.startswith("_")]
    assert all(callable(getattr(protocol, name)) for name in names)
    assert len(names) >= 12


async def test_job_comes_back_as_it_was_submitted(store: Store, clock: HandClock) -> None:
    request = a_request(
        prompt="ein Kreis 🎈 'quoted'; --",
        negative_prompt="blur",
        seed=2**32 - 1,
        guidance_scale=7.123456789,
        second_pass=SecondPass(1.25, 0.4),
    )
    submission = replace(
        a_submission(2**62, request=request),
        destination=Destination(channel_id=2**62, private=True, locale="ja"),
        action="reroll",
    )
    job, is_new = await store.jobs.add(submission, cost=2.5, limits=NO_LIMITS)
    assert is_new
    assert job == await store.jobs.get(job.id)
    assert job.submission == submission
    assert (job.state, job.cost, job.attempts) == (JobState.QUEUED, 2.5, 0)
    assert job.created_at == clock.now
    assert len(job.id) == 13
    assert job.id.isalnum()
    assert job.id.lower() == job.id


async def test_same_origin_is_the_same_job_and_charged_once(store: Store) -> None:
    limits = Limits(waiting=1, queue=1, daily=2.0)
    first, _ = await store.jobs.add(a_submission(origin="i:1"), cost=2.0, limits=limits)
    again, is_new = await store.jobs.add(a_submission(origin="i:1"), cost=2.0, limits=limits)
    assert not is_new
    assert again == first
    assert (await store.ledger.usage(1, limits)).used_today == 2.0


async def test_waiting_limit_counts_jobs_of_one_person_that_are_not_final(store: Store) -> None:
    limits = Limits(waiting=2, queue=100)
    first, _ = await store.jobs.add(a_submission(), cost=1, limits=limits)
    await store.jobs.add(a_submission(), cost=1, limits=limits)
    await store.jobs.add(a_submission(owner_id=2), cost=1, limits=limits)
    await store.jobs.mark_running(first.id)
    with pytest.raises(TooManyWaitingError) as caught:
        await store.jobs.add(a_submission(), cost=1, limits=limits)
    assert (caught.value.waiting, caught.value.limit) == (2, 2)
    await store.jobs.end(first.id, JobState.CANCELLED)
    _, is_new = await store.jobs.add(a_submission(), cost=1, limits=limits)
    assert is_new


async def test_full_queue_refuses_everybody(store: Store) -> None:
    limits = Limits(waiting=4, queue=3)
    for owner_id in (1, 2, 3):
        await store.jobs.add(a_submission(owner_id), cost=1, limits=limits)
    with pytest.raises(QueueFullError, match="3 jobs, the limit is 3"):
        await store.jobs.add(a_submission(4), cost=1, limits=limits)


async def test_50_concurrent_adds_respect_every_limit(store: Store) -> None:
    limits = Limits(waiting=4, queue=30, daily=3.0)
    outcomes = await asyncio.gather(
        *(
            store.jobs.add(a_submission(owner_id=number % 10), cost=1.0, limits=limits)
            for number in range(50)
        ),
        return_exceptions=True,
    )
    added = [outcome[0] for outcome in outcomes if isinstance(outcome, tuple)]
    assert len(added) == 30
    assert all(sum(job.owner_id == owner for job in added) == 3 for owner in range(10))
    assert len(await store.jobs.unfinished()) == 30


async def test_running_jobs_are_queued_again_after_a_restart(
    tmp_path: Path, clock: HandClock
) -> None:
    async with Database.open(tmp_path) as db:
        store = Store(db, tmp_path, clock)
        jobs = [await add(store) for _ in range(4)]
        await store.jobs.mark_running(jobs[0].id)
        await store.jobs.mark_running(jobs[2].id)
        await store.jobs.add_attempt([jobs[0].id, jobs[2].id])
        await store.jobs.end(jobs[3].id, JobState.CANCELLED)
        clock.turn(-7200)  # arrival decides, not the clock
        jobs.append(await add(store))
    async with Database.open(tmp_path) as db:
        store = Store(db, tmp_path, clock)
        unfinished = await store.jobs.unfinished()
        assert [job.id for job in unfinished] == [jobs[k].id for k in (0, 1, 2, 4)]
        assert {job.state for job in unfinished} == {JobState.QUEUED}
        assert [job.attempts for job in unfinished] == [1, 0, 1, 0]
        assert {job.started_at for job in unfinished} == {None}


async def test_failure_is_stored_with_its_reason_and_ends_once(
    store: Store, clock: HandClock
) -> None:
    job = await add(store)
    error = EngineOutOfMemoryError("It needs 9 GB.")
    clock.turn(5)
    ended = await store.jobs.end(job.id, JobState.FAILED, error)
    assert ended is not None
    assert ended.error == ("EngineOutOfMemoryError", "It needs 9 GB.")
    assert ended.finished_at == clock.now
    assert await store.jobs.end(job.id, JobState.CANCELLED) is None
    assert await store.jobs.get(job.id) == ended


async def test_a_job_ends_only_as_failed_or_cancelled(store: Store) -> None:
    job = await add(store)
    with pytest.raises(ValueError, match="rendered"):
        await store.jobs.end(job.id, JobState.RENDERED)


async def test_final_job_does_not_run_again(store: Store) -> None:
    job = await add(store)
    await store.jobs.end(job.id, JobState.CANCELLED)
    await store.jobs.mark_running(job.id)
    assert (await store.jobs.get(job.id)).state == JobState.CANCELLED


async def test_undelivered_are_the_ended_jobs_whose_owner_was_not_told(store: Store) -> None:
    jobs = [await add(store) for _ in range(5)]
    for job in jobs[:2]:
        await store.jobs.finish(job.id, a_result(job.id, job.id.encode()))
    await store.jobs.end(jobs[2].id, JobState.FAILED)
    await store.jobs.end(jobs[3].id, JobState.CANCELLED)
    assert [job.id for job in await store.jobs.undelivered()] == [job.id for job in jobs[:3]]
    await store.jobs.mark_delivered(jobs[0].id, 123)
    await store.jobs.mark_delivered(jobs[2].id, None)
    assert [job.id for job in await store.jobs.undelivered()] == [jobs[1].id]
    delivered = await store.jobs.get(jobs[0].id)
    assert delivered.result_message_id == 123
    assert (await store.jobs.get(jobs[2].id)).delivered_at is not None


async def test_sending_is_remembered_from_its_first_begin(store: Store, clock: HandClock) -> None:
    job = await add(store)
    began = clock.now
    assert await store.jobs.begin_sending(job.id) is None
    clock.turn(60)
    assert await store.jobs.begin_sending(job.id) == began
    assert (await store.jobs.get(job.id)).sending_since == began


async def test_status_message_is_remembered(store: Store) -> None:
    job = await add(store)
    await store.jobs.set_status_message(job.id, 2**61)
    assert (await store.jobs.get(job.id)).status_message_id == 2**61
    assert [one.id for one in await store.jobs.with_status_line()] == [job.id]
    await store.jobs.set_status_message(job.id, None)
    assert await store.jobs.with_status_line() == []


async def test_request_of_before_a_tighter_limit_can_still_be_read(store: Store) -> None:
    request = a_request(second_pass=SecondPass(scale=2.0), adapters=(AdapterWeight("a", 0.5),))
    job = await add(store, request=request)
    async with store.db.transaction() as tx:
        await tx.rows(
            "UPDATE jobs SET request = json_set(request, '$.num_inference_steps', 500,"
            " '$.second_pass.scale', 9.0)"
        )
    [again] = await store.jobs.unfinished()
    assert again.id == job.id
    assert again.request.num_inference_steps == 500
    assert again.request.second_pass is not None
    assert again.request.second_pass.scale == 9.0
    assert again.request.adapters == request.adapters
    assert (again.request.prompt, again.request.sampler) == (request.prompt, request.sampler)


async def test_get_many_and_waiting_of_keep_their_order(store: Store) -> None:
    jobs = [await add(store) for _ in range(3)]
    await add(store, owner_id=2)
    wanted = [jobs[2].id, "nothing", jobs[0].id]
    assert [job.id for job in await store.jobs.get_many(wanted)] == [jobs[2].id, jobs[0].id]
    await store.jobs.end(jobs[1].id, JobState.CANCELLED)
    assert [job.id for job in await store.jobs.waiting_of(1)] == [jobs[0].id, jobs[2].id]


@pytest.mark.parametrize(
    "call",
    [
        lambda jobs: jobs.get("none"),
        lambda jobs: jobs.mark_running("none"),
        lambda jobs: jobs.finish("none", a_result("none", b"x")),
        lambda jobs: jobs.end("none", JobState.FAILED),
        lambda jobs: jobs.set_status_message("none", 1),
        lambda jobs: jobs.begin_sending("none"),
        lambda jobs: jobs.mark_delivered("none", None),
    ],
)
async def test_unknown_job_is_said_to_be_unknown(store: Store, call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UnknownJobError):
        await call(store.jobs)
    assert store.files() == set()


async def test_unknown_parent_is_refused_and_costs_nothing(store: Store) -> None:
    with pytest.raises(UnknownJobError):
        await store.jobs.add(a_submission(parent_id="gone"), cost=1, limits=NO_LIMITS)
    assert (await store.ledger.usage(1, NO_LIMITS)).used_today == 0
    assert await store.jobs.waiting_of(1) == []
