"""The engine with the pocket model: what a fresh installation runs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from engine.model_card import provisional_info
from engine.pocket import MODEL_DIR
from engine.settings import EngineSettings
from tests.engine.worker.process import a_request, running

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not MODEL_DIR.is_dir(), reason="the model is not trained yet")


async def test_pocket_draws_what_was_asked_in_little_memory() -> None:
    async with running("pocket", EASEL_PREVIEW_INTERVAL_S="0.05") as engine:
        info = await engine.ready()
        guess = provisional_info(EngineSettings(model="pocket", device="cpu"))
        assert (info.model, info.native_size, info.size_multiple) == ("pocket", 128, 32)
        for name in ("model", "family", "max_side", "samplers", "default_steps", "dtype"):
            assert getattr(info, name) == getattr(guess, name)
        request = a_request(
            info,
            prompt="a red circle on a blue background",
            num_inference_steps=info.default_steps,
            guidance_scale=info.default_guidance_scale,
            sampler=info.default_sampler,
            num_images=2,
        )
        await engine.generate("job", request)
        frames = await engine.until_done("job")
        previews = [f for f in frames if f.kind == "progress" and f.blobs]
        assert previews
        for frame in frames:
            if frame.kind == "picture":
                with Image.open(io.BytesIO(frame.blobs[0])) as image:
                    red, _, blue = np.asarray(image.convert("RGB"), dtype=int).transpose(2, 0, 1)
                corners = np.ix_([0, 1, -2, -1], [0, 1, -2, -1])
                assert (blue - red)[corners].mean() > 60, "the background is blue"
                assert 0.01 < (red - blue > 60).mean() < 0.6, "something red is on it"
        await engine.send("stats", call_id=1)
        assert (await engine.next("reply")).fields["value"]["rss_bytes"] < 1e9
