"""The queue over the real store, with an engine that the test moves by hand."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from engine.errors import (
    EngineDiedError,
    InvalidRequestError,
    NotAllowedError,
    StartError,
    TooManyWaitingError,
    UnknownJobError,
)
from engine.types import (
    EngineDied,
    GenerationResult,
    JobState,
    Limits,
    Progress,
    Queued,
    Started,
)
from tests.engine.hand_engine import Bench, HandEngine, ids_of, running_queue
from tests.engine.scripted import WAIT_S, submission

pytestmark = pytest.mark.timeout(WAIT_S)


async def test_a_job_goes_from_submission_to_its_pictures(bench):
    bench.engine.get_ready()
    job = await bench.queue.submit(submission("interaction:1"))
    events = []

    async def watch():
        async for event in bench.queue.watch(job.id):
            events.append(event)
            if isinstance(event, Started | Progress | Queued):
                advance(event)

    def advance(event):
        match event:
            case Queued():
                bench.engine.start(job.id)
            case Started():
                bench.engine.progress(job.id, 1)
            case Progress():
                bench.engine.finish(job.id)

    await watch()
    assert [type(e) for e in events] == [Queued, Started, Progress, GenerationResult]
    stored = await bench.store.get(job.id)
    assert (stored.state, stored.cost) == (JobState.RENDERED, job.cost)
    assert stored.started_at is not None
    assert bench.queue.waiting() == []


async def test_the_same_interaction_twice_is_one_job(bench):
    first = await bench.queue.submit(submission("interaction:1"))
    second = await bench.queue.submit(submission("interaction:1"))
    assert first.id == second.id
    assert len(bench.queue.waiting()) == 1
    bench.engine.get_ready()
    await bench.settle()
    assert bench.engine.submitted == [first.id]
    third = await bench.queue.submit(submission("interaction:1"))
    bench.engine.finish(first.id)
    await bench.final(first.id)
    fourth = await bench.queue.submit(submission("interaction:1"))
    assert third.id == fourth.id == first.id
    await bench.settle()
    assert bench.engine.submitted == [first.id]


async def test_submit_checks_before_it_stores(db, tmp_path):
    seen = []

    async def check(asked):
        seen.append(asked.origin)
        if "cat" in asked.request.prompt:
            raise NotAllowedError("No cats here.")

    limits = Limits(waiting=1, queue=10)
    async with running_queue(db, tmp_path, checks=[check], limits=lambda _: limits) as bench:
        with pytest.raises(NotAllowedError):
            await bench.queue.submit(submission("1"))
        with pytest.raises(InvalidRequestError, match="width"):
            await bench.queue.submit(submission("2", prompt="a dog", width=17))
        await bench.queue.submit(submission("3", prompt="a dog"))
        with pytest.raises(TooManyWaitingError):
            await bench.queue.submit(submission("4", prompt="a dog"))
        assert seen == ["1", "2", "3", "4"]
        assert len(bench.queue.waiting()) == 1


async def test_nothing_is_accepted_while_nothing_is_known_of_the_engine(db, tmp_path):
    engine = HandEngine()
    engine.info = None
    async with running_queue(db, tmp_path, engine) as bench:
        with pytest.raises(EngineDiedError):
            await bench.queue.submit(submission("1"))


async def test_jobs_wait_in_a_fair_order_while_the_engine_loads(bench):
    a0, a1, b0, a2, b1 = await ids_of(bench, 1, 1, 2, 1, 2)
    assert [q.job_id for q in bench.queue.waiting()] == [a0, b0, a1, b1, a2]
    assert [q.position for q in bench.queue.waiting()] == [1, 2, 3, 4, 5]
    assert [q.job_id for q in bench.queue.waiting(2)] == [b0, b1]
    assert bench.queue.place(b1) == Queued(b1, 4, None)
    await bench.settle()
    assert bench.engine.submitted == []
    bench.engine.get_ready(max_rows=64)
    await bench.settle()
    assert bench.engine.submitted == [a0, b0, a1, b1, a2]


async def test_the_engine_gets_its_knee_and_one_job_more(bench):
    jobs = await ids_of(bench, *range(8))
    bench.engine.get_ready(max_rows=4)  # two rows a job
    await bench.settle()
    assert bench.engine.submitted == jobs[:3]
    bench.engine.start(jobs[0])
    bench.engine.progress(jobs[0], 4)  # its rows are free, it is being decoded
    await bench.settle()
    assert bench.engine.submitted == jobs[:4]
    bench.engine.finish(jobs[1])
    await bench.settle()
    assert bench.engine.submitted == jobs[:5]
    bench.engine.fail(jobs[2])
    await bench.settle()
    assert bench.engine.submitted == jobs[:6]


async def test_decoding_jobs_do_not_pile_up_in_the_engine(bench):
    jobs = await ids_of(bench, *range(20))
    bench.engine.get_ready(max_rows=4)
    await bench.settle()
    for job_id in jobs:
        if job_id in bench.engine.jobs:
            bench.engine.progress(job_id, 4)
        await bench.settle()
    assert 6 <= len(bench.engine.submitted) <= 8


async def test_a_job_larger_than_the_batch_runs_alone(bench):
    small = await ids_of(bench, 1)
    (large,) = await ids_of(bench, 2, num_images=4)
    after = await ids_of(bench, 3)
    bench.engine.get_ready(max_rows=4)
    await bench.settle()
    assert bench.engine.submitted == small
    bench.engine.finish(small[0])
    await bench.settle()
    assert bench.engine.submitted == [*small, large]
    bench.engine.progress(large, 4)
    await bench.settle()
    assert bench.engine.submitted == [*small, large, *after]


async def test_a_request_that_the_real_engine_cannot_run_fails_and_is_refunded(bench):
    wide, fits = [
        (await bench.queue.submit(submission(str(side), side, width=side))).id for side in (512, 64)
    ]
    bench.engine.get_ready(max_side=256)
    event = await bench.final(wide)
    assert (event.error, "512" in event.message) == ("InvalidRequestError", True)
    assert (await bench.store.get(wide)).state is JobState.FAILED
    await bench.settle()
    assert bench.engine.submitted == [fits]


async def test_the_picture_to_start_from_goes_with_the_job(bench):
    sha256 = await bench.pictures.put(b"a picture")
    (job_id,) = await ids_of(bench, 1, init_image=sha256, strength=0.5)
    bench.engine.get_ready()
    await bench.engine.until_submitted(job_id)
    assert bench.engine.images[job_id] == {sha256: b"a picture"}


async def test_a_picture_to_start_from_that_is_gone_ends_the_job(bench):
    sha256 = await bench.pictures.put(b"a picture")
    gone, other = [
        *await ids_of(bench, 1, init_image=sha256, strength=0.5),
        *await ids_of(bench, 2),
    ]
    await bench.pictures.delete(sha256)
    bench.engine.get_ready()
    event = await bench.final(gone)
    assert event.error == "InvalidRequestError"
    await bench.settle()
    assert bench.engine.submitted == [other]


async def test_cancelled_job_leaves_the_queue(bench):
    first, second, third = await ids_of(bench, 1, 1, 1)
    assert await bench.queue.cancel(second)
    assert not await bench.queue.cancel(second)
    assert [q.job_id for q in bench.queue.waiting()] == [first, third]
    event = await bench.final(second)
    assert event.error == "GenerationCancelledError"
    bench.engine.get_ready(max_rows=64)
    await bench.settle()
    assert bench.engine.submitted == [first, third]
    with pytest.raises(UnknownJobError):
        await bench.queue.cancel("unknown")


async def test_cancel_of_a_running_job_frees_its_rows_when_the_engine_lets_go(bench):
    first, second = await ids_of(bench, 1, 2)
    bench.engine.get_ready(max_rows=1)
    await bench.settle()
    bench.engine.start(first)
    await bench.settle()
    assert await bench.queue.cancel(first)
    assert (await bench.final(first)).error == "GenerationCancelledError"
    assert bench.engine.cancelled == [first]
    assert bench.engine.submitted == [first]
    bench.engine.fail(first, "GenerationCancelledError")
    await bench.settle()
    assert bench.engine.submitted == [first, second]
    assert (await bench.store.get(first)).state is JobState.CANCELLED


async def test_a_cancelled_job_does_not_count_against_its_owner(bench):
    a0, a1, b0 = await ids_of(bench, 1, 1, 2)
    bench.engine.get_ready(max_rows=1)
    await bench.settle()
    assert bench.engine.submitted == [a0]
    await bench.queue.cancel(a0)
    assert [q.job_id for q in bench.queue.waiting()] == [a1, b0]


async def test_a_death_puts_running_jobs_back_to_waiting(bench):
    running, innocent = await ids_of(bench, 1, 2)
    bench.engine.get_ready()
    await bench.settle()
    bench.engine.start(running)
    bench.engine.progress(running, 3)
    events = bench.queue.watch(running)
    while not isinstance(await anext(events), Progress):
        pass
    assert bench.queue.place(running) is None
    bench.engine.die(running)
    await bench.settle()
    assert isinstance(bench.queue.engine_state, EngineDied)
    assert [q.job_id for q in bench.queue.waiting()] == [running, innocent]
    while not isinstance(event := await anext(events), Queued):
        pass
    assert event.eta_s is None
    await events.aclose()
    bench.engine.get_ready()
    for job_id in (running, innocent):
        bench.engine.start(job_id)
        bench.engine.finish(job_id)
        assert isinstance(await bench.final(job_id), GenerationResult)
    assert (await bench.store.get(running)).attempts == 1
    assert (await bench.store.get(innocent)).attempts == 0
    assert bench.engine.submitted == [running, innocent]


async def test_unfinished_jobs_are_taken_up_in_order_with_their_attempts(db, tmp_path):
    async with running_queue(db, tmp_path) as bench:
        jobs = await ids_of(bench, 1, 1, 2)
        bench.engine.get_ready(max_rows=64)
        await bench.settle()
        bench.engine.start(jobs[0])
        bench.engine.die(jobs[0])
        while not (await bench.store.get(jobs[0])).attempts:
            await bench.settle()
    async with running_queue(db, tmp_path) as bench:
        bench.engine.get_ready(max_rows=64)
        await bench.engine.until_submitted(*jobs)
        assert bench.engine.submitted == [jobs[0], jobs[2], jobs[1]]
        assert bench.engine.attempts == {jobs[0]: 1, jobs[1]: 0, jobs[2]: 0}


async def test_submit_and_cancel_work_before_the_queue_runs(db, tmp_path):
    bench = Bench(db, tmp_path, HandEngine())
    kept, cancelled = await ids_of(bench, 1, 1)
    assert await bench.queue.cancel(cancelled)
    watching = asyncio.create_task(bench.final(kept))
    running = asyncio.create_task(bench.queue.run())
    bench.engine.get_ready()
    await bench.engine.until_submitted(kept)
    assert bench.engine.submitted == [kept]
    bench.engine.finish(kept)
    assert isinstance(await watching, GenerationResult)
    assert (await bench.final(cancelled)).error == "GenerationCancelledError"
    running.cancel()
    await asyncio.wait([running])


async def test_jobs_that_cannot_be_read_stop_the_start_with_a_sentence(db, tmp_path):
    bench = Bench(db, tmp_path, HandEngine())
    await ids_of(bench, 1)
    async with db.transaction() as tx:
        await tx.rows("UPDATE jobs SET request = '{\"prompt\": 1}'")
    with pytest.raises(ExceptionGroup) as raised:
        await bench.queue.run()
    assert raised.group_contains(StartError, match="cannot be read")
    async with db.transaction() as tx:
        await tx.rows("UPDATE jobs SET state = 'failed', finished_at = created_at")
    with pytest.raises(StartError, match="cannot be read"):
        await anext(bench.queue.finished())


async def test_a_persons_burst_is_paced_and_refused_nothing(db, tmp_path):
    async with running_queue(db, tmp_path, pace=(2, 0.2)) as bench:
        bench.engine.get_ready(max_rows=64)
        jobs = await ids_of(bench, *[1] * 5)
        other = await ids_of(bench, 2)
        await bench.settle()
        assert bench.engine.submitted == [*jobs[:2], *other]
        assert [q.job_id for q in bench.queue.waiting(1)] == jobs
        await bench.queue.cancel(jobs[3])
        await bench.engine.until_submitted(jobs[4])
        assert bench.engine.submitted == [*jobs[:2], *other, jobs[2], jobs[4]]


async def test_a_paced_job_has_its_place_at_once(db, tmp_path):
    async with running_queue(db, tmp_path, pace=(1, 60.0), clock=lambda: 0.0) as bench:
        first = await bench.queue.submit(submission("1"))
        assert await anext(bench.queue.watch(first.id)) == Queued(first.id, 1, None)
        for number in range(2, 5):
            job = await bench.queue.submit(submission(f"{number}"))
            assert bench.queue.place(job.id) == Queued(job.id, number, None)


async def test_jobs_that_arrive_while_the_queue_stops_can_be_cancelled(db, tmp_path):
    async with running_queue(db, tmp_path, pace=(1, 60.0)) as bench:
        paced = await ids_of(bench, 1, 1, 1)
    late = [(await bench.queue.submit(submission(f"late {owner}", owner))).id for owner in (1, 2)]
    for job_id in (*paced, *late):
        assert await bench.queue.cancel(job_id)
        assert (await bench.final(job_id)).error == "GenerationCancelledError"
    assert bench.queue.waiting() == []


async def test_waiting_jobs_of_another_model_are_adapted_or_end_at_once(db, tmp_path):
    def refit(job, info):
        if info.model != "faulty" and "cat" in job.request.prompt:
            raise InvalidRequestError("No cats any more.")
        return dataclasses.replace(job.request, model=info.model)

    async with running_queue(db, tmp_path, refit=refit, pace=(2, 1000.0)) as bench:
        bench.engine.get_ready(max_rows=2)
        (runs,) = await ids_of(bench, 1)
        bench.engine.start(runs)
        (sent,) = await ids_of(bench, 2)
        dog, cat, paced = [
            (await bench.queue.submit(submission(str(n), 3, f"a {word}"))).id
            for n, word in enumerate(("dog", "cat", "paced cat"))
        ]
        bench.engine.get_ready(model="other", max_rows=2)
        for job_id in (cat, paced):
            ended = await bench.final(job_id)
            assert (ended.error, ended.message) == ("InvalidRequestError", "No cats any more.")
            assert (await bench.store.get(job_id)).state is JobState.FAILED
        assert [q.job_id for q in bench.queue.waiting()] == [sent, dog]
        for job_id in (runs, sent):
            bench.engine.finish(job_id)
        await bench.engine.until_submitted(dog)
        assert bench.engine.jobs[dog].model == "other"
        bench.engine.finish(dog)
        assert isinstance(await bench.final(dog), GenerationResult)
        assert (await bench.store.get(dog)).request.model == "other"
        told = [job.id for job in await bench.store.undelivered()]
        assert sorted(told) == sorted([runs, sent, dog, cat, paced])
