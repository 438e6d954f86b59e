"""The engine as a fresh installation runs it: a picture of a person, its skeleton, another person in that pose."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
from diffusers import UNet2DConditionModel

from engine import protocol
from engine.control.maps import AUTO, MapRequest
from engine.pocket import CONTROLNETS_DIR, MODEL_DIR
from engine.pocket.captions import canonical_caption
from engine.pocket.controlnets import build_controlnet
from engine.pocket.hints import skeleton_of
from engine.pocket.scenes import SIZE, Scene, render, sample_scene
from engine.protocol import Frame
from engine.types import Control
from tests.engine.worker.local import png_of
from tests.engine.worker.process import EngineProcess, a_request, running

IS_TRAINED = (CONTROLNETS_DIR / "openpose" / "config.json").is_file()


def somebody(action: str, start: str) -> Scene:
    """A person of the renderer who does that."""
    scenes = (sample_scene(Random(f"{start}/{number}"), "person") for number in range(1000))
    return next(one for one in scenes if one.person is not None and one.person.action == action)


def untrained(folder: Path) -> Path:
    """A ControlNet as it is before its training: made for the model, and without any effect."""
    net = build_controlnet(UNet2DConditionModel.from_pretrained(MODEL_DIR / "unet"))
    net.half().save_pretrained(folder / "openpose")
    return folder


async def detect(engine: EngineProcess, image: Image.Image, call_id: int) -> Frame:
    request = protocol.pack(MapRequest(AUTO, SIZE, SIZE))
    await engine.send("detect", (png_of(image),), call_id=call_id, request=request)
    return await engine.next("reply")


async def test_another_person_takes_the_pose_of_a_picture(tmp_path: Path) -> None:
    environment = {} if IS_TRAINED else {"EASEL_CONTROLNETS": str(untrained(tmp_path))}
    first, second = somebody("arms up", "first"), somebody("standing", "second")
    assert second.person is not None
    async with running("pocket", **environment) as engine:
        info = await engine.ready()
        assert "openpose" in info.control_kinds
        reply = await detect(engine, render(first).image, 1)
        (skeleton,) = reply.fields["value"]["people"]
        assert reply.fields["value"]["kind"] == "openpose"
        sha256 = hashlib.sha256(reply.blobs[0]).hexdigest()
        prompt = canonical_caption(replace(second, person=replace(second.person, action="")))
        request = a_request(
            info,
            prompt=prompt,
            num_inference_steps=info.default_steps if IS_TRAINED else 2,
            sampler=info.default_sampler,
            guidance_scale=info.default_guidance_scale,
            controls=(Control("openpose", sha256),),
        )
        await engine.generate("job", request, **{sha256: reply.blobs[0]})
        frames = await engine.until_done("job")
        assert frames[-1].kind == "done", frames[-1].fields
        receipt = frames[-1].fields["receipt"]
        assert "openpose" in str(receipt["pictures"])
        if not IS_TRAINED:
            return
        (picture,) = [frame.blobs[0] for frame in frames if frame.kind == "picture"]
        again = await detect(engine, Image.open(io.BytesIO(picture)), 2)
        assert again.fields["value"]["kind"] == "openpose", "it is a person, too"
        (taken,) = again.fields["value"]["people"]
        pairs = zip(taken, skeleton, strict=True)
        distances = [np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in pairs if a and b]
        assert np.median(distances) < 0.06 * SIZE
        before = skeleton_of(second)
        moved = [
            np.hypot(a[0] - b[0], a[1] - b[1])
            for a, b in zip(taken, before, strict=True)
            if a and b
        ]
        assert np.median(distances) < np.median(moved)
