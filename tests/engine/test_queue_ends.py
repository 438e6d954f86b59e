"""How jobs end in the queue when the store cannot write it, or a cancel or an erasure comes between."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from engine.types import GenerationFailed, GenerationResult, JobState
from storage.jobs import JobTable
from tests.engine.hand_engine import ids_of, running_queue
from tests.engine.scripted import WAIT_S

pytestmark = pytest.mark.timeout(WAIT_S)


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


async def test_a_result_that_comes_after_the_cancel_is_not_kept(bench):
    (job_id,) = await ids_of(bench, 1)
    bench.engine.get_ready()
    await bench.settle()
    assert await bench.queue.cancel(job_id)
    bench.engine.finish(job_id)
    await bench.settle()
    assert (await bench.final(job_id)).error == "GenerationCancelledError"
    assert (await bench.store.get(job_id)).state is JobState.CANCELLED


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
