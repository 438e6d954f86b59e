"""Random lives of jobs, restarts and clocks against a model of what the ledger promises."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.errors import QueueFullError, QuotaExceededError, TooManyWaitingError
from engine.types import JobState, Limits
from storage.database import Database
from storage.references import collect_garbage
from tests.storage.samples import HandClock, Store, a_result, a_submission

LIMITS = Limits(waiting=3, queue=6, daily=10.0, per_minute=4)
PEOPLE = (1, 2, 3)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@dataclass
class Known:
    """What the model knows of a job."""

    id: str
    owner_id: int
    cost: float
    charged_at: datetime
    state: JobState = JobState.QUEUED
    content: bytes | None = None


class Life(RuleBasedStateMachine):
    """One data directory; the clock only goes on here, its way back has its own tests."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="easel-test-"))
        self.clock = HandClock()
        self.jobs: list[Known] = []
        self.stack = AsyncExitStack()
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def open(self) -> None:
        db = await self.stack.enter_async_context(Database.open(self.folder))
        self.store = Store(db, self.folder, self.clock)
        assert await collect_garbage(db, self.store.pictures) == 0

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def waiting(self, owner_id: int | None = None) -> list[str]:
        return [
            job.id
            for job in self.jobs
            if not job.state.is_final and owner_id in (None, job.owner_id)
        ]

    def has_room(self, owner_id: int, cost: float, now: datetime) -> bool:
        own = [job for job in self.jobs if job.owner_id == owner_id]
        used = sum(
            job.cost
            for job in own
            if job.charged_at > now - DAY and job.state not in (JobState.FAILED, JobState.CANCELLED)
        )
        recent = sum(job.charged_at > now - MINUTE for job in own)
        return used + cost <= LIMITS.daily and recent < LIMITS.per_minute

    @rule(owner_id=st.sampled_from(PEOPLE), cost=st.sampled_from([0.25, 1.0, 4.0, 10.0, 12.0]))
    def add(self, owner_id: int, cost: float) -> None:
        async def call() -> str:
            job, is_new = await self.store.jobs.add(
                a_submission(owner_id), cost=cost, limits=LIMITS
            )
            assert is_new
            return job.id

        now = self.clock.now
        try:
            job_id = self.run(call())
        except TooManyWaitingError:
            assert len(self.waiting(owner_id)) >= LIMITS.waiting
        except QueueFullError:
            assert len(self.waiting()) >= LIMITS.queue
        except QuotaExceededError as error:
            self.check_refusal(owner_id, cost, error.retry_at)
        else:
            assert len(self.waiting(owner_id)) < LIMITS.waiting
            assert len(self.waiting()) < LIMITS.queue
            assert self.has_room(owner_id, cost, now)
            self.jobs.append(Known(job_id, owner_id, cost, now))

    def check_refusal(self, owner_id: int, cost: float, retry_at: datetime | None) -> None:
        assert not self.has_room(owner_id, cost, self.clock.now)
        if retry_at is None:
            assert cost > LIMITS.daily
        else:
            assert self.has_room(owner_id, cost, retry_at)
            assert not self.has_room(owner_id, cost, retry_at - timedelta(microseconds=1))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), state=st.sampled_from([JobState.FAILED, JobState.CANCELLED]))
    def end(self, data: st.DataObject, state: JobState) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        ended = self.run(self.store.jobs.end(job.id, state))
        assert (ended is None) == job.state.is_final
        if ended is not None:
            job.state = state

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), content=st.sampled_from([b"a", b"b"]))
    def finish(self, data: st.DataObject, content: bytes) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        finished = self.run(self.store.jobs.finish(job.id, a_result(job.id, content)))
        if not job.state.is_final:
            job.state, job.content = JobState.RENDERED, content
        assert finished.state == job.state

    @precondition(lambda self: any(job.content for job in self.jobs))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for job in self.jobs if job.content]))
        self.run(self.store.history.delete_pictures(job.id))
        job.content = None

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.run(self.store.jobs.mark_running(job.id))
        if not job.state.is_final:
            job.state = JobState.RUNNING

    @rule(seconds=st.sampled_from([0.5, 20, 60, 3600, 12 * 3600, 24 * 3600]))
    def wait(self, seconds: float) -> None:
        self.clock.turn(seconds)

    @rule()
    def restart(self) -> None:
        self.run(self.stack.aclose())
        self.run(self.open())
        queued = self.run(self.store.jobs.unfinished())
        assert [job.id for job in queued] == self.waiting()
        for job in self.jobs:
            if job.state == JobState.RUNNING:
                job.state = JobState.QUEUED

    @invariant()
    def what_is_stored_is_what_happened(self) -> None:
        stored = self.run(self.store.jobs.get_many([job.id for job in self.jobs]))
        assert [job.state for job in stored] == [job.state for job in self.jobs]
        told = [job.id for job in self.run(self.store.jobs.undelivered())]
        ended = (JobState.RENDERED, JobState.FAILED)
        assert told == [job.id for job in self.jobs if job.state in ended]

    @invariant()
    def files_are_those_of_the_kept_pictures(self) -> None:
        assert len(self.store.files()) == len({job.content for job in self.jobs if job.content})


Life.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase
