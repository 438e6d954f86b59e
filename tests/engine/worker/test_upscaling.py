"""Upscaling: a job like any other, without the model; the picture stays what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from engine.errors import InvalidRequestError
from engine.types import MAX_UPSCALED_SIDE, Control, Upscaler
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.test_equality import a_picture

UPSCALING = {"upscaler": Upscaler.LANCZOS, "strength": 0.0}


def test_upscaled_is_the_picture_at_the_size_that_was_asked_for(sd15: LocalEngine) -> None:
    picture = a_picture()
    size = (picture.width * 3, picture.height * 3)
    sd15.send("big", picture, width=size[0], height=size[1], model="another", **UPSCALING)
    sd15.finish()
    (made,) = sd15.pictures("big")
    assert made.size == size
    expected = picture.resize(size, Image.Resampling.LANCZOS)
    assert ImageChops.difference(made.convert("RGB"), expected).getbbox() is None
    assert f"Postprocess upscale to: {size[0]}x{size[1]}" in made.info["parameters"]
    done = sd15.last("big")
    assert done.kind == "done"
    assert done.fields["receipt"]["pictures"] == [{"seed": 7}]


def test_styles_and_controls_of_the_picture_are_not_loaded_again(
    sd15: LocalEngine, tiny_sd15: Path, tmp_path: Path
) -> None:
    engine = LocalEngine(tiny_sd15, model=sd15.model)
    gone = tmp_path / "gone.safetensors"
    gone.write_bytes(b"what the style was")
    drawn: dict[str, Any] = {
        "styles": [(gone, 1.0)],
        "controls": [(a_picture(), Control("canny", ""))],
    }
    engine.send("larger", a_picture(), **drawn, **UPSCALING)
    assert engine.loop.waiting_ids() == []
    engine.send("again", a_picture(), **drawn, strength=0.5)
    assert engine.loop.waiting_ids() == ["again"]
    engine.finish()
    assert (engine.last("larger").kind, engine.last("again").kind) == ("done", "failed")


def test_flat_picture_is_upscaled(sd15: LocalEngine) -> None:
    grey = Image.new("RGB", (64, 64), "grey")
    sd15.send("flat", grey, width=128, height=128, **UPSCALING)
    sd15.finish()
    assert sd15.pictures("flat")[0].getpixel((5, 5)) == (128, 128, 128)


def test_upscaling_that_makes_no_sense_is_refused(sd15: LocalEngine) -> None:
    with pytest.raises(InvalidRequestError, match="keeps it"):
        sd15.request(upscaler=Upscaler.LANCZOS, init_image="0" * 64, strength=0.5)
    huge = sd15.request(width=MAX_UPSCALED_SIDE + 1, height=64, init_image="0" * 64, **UPSCALING)
    with pytest.raises(InvalidRequestError, match="smaller factor"):
        sd15.info.check(huge)


def test_upscaling_costs_a_small_part_of_a_picture(sd15: LocalEngine) -> None:
    drawn = sd15.request(num_inference_steps=20)
    upscaled = sd15.request(init_image="0" * 64, **UPSCALING)
    assert upscaled.work < drawn.work / 50
