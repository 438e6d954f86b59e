"""The queue over the real store, with an engine that the test moves by hand."""

from __future__ import annotations

import asyncio
import sqlite3

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
    EngineLoading,
    EngineReady,
    GenerationFailed,
    GenerationResult,
    JobState,
    Limits,
    Progress,
    Queued,
    Started,
)
from storage.database import Database
from storage.jobs import JobTable
from tests.engine.hand_engine import Bench, HandEngine, running_queue
from tests.engine.scripted import WAIT_S, submission

pytestmark = pytest.mark.timeout(WAIT_S)


@pytest.fixture
async def db(tmp_path):
    async with Database.open(tmp_path) as database:
        yield database


@pytest.fixture
async def bench(db, tmp_path):
    async with running_queue(db, tmp_path) as bench:
        yield bench


class BrokenStore(JobTable):
    """Fails like a full disk for as long as it is told to."""

    failures = 0

    async def undelivered(self):
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database is locked")
        return await super().undelivered()

    async def finish(self, job_id, result):
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return await super().finish(job_id, result)

    async def end(self, job_id, state, error=None):
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        return await super().end(job_id, state, error)


async def ids_of(bench, *owners, **changes):
    """Submits one job for each owner and returns the ids."""
    number = len(await bench.store.unfinished()) if not bench.engine.submitted else 0
    jobs = []
    for owner in owners:
        number += 1
        jobs.append(
            await bench.queue.submit(submission(f"{owner}:{number}:{len(jobs)}", owner, **changes))
        )
    return [job.id for job in jobs]


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


async def test_a_result_that_comes_after_the_cancel_is_not_kept(bench):
    (job_id,) = await ids_of(bench, 1)
    bench.engine.get_ready()
    await bench.settle()
    assert await bench.queue.cancel(job_id)
    bench.engine.finish(job_id)
    await bench.settle()
    assert (await bench.final(job_id)).error == "GenerationCancelledError"
    assert (await bench.store.get(job_id)).state is JobState.CANCELLED


async def test_a_cancel_that_meets_the_result_ends_as_the_store_decides(bench):
    """The result is being written when the cancel comes: both see the same end."""
    ids = await ids_of(bench, *range(6))
    bench.engine.get_ready(max_rows=64)
    await bench.settle()
    for number, job_id in enumerate(ids):
        watching = asyncio.create_task(bench.final(job_id))
        await bench.settle()
        bench.engine.finish(job_id)
        for _ in range(number * 2):
            await asyncio.sleep(0)
        is_cancelled = await bench.queue.cancel(job_id)
        state = (await bench.store.get(job_id)).state
        event = await watching
        assert state is (JobState.CANCELLED if is_cancelled else JobState.RENDERED)
        assert isinstance(event, GenerationFailed if is_cancelled else GenerationResult)


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


async def test_a_full_disk_delays_a_result_and_loses_none(db, tmp_path, caplog):
    async with running_queue(db, tmp_path, store_class=BrokenStore, retry_s=(0.001, 0.01)) as bench:
        picture, failure = await ids_of(bench, 1, 2)
        bench.engine.get_ready()
        await bench.settle()
        bench.store.failures = 5
        bench.engine.finish(picture)
        assert isinstance(await bench.final(picture), GenerationResult)
        bench.store.failures = 5
        bench.engine.fail(failure)
        assert isinstance(await bench.final(failure), GenerationFailed)
        assert bench.store.failures == 0
        assert (await bench.store.get(failure)).state is JobState.FAILED
    assert "disk is full" in caplog.text


async def test_an_end_that_no_store_can_take_fails_its_job_alone(bench, caplog):
    """More of them than may wait for the disk, so that the queue would stand still."""
    jobs = await ids_of(bench, *range(20))
    (good,) = await ids_of(bench, 30)
    bench.engine.get_ready(max_rows=2)
    for number, job_id in enumerate(jobs):
        await bench.engine.until_submitted(job_id)
        if number % 2:
            bench.engine.finish(job_id, seconds=float("nan"))  # no JSON
        else:
            del bench.engine.jobs[job_id]
            bench.engine.tell(GenerationFailed(job_id, "GenerationError", "\ud800"))  # no UTF-8
        event = await bench.final(job_id)
        assert (event.error, "could not be stored" in event.message) == ("GenerationError", True)
        stored = await bench.store.get(job_id)
        assert stored.state is JobState.FAILED
        assert "could not be stored" in stored.error[1]
    await bench.engine.until_submitted(good)
    bench.engine.finish(good)
    assert isinstance(await bench.final(good), GenerationResult)
    assert caplog.text.count("Traceback") == len(jobs)
    told = [job.id async for job in first_of(bench.queue.finished(), 21)]
    assert told == [*jobs, good]


