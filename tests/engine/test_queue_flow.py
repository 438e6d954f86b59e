"""An operator who pauses the queue, lets it run empty, and puts jobs to the front."""

from __future__ import annotations

import pytest

from engine.errors import QueueClosedError, UnknownJobError
from engine.types import Flow, GenerationResult, Queued
from tests.engine.hand_engine import ids_of, running_queue
from tests.engine.scripted import WAIT_S, submission

pytestmark = pytest.mark.timeout(WAIT_S)


async def test_a_pause_finishes_what_runs_and_keeps_what_waits(bench):
    bench.engine.get_ready(max_rows=2)
    first, second, third = await ids_of(bench, 1, 2, 3)
    bench.engine.start(first)
    await bench.settle()
    assert bench.engine.submitted == [first, second]
    bench.queue.set_flow(Flow.PAUSED)
    bench.engine.finish(first)
    bench.engine.finish(second)
    assert isinstance(await bench.final(first), GenerationResult)
    assert isinstance(await bench.final(second), GenerationResult)
    (fourth,) = await ids_of(bench, 4)
    assert bench.queue.waiting() == [Queued(third, 1, None), Queued(fourth, 2, None)]
    assert bench.engine.submitted == [first, second]
    bench.queue.set_flow(Flow.OPEN)
    await bench.engine.until_submitted(third, fourth)
    assert bench.queue.place(fourth).eta_s is not None


async def test_a_watcher_is_told_of_a_pause_by_its_time(bench):
    bench.engine.get_ready(max_rows=2)
    jobs = await ids_of(bench, 1, 2, 3)
    bench.engine.start(jobs[0])
    bench.engine.progress(jobs[0], 4)
    bench.engine.finish(jobs[0])
    await bench.final(jobs[0])
    bench.engine.start(jobs[1])
    bench.engine.progress(jobs[1], 1)
    await bench.settle()
    events = bench.queue.watch(jobs[2])
    assert (await anext(events)).eta_s is not None
    bench.queue.set_flow(Flow.PAUSED)
    assert await anext(events) == Queued(jobs[2], 1, None)
    await events.aclose()


async def test_a_queue_that_runs_empty_makes_what_it_has_and_takes_nothing(bench):
    jobs = await ids_of(bench, 1, 2, 3, 4)
    bench.queue.set_flow(Flow.DRAINING)
    with pytest.raises(QueueClosedError, match="run empty"):
        await bench.queue.submit(submission("late"))
    bench.engine.get_ready(max_rows=2)
    await bench.settle()
    for job_id in jobs:
        await bench.engine.until_submitted(job_id)
        bench.engine.finish(job_id)
        assert isinstance(await bench.final(job_id), GenerationResult)
    bench.queue.set_flow(Flow.OPEN)
    await bench.queue.submit(submission("late"))
    assert len(await bench.store.unfinished()) == 1


async def test_the_front_is_there_again_after_a_restart(db, tmp_path):
    async with running_queue(db, tmp_path) as bench:
        a, b, c, d = await ids_of(bench, 1, 1, 2, 3)
        assert await bench.queue.bump(d)
        assert await bench.queue.bump(b)
        assert [q.job_id for q in bench.queue.waiting()] == [b, d, c, a]
    async with running_queue(db, tmp_path) as bench:
        await anext(bench.queue.watch(a))
        assert [q.job_id for q in bench.queue.waiting()] == [b, d, c, a]
        bench.engine.get_ready(max_rows=2)
        await bench.settle()
        assert bench.engine.submitted == [b, d]


async def test_a_paced_job_can_go_to_the_front(db, tmp_path):
    async with running_queue(db, tmp_path, pace=(1, 1000.0)) as bench:
        first, paced = await ids_of(bench, 1, 1)
        assert await bench.queue.bump(paced)
        assert [q.job_id for q in bench.queue.waiting()] == [paced, first]


async def test_nothing_is_before_a_job_that_the_engine_has(bench):
    bench.engine.get_ready()
    (job_id,) = await ids_of(bench, 1)
    await bench.settle()
    assert not await bench.queue.bump(job_id)
    bench.engine.finish(job_id)
    await bench.final(job_id)
    assert not await bench.queue.bump(job_id)
    with pytest.raises(UnknownJobError):
        await bench.queue.bump("unknown")
