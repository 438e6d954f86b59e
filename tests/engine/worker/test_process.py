"""The engine process as the bot sees it: frames over a socket pair, and how it ends."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("torch")

from tests.engine.worker.process import a_request, running


async def test_generates_a_picture(tiny_sd15: Path) -> None:
    async with running(tiny_sd15) as engine:
        info = await engine.ready()
        assert info.model == tiny_sd15.name
        await engine.generate("job1", a_request(info))
        frames = await engine.until_done("job1")
        kinds = [frame.kind for frame in frames]
        assert kinds[0] == "started"
        assert kinds[-2:] == ["picture", "done"]
        (png,) = frames[-2].blobs
        with Image.open(io.BytesIO(png)) as image:
            assert image.size == (64, 64)
            assert "Steps: 4, Sampler: DDIM" in image.text["parameters"]
