"""What those see who watch a job or the engine through the queue."""

from __future__ import annotations

import pytest

from engine.errors import UnknownJobError
from engine.types import (
    EngineLoading,
    EngineReady,
    GenerationResult,
    Progress,
    Queued,
)
from tests.engine.hand_engine import ids_of
from tests.engine.scripted import WAIT_S

pytestmark = pytest.mark.timeout(WAIT_S)


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
