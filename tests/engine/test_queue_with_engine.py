"""Queue, store and client with a real engine process: kills of either side lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter

import pytest

from engine.client import EngineClient
from engine.types import GenerationResult, JobState, Started
from storage.database import Database
from tests.engine.hand_engine import running_queue
from tests.engine.scripted import WAIT_S, info, settings_for, submission

pytestmark = pytest.mark.timeout(WAIT_S)


@contextlib.asynccontextmanager
async def running_bot(db, tmp_path, *arguments, **changes):
    """A client with its process, and the queue on it."""
    settings = settings_for(tmp_path, *arguments, **changes)
    client = EngineClient(settings, info(), backoff_s=(0.01, 0.1), stop_timeout_s=2.0)
    supervisor = asyncio.create_task(client.run())
    try:
        async with running_queue(db, tmp_path, client) as bench:
            yield bench
    finally:
        supervisor.cancel()
        await asyncio.wait([supervisor])


async def until_started(bench, job_ids, number):
    """Returns when so many of the jobs run."""

    async def started(job_id):
        async for event in bench.queue.watch(job_id):
            if isinstance(event, Started):
                return

    tasks = [asyncio.create_task(started(job_id)) for job_id in job_ids]
    waiting = asyncio.as_completed(tasks)
    for _ in range(number):
        await next(waiting)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def submit_twenty(bench, word):
    return [
        (await bench.queue.submit(submission(f"interaction:{n}", n % 5, f"a cat {word}"))).id
        for n in range(20)
    ]


async def told(bench, number):
    reader = bench.queue.finished()
    counts = Counter([(await anext(reader)).id for _ in range(number)])
    await reader.aclose()
    return counts


async def test_a_killed_engine_loses_none_of_twenty_jobs(tmp_path):
    async with Database.open(tmp_path) as db, running_bot(db, tmp_path) as bench:
        jobs = await submit_twenty(bench, "engine:hold")
        await until_started(bench, jobs, 4)
        os.kill(bench.engine.pid, signal.SIGKILL)
        (tmp_path / "go").touch()
        assert await told(bench, 20) == Counter(jobs)
        stored = [await bench.store.get(job_id) for job_id in jobs]
        assert {job.state for job in stored} == {JobState.RENDERED}
        assert sum(job.attempts for job in stored) == 4
        assert bench.queue.waiting() == []


async def test_a_stopped_bot_goes_on_with_its_jobs_at_the_next_start(tmp_path):
    async with Database.open(tmp_path) as db:
        async with running_bot(db, tmp_path) as bench:
            jobs = await submit_twenty(bench, "engine:hold")
            await until_started(bench, jobs, 4)
        (tmp_path / "go").touch()
        async with running_bot(db, tmp_path) as bench:
            assert await told(bench, 20) == Counter(jobs)
            stored = [await bench.store.get(job_id) for job_id in jobs]
        assert {job.state for job in stored} == {JobState.RENDERED}
        assert {job.attempts for job in stored} == {0}


async def test_a_poisonous_job_is_set_aside_over_a_restart_of_the_bot(tmp_path):
    """Its first death is remembered by the store, so the second bot needs only one more."""
    async with Database.open(tmp_path) as db:
        async with running_bot(db, tmp_path) as bench:
            job = await bench.queue.submit(submission("1", prompt="a cat engine:crash-once"))
            innocent = await bench.queue.submit(submission("2", 2, "a cat engine:hold"))
            await until_started(bench, [innocent.id], 1)
            while (await bench.store.get(job.id)).attempts == 0:
                pass
        (tmp_path / f"{job.id}.crash").unlink()
        (tmp_path / "go").touch()
        async with running_bot(db, tmp_path) as bench:
            assert (await bench.final(job.id)).error == "JobSetAsideError"
            assert isinstance(await bench.final(innocent.id), GenerationResult)
        stored = await bench.store.get(job.id)
        assert (stored.state, stored.attempts) == (JobState.FAILED, 2)
