"""The queue under every mixture of events: nothing lost, nothing twice, the promised order kept.

Hypothesis drives submissions, steps, ends, cancels, deaths, store failures, restarts of the bot, and an
operator who pauses the queue and puts jobs to the front; the store is the real one, the engine is moved by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.types import Flow, GenerationFailed, GenerationResult, JobState
from storage.database import Database
from storage.jobs import JobTable
from tests.engine.hand_engine import Bench, HandEngine
from tests.engine.scripted import WAIT_S, submission

KNEE = 4


class UnreliableStore(JobTable):
    """Its next write of an end fails, when told."""

    failures = 0

    async def finish(self, job_id, result):
        self._fail()
        return await super().finish(job_id, result)

    async def mark_running(self, job_id):
        self._fail()
        await super().mark_running(job_id)

    def _fail(self):
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")


class QueueMachine(RuleBasedStateMachine):
    """One database; queues and engines come and go."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.stack = contextlib.AsyncExitStack()
        self.owners: dict[str, int] = {}
        self.expected: dict[str, JobState] = {}  # ends that were decided
        self.told: list[str] = []
        self.number = 0
        self.flow = Flow.OPEN
        self.sent_before_pause: list[str] = []
        self.bumped: list[str] = []  # newest first
        self.task: asyncio.Task[None] | None = None
        try:
            opened = self.stack.enter_async_context(Database.open(Path(self.folder.name)))
            self.db = self.do(opened)
            self.start_bot()
        except BaseException:
            self.clean_up()
            raise

    def do(self, coroutine):
        async def bounded():
            async with asyncio.timeout(WAIT_S):
                return await coroutine

        return self.runner.run(bounded())

    def start_bot(self):
        self.engine = HandEngine()
        self.bench = Bench(
            self.db,
            Path(self.folder.name),
            self.engine,
            store_class=UnreliableStore,
            retry_s=(0.0005, 0.001),
            flow=self.flow,
        )
        self.sent_before_pause = []

        async def start():
            self.task = asyncio.create_task(self.bench.queue.run())
            self.engine.get_ready(max_rows=KNEE)
            ids = [job_id for job_id in self.owners if job_id not in self.expected]
            for job_id in ids:  # until all of them are taken up again
                await anext(self.bench.queue.watch(job_id))
            await self.bench.settle()

        self.do(start())

    def stop_bot(self):
        async def stop():
            self.task.cancel()
            await asyncio.wait([self.task])

        self.do(stop())
        assert self.task.cancelled()

    @property
    def unended(self):
        return [job_id for job_id in self.owners if job_id not in self.expected]

    @property
    def in_engine(self):
        return [job_id for job_id in self.engine.jobs if job_id not in self.expected]

    @rule(owner=st.integers(1, 3), images=st.integers(1, 3), twice=st.booleans())
    def submit(self, owner, images, twice):
        self.number += 1

        async def submit():
            asked = submission(f"interaction:{self.number}", owner, num_images=images)
            job = await self.bench.queue.submit(asked)
            if twice:
                assert (await self.bench.queue.submit(asked)).id == job.id
            await self.bench.settle()
            return job.id

        self.owners[self.do(submit())] = owner

    @precondition(lambda self: self.in_engine and self.engine.is_ready)
    @rule(data=st.data(), step=st.integers(0, 4))
    def advance(self, data, step):
        job_id = data.draw(st.sampled_from(self.in_engine))

        async def advance():
            self.engine.start(job_id)
            if step:
                self.engine.progress(job_id, step)
            await self.bench.settle()

        self.do(advance())

    @precondition(lambda self: self.in_engine and self.engine.is_ready)
    @rule(data=st.data(), is_good=st.booleans(), failures=st.sampled_from([0, 0, 1, 3]))
    def end(self, data, is_good, failures):
        job_id = data.draw(st.sampled_from(self.in_engine))

        async def end():
            self.bench.store.failures = failures
            watching = asyncio.create_task(self.bench.final(job_id))
            await self.bench.settle()
            if is_good:
                self.engine.finish(job_id)
            else:
                self.engine.fail(job_id)
            return await watching

        event = self.do(end())
        assert isinstance(event, GenerationResult if is_good else GenerationFailed)
        self.expected[job_id] = JobState.RENDERED if is_good else JobState.FAILED

    @precondition(lambda self: self.unended)
    @rule(data=st.data())
    def cancel(self, data):
        job_id = data.draw(st.sampled_from(self.unended))

        async def cancel():
            assert await self.bench.queue.cancel(job_id)
            assert not await self.bench.queue.cancel(job_id)
            if job_id in self.engine.jobs:
                assert job_id in self.engine.cancelled
            await self.bench.settle()

        self.do(cancel())
        self.expected[job_id] = JobState.CANCELLED

    @precondition(lambda self: self.unended and self.in_engine and self.engine.is_ready)
    @rule(data=st.data(), loops=st.integers(0, 12))
    def cancel_while_it_finishes(self, data, loops):
        job_id = data.draw(st.sampled_from(self.in_engine))

        async def race():
            watching = asyncio.create_task(self.bench.final(job_id))
            await self.bench.settle()
            self.engine.finish(job_id)
            for _ in range(loops):
                await asyncio.sleep(0)
            is_cancelled = await self.bench.queue.cancel(job_id)
            event = await watching
            assert isinstance(event, GenerationFailed if is_cancelled else GenerationResult)
            await self.bench.settle()
            return is_cancelled

        is_cancelled = self.do(race())
        self.expected[job_id] = JobState.CANCELLED if is_cancelled else JobState.RENDERED

    @precondition(lambda self: any(j in self.expected for j in self.engine.jobs))
    @rule(is_late_result=st.booleans())
    def the_engine_lets_go_of_a_cancelled_job(self, is_late_result):
        job_id = next(j for j in self.engine.jobs if j in self.expected)

        async def let_go():
            if is_late_result:
                self.engine.finish(job_id)
            else:
                self.engine.fail(job_id, "GenerationCancelledError")
            await self.bench.settle()

        self.do(let_go())

    @rule(data=st.data())
    def the_engine_dies_and_comes_back(self, data):
        blamed = [j for j in self.engine.jobs if data.draw(st.booleans())]

        async def die():
            self.engine.die(*blamed)
            await self.bench.settle()
            assert all(q.eta_s is None for q in self.bench.queue.waiting())
            for job_id in [j for j in self.engine.jobs if j in self.expected]:
                self.engine.fail(job_id, "GenerationCancelledError")
            self.engine.get_ready(max_rows=KNEE)
            await self.bench.settle()

        self.do(die())

    @precondition(lambda self: self.flow is Flow.OPEN)
    @rule()
    def the_operator_pauses(self):
        self.flow = Flow.PAUSED
        self.bench.queue.set_flow(self.flow)
        self.sent_before_pause = list(self.engine.submitted)

    @precondition(lambda self: self.flow is Flow.PAUSED)
    @rule()
    def the_operator_resumes(self):
        self.flow = Flow.OPEN

        async def resume():
            self.bench.queue.set_flow(self.flow)
            await self.bench.settle()

        self.do(resume())

    @precondition(lambda self: self.unended)
    @rule(data=st.data())
    def the_operator_bumps(self, data):
        job_id = data.draw(st.sampled_from(self.unended))
        is_sent = job_id in self.engine.jobs

        async def bump():
            is_bumped = await self.bench.queue.bump(job_id)
            await self.bench.settle()
            return is_bumped

        assert self.do(bump()) is not is_sent
        if not is_sent:
            self.bumped = [job_id, *(j for j in self.bumped if j != job_id)]

    @rule()
    def the_bot_restarts(self):
        self.stop_bot()
        self.start_bot()

    @invariant()
    def waiting_and_engine_hold_each_job_once(self):
        waiting = [q.job_id for q in self.bench.queue.waiting()]
        assert len(waiting) == len(set(waiting))
        assert [q.position for q in self.bench.queue.waiting()] == list(range(1, len(waiting) + 1))
        assert set(waiting) | set(self.in_engine) == set(self.unended)
        # The queue promised this order: those that the engine has come first.
        not_sent = [job_id for job_id in waiting if job_id not in self.engine.jobs]
        assert waiting[len(waiting) - len(not_sent) :] == not_sent

    @invariant()
    def the_engine_holds_its_knee_and_one_job_more(self):
        rows = [request.rows for request in self.engine.jobs.values()]
        assert sum(rows[:-1]) <= KNEE + 8
        assert len(self.engine.submitted) == len(set(self.engine.submitted))
        if not self.engine.jobs and self.flow is Flow.OPEN:  # work-conserving
            assert not self.bench.queue.waiting()

    @invariant()
    def a_pause_lets_nothing_through_and_promises_no_time(self):
        if self.flow is Flow.PAUSED:
            assert self.engine.submitted == self.sent_before_pause
            assert all(q.eta_s is None for q in self.bench.queue.waiting())

    @invariant()
    def those_at_the_front_are_next_the_newest_first(self):
        unsent = [q.job_id for q in self.bench.queue.waiting() if q.job_id not in self.engine.jobs]
        front = [j for j in self.bumped if j in unsent]
        assert unsent[: len(front)] == front

    @invariant()
    def a_person_is_served_in_order(self):
        order = list(self.owners)
        for owner in set(self.owners.values()):
            sent = [j for j in self.engine.submitted if self.owners[j] == owner]
            in_line = [j for j in sent if j not in self.bumped]
            assert in_line == sorted(in_line, key=order.index)

    def teardown(self):
        async def drain():
            self.flow = Flow.OPEN
            self.bench.queue.set_flow(self.flow)
            await self.bench.settle()
            while any(job_id not in self.expected for job_id in self.owners):
                for job_id in list(self.engine.jobs):
                    is_cancelled = job_id in self.expected
                    self.engine.finish(job_id)
                    if not is_cancelled:
                        assert isinstance(await self.bench.final(job_id), GenerationResult)
                        self.expected[job_id] = JobState.RENDERED
                await self.bench.settle()
            for job_id, state in self.expected.items():
                assert (await self.bench.store.get(job_id)).state is state
            told = [job.id for job in await self.bench.store.undelivered()]
            reader = self.bench.queue.finished()
            assert [(await anext(reader)).id for _ in told] == told
            await reader.aclose()
            ended = (JobState.RENDERED, JobState.FAILED)
            assert sorted(told) == sorted(j for j, s in self.expected.items() if s in ended)
            assert not await self.bench.store.unfinished()

        try:
            self.bench.store.failures = 0
            self.do(drain())
            self.stop_bot()
        finally:
            self.clean_up()

    def clean_up(self):
        """An open database keeps a thread, which would keep a failed test run from ending."""
        if self.task is not None:
            self.task.cancel()
        try:
            self.do(self.stack.aclose())
        finally:
            self.runner.close()
            self.folder.cleanup()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
