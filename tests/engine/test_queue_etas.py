"""Estimated starts of a busy queue, against an engine that takes its time as the row-batch loop does."""

from __future__ import annotations

import pytest

from storage.database import Database
from tests.engine.hand_engine import Bench, ids_of, running_queue
from tests.engine.scripted import WAIT_S, submission

pytestmark = pytest.mark.timeout(WAIT_S)

STEPS = 20


class SimulatedLoop:
    """Runs what the queue hands to the engine, on a clock of its own: a step of all, then a decode."""

    def __init__(self, *, step_s: float, decode_s: float, max_rows: int) -> None:
        self.now = 0.0
        self.started: dict[str, float] = {}
        self.ended: list[str] = []
        self._step_s, self._decode_s, self._max_rows = step_s, decode_s, max_rows
        self._steps: dict[str, int] = {}
        self._decoding: list[str] = []

    async def tick(self, bench: Bench) -> None:
        engine = bench.engine
        for job_id in engine.jobs:
            if job_id not in self.started:
                self.started[job_id] = self.now
                self._steps[job_id] = 0
                engine.start(job_id)
        await bench.settle()
        rows = sum(engine.jobs[job_id].rows for job_id in self._steps)
        self.now += self._step_s * max(rows, self._max_rows) / self._max_rows if rows else 0.0
        for job_id in list(self._steps):
            self._steps[job_id] += 1
            engine.progress(job_id, self._steps[job_id], STEPS)
            if self._steps[job_id] == STEPS:
                del self._steps[job_id]
                self._decoding.append(job_id)
        await bench.settle()
        if self._decoding:
            self.now += self._decode_s
            self.ended.append(self._decoding.pop(0))
            engine.finish(self.ended[-1])
        await bench.settle()


@pytest.mark.parametrize(("step_s", "decode_s"), [(0.05, 0.0), (0.05, 0.1), (1.5, 3.0)])
@pytest.mark.parametrize("max_rows", [2, 4, 8])
@pytest.mark.parametrize("later", [0, STEPS // 2, STEPS - 2])  # in the steps of the next batch
async def test_ten_jobs_behind_a_full_batch_start_about_when_they_are_promised(
    tmp_path, later, max_rows, step_s, decode_s
):
    loop = SimulatedLoop(step_s=step_s, decode_s=decode_s, max_rows=max_rows)
    in_batch = max_rows // 2 + 1  # two rows a job, and one job beyond the knee
    async with (
        Database.open(tmp_path) as db,
        running_queue(db, tmp_path, clock=lambda: loop.now) as bench,
    ):
        for number in range(in_batch + 10):
            await bench.queue.submit(submission(str(number), number, num_inference_steps=STEPS))
        bench.engine.get_ready(max_rows=max_rows)
        await bench.engine.until_submitted()
        await bench.settle()
        while not loop.ended:
            await loop.tick(bench)
        for _ in range(later):
            await loop.tick(bench)
        at = loop.now
        promised = {q.job_id: q.eta_s for q in bench.queue.waiting()}
        assert len(promised) >= 10 - in_batch
        assert None not in promised.values()
        while bench.engine.jobs:
            await loop.tick(bench)
        for job_id, eta_s in promised.items():
            real_s = loop.started[job_id] - at
            assert eta_s == pytest.approx(real_s, rel=0.3, abs=2 * step_s), promised


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
