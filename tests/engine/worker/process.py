"""Starts the real engine process over a socket pair and speaks its frames."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine import protocol
from engine.protocol import ENGINE_FD_VARIABLE, Frame
from engine.types import EngineInfo, GenerationRequest, Sampler

ROOT = Path(__file__).parents[3]


class EngineProcess:
    """The bot's end of a running engine."""

    limit_s = 60.0  # for a frame

    def __init__(self, process: Any, reader: Any, writer: Any) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer
        self.stages: list[str] = []

    async def send(self, kind: str, blobs: tuple[bytes, ...] = (), **fields: Any) -> None:
        self.writer.write(protocol.encode(kind, fields, blobs))
        await self.writer.drain()

    async def generate(self, job_id: str, request: GenerationRequest, **images: bytes) -> None:
        await self.send(
            "generate",
            tuple(images.values()),
            job_id=job_id,
            request=protocol.pack(request),
            images=list(images),
        )

    async def next(self, *kinds: str) -> Frame:
        """Returns the next frame of one of these kinds, skipping others."""
        async with asyncio.timeout(self.limit_s):
            while (frame := await protocol.read_frame(self.reader)) is not None:
                if frame.kind == "loading":
                    self.stages.append(frame.fields["stage"])
                if frame.kind in kinds:
                    return frame
                if frame.kind == "fatal":  # and nobody asked for it
                    raise AssertionError(frame.fields)
        raise AssertionError(f"the engine ended before it sent {kinds}")

    async def until_done(self, job_id: str) -> list[Frame]:
        """Returns all frames of a job up to its last one."""
        frames = []
        async with asyncio.timeout(60):
            while (frame := await protocol.read_frame(self.reader)) is not None:
                if frame.fields.get("job_id") == job_id:
                    frames.append(frame)
                    if frame.kind in ("done", "failed"):
                        return frames
        raise AssertionError("the engine ended")

    async def ready(self) -> EngineInfo:
        frame = await self.next("ready")
        return protocol.unpack(EngineInfo, frame.fields["info"])


@asynccontextmanager
async def running(model: Path | str, **environment: str) -> AsyncIterator[EngineProcess]:
    """Starts an engine with `model`; kills it in the end if it still runs."""
    ours, theirs = socket.socketpair()
    variables = {k: v for k, v in os.environ.items() if not k.startswith("EASEL_")}
    variables |= {
        "EASEL_MODEL": str(model),
        "EASEL_DEVICE": "cpu",
        "EASEL_THREADS": "1",
        ENGINE_FD_VARIABLE: str(theirs.fileno()),
        **environment,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "engine.worker",
        cwd=ROOT,
        env=variables,
        pass_fds=[theirs.fileno()],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    theirs.close()
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        yield EngineProcess(process, reader, writer)
    finally:
        writer.close()
        if process.returncode is None:
            async with asyncio.timeout(10):
                _, errors = await process.communicate()
            print(errors.decode())  # noqa: T201, shown when the test fails


def a_request(info: EngineInfo, **changes: Any) -> GenerationRequest:
    """Returns a small request for the model."""
    values: dict[str, Any] = {
        "prompt": "a red cat",
        "width": info.native_size,
        "height": info.native_size,
        "seed": 7,
        "num_inference_steps": 4,
        "guidance_scale": 4.0,
        "sampler": Sampler.DDIM,
        "model": info.model,
    }
    return GenerationRequest(**(values | changes))
