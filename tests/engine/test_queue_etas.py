"""Estimated starts of a busy queue, against an engine that takes its time as the row-batch loop does."""

from __future__ import annotations

import pytest

from storage.database import Database
from tests.engine.hand_engine import Bench, running_queue
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
