"""The engine process as the bot sees it: frames over a socket pair, and how it ends."""

from __future__ import annotations

import asyncio
import io
import signal
from pathlib import Path

import pytest
from PIL import Image

from engine.types import Sampler
from tests.engine.worker.process import EngineProcess, a_request, running

pytest.importorskip("torch")


async def ends(engine: EngineProcess, within_s: float = 10.0) -> int:
    """Waits for the process and returns its exit code."""
    async with asyncio.timeout(within_s):
        _, errors = await engine.process.communicate()
    assert b"Traceback" not in errors, errors.decode()
    return int(engine.process.returncode)


async def test_lives_through_jobs_and_ends_when_the_bot_is_gone(tiny_sd15: Path) -> None:
    async with running(tiny_sd15) as engine:
        info = await engine.ready()
        assert engine.stages[0] == "starting"
        assert any("loading the unet" in stage for stage in engine.stages)
        assert (info.model, info.device, info.dtype) == ("tiny-sd15", "cpu", "float32")
        assert info.device_name == "CPU (1 thread)"
        assert info.versions.keys() >= {"torch", "diffusers", "transformers"}
        assert len(info.model_hash) == 10

        await engine.generate("job1", a_request(info, num_images=2))
        frames = await engine.until_done("job1")
        assert frames[0].kind == "started"
        assert [f.kind for f in frames[-3:]] == ["picture", "picture", "done"]
        with Image.open(io.BytesIO(frames[-2].blobs[0])) as image:
            assert image.size == (64, 64)
            assert "Steps: 4, Sampler: DDIM" in image.text["parameters"]

        await engine.generate("job2", a_request(info, num_inference_steps=60, num_images=4))
        await engine.next("started")
        await engine.send("cancel", job_id="job2")
        last = (await engine.until_done("job2"))[-1]
        assert last.fields["error"] == "GenerationCancelledError"

        await engine.send("stats", call_id=9)
        reply = await engine.next("reply")
        assert reply.fields["call_id"] == 9
        assert reply.fields["value"]["rss_bytes"] < 1e9

        engine.process.send_signal(signal.SIGINT)  # Ctrl-C in the bot's terminal
        await engine.generate("job3", a_request(info, sampler=Sampler.EULER))
        assert (await engine.until_done("job3"))[-1].kind == "done"

        await engine.generate("job4", a_request(info, num_inference_steps=60, num_images=4))
        await engine.next("progress")
        engine.writer.close()  # in the middle of a step
        assert await ends(engine) == 0


async def test_ends_in_the_middle_of_loading_when_the_bot_is_gone(tiny_sd15: Path) -> None:
    async with running(tiny_sd15) as engine:
        await engine.next("loading")
        engine.writer.close()
        assert await ends(engine) == 0


async def test_ends_at_sigterm(tiny_sd15: Path) -> None:
    async with running(tiny_sd15) as engine:
        await engine.next("loading")
        engine.process.terminate()
        assert await ends(engine) == -signal.SIGTERM


async def test_missing_model_is_fatal_with_one_sentence(tmp_path: Path) -> None:
    async with running(tmp_path / "nothing-here") as engine:
        frame = await engine.next("fatal")
        assert frame.fields["error"] == "ModelLoadError"
        assert frame.fields["message"].startswith("There is no model at ")
        assert "\n" not in frame.fields["message"]
        assert await ends(engine) == 78
