"""What the tests of client and queue share: requests, and a client with the scripted engine process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from engine.client import EngineClient
from engine.settings import Settings
from engine.types import (
    Destination,
    EngineEvent,
    EngineReady,
    GenerationFailed,
    GenerationRequest,
    GenerationResult,
    Limits,
    Sampler,
    Submission,
)
from tests import faulty_engine

WAIT_S = 20.0  # only a failing test waits this long
NO_LIMITS = Limits(waiting=10_000, queue=10_000)


def request(prompt: str = "a cat", **changes: Any) -> GenerationRequest:
    base = GenerationRequest(
        prompt=prompt,
        width=16,
        height=16,
        seed=7,
        num_inference_steps=3,
        guidance_scale=5.0,
        sampler=Sampler.EULER,
        model="faulty",
    )
    return dataclasses.replace(base, **changes)


def submission(origin: str, owner_id: int = 1, prompt: str = "a cat", **changes: Any) -> Submission:
    return Submission(
        origin=origin,
        owner_id=owner_id,
        owner_name=f"person {owner_id}",
        destination=Destination(channel_id=5),
        request=request(prompt, **changes),
    )


def info(**changes: Any):
    options = faulty_engine.parse(["--state", "unused"])
    return dataclasses.replace(faulty_engine.info_of(options), **changes)


def settings_for(tmp_path: Path, *arguments: str, **changes: Any) -> Settings:
    command = (sys.executable, faulty_engine.__file__, "--state", str(tmp_path), *arguments)
    changes = {"data_dir": tmp_path, "engine_command": command} | changes
    return Settings(**changes)


class Log:
    """Reads a client's events and keeps them, so that a test can wait for what it needs."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.events: list[EngineEvent] = []
        self._changed = asyncio.Event()

    async def read(self) -> None:
        async for event in self.client.events():
            self.events.append(event)
            self._changed.set()
            self._changed = asyncio.Event()

    async def until(self, condition: Any) -> Any:
        """Returns the first true value of `condition(events)`."""
        async with asyncio.timeout(WAIT_S):
            while not (value := condition(self.events)):
                await self._changed.wait()
        return value

    async def first(self, kind: type[Any], job_id: str | None = None) -> Any:
        return await self.until(
            lambda events: next(
                (
                    e
                    for e in events
                    if isinstance(e, kind) and (job_id is None or e.job_id == job_id)
                ),
                None,
            )
        )

    async def finals(self, *job_ids: str) -> dict[str, GenerationResult | GenerationFailed]:
        """Waits until each job has its final event, and checks that none has two."""
        await self.until(lambda _: set(job_ids) <= {e.job_id for e in self.ends()})
        ends = self.ends()
        assert len({e.job_id for e in ends}) == len(ends)
        return {e.job_id: e for e in ends}

    def ends(self) -> list[GenerationResult | GenerationFailed]:
        return [e for e in self.events if isinstance(e, GenerationResult | GenerationFailed)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [e for e in self.events if isinstance(e, kind)]


@contextlib.asynccontextmanager
async def running_client(settings: Settings, **options: Any) -> AsyncIterator[Log]:
    """A client whose supervisor runs until the end of the block."""
    options = {"backoff_s": (0.01, 0.1), "stop_timeout_s": 2.0} | options
    client = EngineClient(settings, info(), **options)
    log = Log(client)
    supervisor = asyncio.create_task(client.run())
    reader = asyncio.create_task(log.read())
    try:
        yield log
        assert not supervisor.done()
    finally:
        supervisor.cancel()
        reader.cancel()
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait([supervisor, reader])
        assert supervisor.cancelled(), supervisor.exception()


async def ready(log: Log) -> EngineReady:
    return await log.first(EngineReady)
