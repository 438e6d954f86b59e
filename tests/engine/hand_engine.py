"""An `Engine` that a test moves by hand, and a queue over a real store that runs on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from engine.live import Signal
from engine.queue import JobQueue
from engine.types import (
    EngineDied,
    EngineEvent,
    EngineInfo,
    EngineReady,
    GenerationFailed,
    GenerationRequest,
    GenerationResult,
    Picture,
    Progress,
    Started,
)
from storage.database import Database
from storage.jobs import JobTable
from storage.pictures import PictureFiles
from tests import faulty_engine
from tests.engine.scripted import NO_LIMITS, WAIT_S, info, submission


class HandEngine:
    """Keeps what it was given; every event is the test's doing."""

    def __init__(self, engine_info: EngineInfo | None = None) -> None:
        self.info: EngineInfo | None = engine_info or info()
        self.is_ready = False
        self.jobs: dict[str, GenerationRequest] = {}  # accepted and not ended, in order
        self.submitted: list[str] = []
        self.attempts: dict[str, int] = {}
        self.images: dict[str, Mapping[str, bytes]] = {}
        self.cancelled: list[str] = []
        self._events: asyncio.Queue[EngineEvent] = asyncio.Queue()
        self._given = Signal()

    async def submit(
        self,
        job_id: str,
        request: GenerationRequest,
        images: Mapping[str, bytes],
        attempts: int = 0,
    ) -> None:
        assert job_id not in self.jobs
        self.jobs[job_id] = request
        self.submitted.append(job_id)
        self.attempts[job_id] = attempts
        self.images[job_id] = images
        self._given.notify()

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    async def events(self) -> AsyncIterator[EngineEvent]:
        while True:
            yield await self._events.get()

    async def call(self, kind: str, **fields: Any) -> Any:
        raise NotImplementedError

    # What the test does.

    async def until_submitted(self, *job_ids: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while not set(job_ids) <= set(self.submitted):
                await self._given.next.wait()

    def tell(self, event: EngineEvent) -> None:
        self._events.put_nowait(event)

    def get_ready(self, **changes: Any) -> None:
        self.info = info(**changes)
        self.is_ready = True
        self.tell(EngineReady(self.info))

    def start(self, job_id: str) -> None:
        self.tell(Started(job_id))

    def progress(
        self, job_id: str, step: int, total: int = 4, preview: bytes | None = None
    ) -> None:
        self.tell(Progress(job_id, step, total, preview))

    def finish(self, job_id: str, **receipt: object) -> None:
        request = self.jobs.pop(job_id)
        pictures = tuple(
            Picture(
                index,
                request.seed_of(index),
                request.width,
                request.height,
                faulty_engine.draw(request, index),
            )
            for index in range(request.num_images)
        )
        self.tell(GenerationResult(job_id, pictures, 1.0, (), receipt))

    def fail(self, job_id: str, error: str = "GenerationError") -> None:
        del self.jobs[job_id]
        self.tell(GenerationFailed(job_id, error, "It did not work."))

    def die(self, *job_ids: str) -> None:
        self.is_ready = False
        self.tell(EngineDied("The engine was ended by SIGKILL.", job_ids))


class Bench:
    """One queue with its store and engine."""

    def __init__(self, db: Database, data_dir: Path, engine: Any, **options: Any) -> None:
        self.engine = engine
        self.pictures = PictureFiles(data_dir / "pictures")
        store_class = options.pop("store_class", JobTable)
        self.store = store_class(db, self.pictures)
        options = {"limits": lambda _: NO_LIMITS, "pace": (1000, 1.0)} | options
        self.queue = JobQueue(store=self.store, engine=engine, **options)

    async def final(self, job_id: str) -> GenerationResult | GenerationFailed:
        async with asyncio.timeout(WAIT_S):
            async for event in self.queue.watch(job_id):
                if isinstance(event, GenerationResult | GenerationFailed):
                    return event
        raise AssertionError("the watch ended without a final event")

    async def settle(self) -> None:
        """Lets everything happen that waits for nothing but the loop."""
        for _ in range(10):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running_queue(
    db: Database, data_dir: Path, engine: Any | None = None, **options: Any
) -> AsyncIterator[Bench]:
    bench = Bench(db, data_dir, engine or HandEngine(), **options)
    task = asyncio.create_task(bench.queue.run())
    try:
        yield bench
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


async def ids_of(bench: Bench, *owners: int, **changes: Any) -> list[str]:
    """Submits one job for each owner and returns the ids."""
    number = len(await bench.store.unfinished()) if not bench.engine.submitted else 0
    jobs = []
    for owner in owners:
        number += 1
        jobs.append(
            await bench.queue.submit(submission(f"{owner}:{number}:{len(jobs)}", owner, **changes))
        )
    return [job.id for job in jobs]