async def test_an_end_that_cannot_be_stored_at_all_waits_for_the_next_start(db, tmp_path):
    class DamagedStore(JobTable):
        is_damaged = True

        async def end(self, job_id, state, error=None):
            if self.is_damaged:
                raise sqlite3.DatabaseError("database disk image is malformed")
            return await super().end(job_id, state, error)

    async with running_queue(db, tmp_path, store_class=DamagedStore) as bench:
        (job_id,) = await ids_of(bench, 1)
        bench.engine.get_ready()
        await bench.settle()
        bench.engine.fail(job_id)
        assert isinstance(await bench.final(job_id), GenerationFailed)
        assert not (await bench.store.get(job_id)).state.is_final
    async with running_queue(db, tmp_path) as bench:
        bench.engine.get_ready()
        await bench.engine.until_submitted(job_id)


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


async def test_no_more_pictures_are_made_while_results_wait_for_the_disk(db, tmp_path):
    async with running_queue(db, tmp_path, store_class=BrokenStore, retry_s=(0.001, 0.01)) as bench:
        jobs = await ids_of(bench, *range(60))
        bench.store.failures = 10**9
        bench.engine.get_ready(max_rows=4)
        await bench.settle()
        ended = 0
        while bench.engine.jobs:  # the engine goes on for as long as it is given something
            bench.engine.finish(next(iter(bench.engine.jobs)))
            ended += 1
            await bench.settle()
        assert 16 <= ended <= 20
        bench.store.failures = 0
        for job_id in jobs:
            await bench.engine.until_submitted(job_id)
            if job_id in bench.engine.jobs:
                bench.engine.finish(job_id)
            assert isinstance(await bench.final(job_id), GenerationResult)


async def test_finished_gives_undelivered_jobs_first_and_each_once(db, tmp_path):
    async with running_queue(db, tmp_path) as bench:
        old, failed, cancelled = await ids_of(bench, 1, 2, 3)
        bench.engine.get_ready(max_rows=64)
        await bench.settle()
        bench.engine.finish(old)
        await bench.final(old)
        bench.engine.fail(failed)
        await bench.final(failed)
        await bench.queue.cancel(cancelled)
    async with running_queue(db, tmp_path) as bench:
        bench.engine.get_ready(max_rows=64)
        (new,) = await ids_of(bench, 9)
        told = []
        async for job in bench.queue.finished():
            told.append(job.id)
            if job.id == failed:
                await bench.settle()
                bench.engine.finish(new)
            if job.id == new:
                break
        assert told == [old, failed, new]
        again = [job.id async for job in first_of(bench.queue.finished(), 3)]
        assert again == [old, failed, new]


async def test_a_store_that_fails_at_the_start_delays_the_deliveries(db, tmp_path, caplog):
    async with running_queue(db, tmp_path, store_class=BrokenStore, retry_s=(0.001, 0.01)) as bench:
        (job_id,) = await ids_of(bench, 1)
        bench.engine.get_ready()
        await bench.settle()
        bench.engine.finish(job_id)
        await bench.final(job_id)
        bench.store.failures = 3
        assert (await anext(bench.queue.finished())).id == job_id
        assert bench.store.failures == 0
    assert "database is locked" in caplog.text


async def first_of(iterator, number):
    for _ in range(number):
        yield await anext(iterator)


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


async def test_etas_come_from_measured_steps(db, tmp_path):
    now = [0.0]
    async with running_queue(db, tmp_path, clock=lambda: now[0]) as bench:
        jobs = await ids_of(bench, *range(5))
        bench.engine.get_ready(max_rows=2)
        await bench.settle()
        for number, job_id in enumerate(jobs[:2]):
            assert all(q.eta_s is None for q in bench.queue.waiting()) or number
            bench.engine.start(job_id)
            await bench.settle()
            for step in (1, 2, 3, 4):
                now[0] += 0.5
                bench.engine.progress(job_id, step)
                await bench.settle()
            bench.engine.finish(job_id)
            await bench.final(job_id)
        bench.engine.start(jobs[2])
        await bench.settle()
        assert [q.job_id for q in bench.queue.waiting()] == jobs[3:]
        # The engine has the next one already; the last one waits until both are done, which share it.
        assert [q.eta_s for q in bench.queue.waiting()] == pytest.approx([0.0, 4.0], rel=0.1)
        now[0] += 1.0
        bench.engine.progress(jobs[2], 2)
        await bench.settle()
        assert bench.queue.place(jobs[4]).eta_s == pytest.approx(2.0, rel=0.1)
        bench.engine.die(jobs[2])
        await bench.settle()
        assert bench.queue.place(jobs[3]).eta_s is None


async def test_a_slow_watcher_sees_the_newest_state(bench):
    (job_id,) = await ids_of(bench, 1)
    bench.engine.get_ready()
    events = bench.queue.watch(job_id)
    assert isinstance(await anext(events), Queued)
    bench.engine.start(job_id)
    for step in range(1, 4):
        bench.engine.progress(job_id, step)
    await bench.settle()
    assert await anext(events) == Progress(job_id, 3, 4)
    bench.engine.finish(job_id)
    assert isinstance(await anext(events), GenerationResult)
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_a_slow_watcher_misses_no_newest_preview(bench):
    (job_id,) = await ids_of(bench, 1)
    bench.engine.get_ready()
    events = bench.queue.watch(job_id)
    assert isinstance(await anext(events), Queued)
    bench.engine.start(job_id)
    bench.engine.progress(job_id, 1, preview=b"first")
    bench.engine.progress(job_id, 2, preview=b"second")
    bench.engine.progress(job_id, 3)  # most steps come without one
    await bench.settle()
    assert await anext(events) == Progress(job_id, 3, 4, b"second")
    bench.engine.die(job_id)
    bench.engine.get_ready()
    bench.engine.start(job_id)  # again from its first step
    bench.engine.progress(job_id, 1)
    await bench.settle()
    assert await anext(events) == Progress(job_id, 1, 4)
    await events.aclose()


async def test_a_watcher_of_a_waiting_job_sees_it_move_up(bench):
    first, second = await ids_of(bench, 1, 1)
    events = bench.queue.watch(second)
    assert (await anext(events)).position == 2
    await bench.queue.cancel(first)
    assert (await anext(events)).position == 1
    await events.aclose()


async def test_a_watch_that_begins_after_the_end(bench):
    done, failed, cancelled = await ids_of(bench, 1, 2, 3)
    bench.engine.get_ready()
    await bench.settle()
    bench.engine.finish(done)
    await bench.final(done)
    bench.engine.fail(failed)
    await bench.final(failed)
    await bench.queue.cancel(cancelled)
    assert (await bench.final(done)).pictures == ()
    assert (await bench.final(failed)).message == "It did not work."
    assert (await bench.final(cancelled)).error == "GenerationCancelledError"
    with pytest.raises(UnknownJobError):
        await bench.final("unknown")


async def test_engine_states_are_told(bench):
    states = bench.queue.engine_states()
    assert await anext(states) == EngineLoading("starting")
    bench.engine.tell(EngineLoading("downloading unet", 0.5))
    assert await anext(states) == EngineLoading("downloading unet", 0.5)
    bench.engine.tell(EngineLoading("loading", None))
    bench.engine.get_ready()
    await bench.settle()
    assert isinstance(await anext(states), EngineReady)
    assert isinstance(bench.queue.engine_state, EngineReady)
    await states.aclose()


async def test_a_job_that_was_deleted_while_it_ran_ends_without_a_trace(bench, db):
    gone, other = await ids_of(bench, 1, 2)
    bench.engine.get_ready()
    await bench.settle()
    async with db.transaction() as tx:
        for table in ("charges", "jobs"):
            column = "job_id" if table == "charges" else "id"
            await tx.rows(f"DELETE FROM {table} WHERE {column} = ?", (gone,))
    watching = asyncio.create_task(bench.final(gone))
    await bench.settle()
    bench.engine.finish(gone)
    assert isinstance(await watching, GenerationFailed)
    bench.engine.finish(other)
    assert isinstance(await bench.final(other), GenerationResult)


async def test_a_cancel_that_won_in_the_store_is_what_watchers_see(db, tmp_path):
    """The store has cancelled the job, the canceller has not heard of it yet, the result arrives."""

    class LateStore(JobTable):
        answer = asyncio.Event()
        has_ended = asyncio.Event()

        async def end(self, job_id, state, error=None):
            job = await super().end(job_id, state, error)
            self.has_ended.set()
            await self.answer.wait()
            return job

    async with running_queue(db, tmp_path, store_class=LateStore) as bench:
        by_result, by_failure = await ids_of(bench, 1, 2)
        bench.engine.get_ready()
        await bench.settle()
        for job_id in (by_result, by_failure):
            LateStore.answer.clear()
            LateStore.has_ended.clear()
            cancelling = asyncio.create_task(bench.queue.cancel(job_id))
            await LateStore.has_ended.wait()
            watching = asyncio.create_task(bench.final(job_id))
            await bench.settle()
            if job_id == by_result:
                bench.engine.finish(job_id)
            else:
                bench.engine.fail(job_id, "EngineOutOfMemoryError")
                LateStore.answer.set()
            assert (await watching).error == "GenerationCancelledError"
            LateStore.answer.set()
            assert await cancelling
        assert not await bench.store.undelivered()
