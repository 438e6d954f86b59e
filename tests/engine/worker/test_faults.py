"""What is no picture fails alone, and a device that is lost ends the process."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine import protocol
from engine.protocol import Frame
from engine.types import Sampler
from engine.worker import pixels, previews
from engine.worker.__main__ import EXIT_DEVICE_LOST, serve
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.test_equality import a_picture

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def engine(tiny_sd15: Path) -> LocalEngine:
    """Returns an engine of the test's own, whose parts it may break."""
    return LocalEngine(tiny_sd15)


def two_jobs(engine: LocalEngine) -> bytes:
    """Runs a bad and a good job side by side and returns the good one's picture."""
    engine.join("bad", guidance_scale=1.0, num_inference_steps=4, sampler=Sampler.EULER_A)
    engine.join("good", guidance_scale=1.0, num_inference_steps=4, seed=8)
    engine.finish()
    assert engine.last("good").kind == "done"
    (picture,) = engine.pictures("good")
    return picture.tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_row_that_turns_into_no_number_fails_alone_and_changes_no_neighbour(
    tiny_sd15: Path, dtype: str, value: float
) -> None:
    engine = LocalEngine(tiny_sd15, dtype=dtype)
    expected = two_jobs(engine)
    calls = 0

    def spoil(module: Any, args: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            output[0][0] = value
        return output

    broken = LocalEngine(tiny_sd15, dtype=dtype, model=engine.model)
    handle = broken.unet.unet.register_forward_hook(spoil)
    assert two_jobs(broken) == expected
    handle.remove()
    failed = broken.last("bad").fields
    assert failed["error"] == "BrokenPictureError"
    assert "another seed" in failed["message"]
    assert not broken.pictures("bad")


def test_overflowing_half_encoder_is_run_again_in_float32(tiny_sd15: Path) -> None:
    exact, engine = LocalEngine(tiny_sd15), LocalEngine(tiny_sd15, dtype="float16")
    for one in (exact, engine):
        one.model.vae.encoder.conv_in.weight.mul_(1e5)  # group norms undo it later
    white = Image.new("RGB", (64, 64), "white")
    white.paste(a_picture(32), (0, 0))
    values = (2 * pixels.to_unit_range(white) - 1).half()
    assert not torch.isfinite(engine.model.vae.encode(values).latent_dist.parameters).all()
    half = pixels.encode(engine.model, white).parameters
    full = pixels.encode(exact.model, white).parameters
    assert half.dtype == torch.float16
    assert engine.model.vae.dtype == torch.float16
    assert torch.allclose(half.float(), full, atol=0.05, rtol=0.05)
    engine.join("a", white, strength=0.5)
    engine.finish()
    assert engine.last("a").kind == "done"


def test_encoder_that_gives_no_numbers_fails_its_job_alone(engine: LocalEngine) -> None:
    engine.model.vae.encoder.conv_in.weight.mul_(float("nan"))
    engine.send("bad", a_picture(), strength=0.5)
    engine.join("good")
    engine.finish()
    assert engine.last("bad").fields["error"] == "BrokenPictureError"
    assert "another picture" in engine.last("bad").fields["message"]
    assert engine.last("good").kind == "done"


def test_decoder_that_gives_no_numbers_fails_the_job(engine: LocalEngine) -> None:
    engine.model.vae.decoder.conv_out.weight.mul_(float("nan"))
    engine.join("bad")
    engine.finish()
    assert engine.last("bad").fields["error"] == "BrokenPictureError"


def test_preview_of_no_numbers_is_a_picture_all_the_same(engine: LocalEngine) -> None:
    latents = torch.full((1, 4, 8, 8), float("nan"))
    data = previews.jpeg(previews.fit_colours(engine.model), [latents], (64, 64))
    with Image.open(io.BytesIO(data)) as preview:
        assert np.asarray(preview).std() < 1


PARTS: dict[str, Callable[[LocalEngine], Any]] = {
    "unet": lambda engine: engine.unet.unet,
    "text encoder": lambda engine: engine.model.text_encoder,
    "vae decoder": lambda engine: engine.model.vae.decoder,
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_lost_device_ends_the_process_with_its_own_code(
    engine: LocalEngine, part: str, error: Exception
) -> None:
    def lose(module: Any, args: Any) -> None:
        raise error

    PARTS[part](engine).register_forward_pre_hook(lose)
    request = protocol.pack(engine.request(num_inference_steps=1))
    fields = {"job_id": "a", "request": request, "images": []}
    engine.inbox.put(Frame("generate", fields))
    engine.inbox.put(Frame("drain", {}))
    assert serve(engine.loop, engine.loop._send) == EXIT_DEVICE_LOST == 70
    assert engine.frames[-1].kind == "fatal"
    assert not [frame for frame in engine.frames if frame.kind in ("done", "failed")], (
        "the job is the client's to run again"
    )


def test_drained_loop_ends_with_success(engine: LocalEngine) -> None:
    engine.inbox.put(Frame("drain", {}))
    assert serve(engine.loop, engine.loop._send) == 0
