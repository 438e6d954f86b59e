"""Memory that runs out anywhere, at any call: no job is lost, and no picture is another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from engine.types import Control, Sampler, SecondPass
from engine.worker import controls, pixels
from engine.worker.denoise import Predictor
from engine.worker.faults import BELIEVE_S, TooLarge
from engine.worker.models import Model
from engine.worker.vae import WHOLE, Vae
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.test_controls import a_map
from tests.engine.worker.test_equality import a_picture, final_latents

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

POSE = [(a_map(), Control("openpose", "", scale=0.8))]
JOBS = ("text", "pose", "image", "second")
Pictures = dict[str, list[np.ndarray]]


class Calls:
    """Counts the calls of a module and makes those fail that `fails` says: (number, first input)."""

    def __init__(self, module: Any, fails: Callable[[int, Any], bool]) -> None:
        self.count = 0
        self.failed = 0
        self._fails = fails
        self._handle = module.register_forward_pre_hook(self._before, with_kwargs=True)

    def _before(self, module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.count += 1
        if self._fails(self.count, args[0] if args else options["sample"]):
            self.failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()


@pytest.fixture(scope="module")
def model(tiny_sd15: Path) -> Model:
    """Returns a model of this module's own, which engines of the tests share."""
    return LocalEngine(tiny_sd15).model


@pytest.fixture
def engine(tiny_sd15: Path, model: Model) -> LocalEngine:
    return LocalEngine(tiny_sd15, model=model)


@pytest.fixture(scope="module")
def whole(tiny_sd15: Path, model: Model) -> Pictures:
    """Returns what nothing went wrong with."""
    return mixed_run(LocalEngine(tiny_sd15, model=model))


def mixed_run(engine: LocalEngine) -> Pictures:
    """Runs text, picture, pose and a second pass, whose rows are alone in the end."""
    engine.join("text", prompt="cat", sampler=Sampler.EULER_A, num_images=2, num_inference_steps=2)
    engine.join("pose", controls=POSE, guidance_scale=1.0, num_inference_steps=2)
    engine.join("image", a_picture(), strength=0.5, num_inference_steps=4, guidance_scale=1.0)
    second = SecondPass(1.5, 0.5)
    engine.join("second", second_pass=second, num_inference_steps=2, guidance_scale=1.0)
    engine.finish()
    for job in JOBS:
        assert engine.last(job).kind == "done", engine.last(job).fields
    return {job: [np.asarray(p, dtype=int) for p in engine.pictures(job)] for job in JOBS}


def assert_same(ours: Pictures, theirs: Pictures) -> None:
    for job in JOBS:
        for a, b in zip(ours[job], theirs[job], strict=True):
            # 5e-4 on [-1, 1] is a sixteenth of a grey level: it may round either way.
            assert np.abs(a - b).max() <= 1, job


def controlnet(engine: LocalEngine) -> Any:
    """Has the ControlNet loaded and returns it."""
    job = engine.join("loads", controls=POSE, num_inference_steps=1)
    engine.finish()
    return job.maps[0][1]


PARTS: dict[str, Callable[[LocalEngine], Any]] = {
    "unet": lambda engine: engine.unet.unet,
    "controlnet": controlnet,
    "text encoder": lambda engine: engine.model.text_encoder,
    "vae encoder": lambda engine: engine.model.vae.encoder,
    "vae decoder": lambda engine: engine.model.vae.decoder,
}


@pytest.mark.parametrize("part", PARTS)
def test_memory_that_runs_out_once_at_any_call_loses_no_job(
    tiny_sd15: Path, model: Model, whole: Pictures, part: str
) -> None:
    number, has_failed = 0, True
    while has_failed:  # until there is no call left to fail
        number += 1
        engine = LocalEngine(tiny_sd15, model=model)
        with Calls(PARTS[part](engine), lambda count, _: count == number) as calls:  # noqa: B023
            assert_same(mixed_run(engine), whole)
        has_failed = calls.failed > 0
    assert number > 2


@pytest.fixture
def large() -> Iterator[dict[str, Any]]:
    """Returns the options of a picture that the tiny VAE's own tiles split."""
    return {"width": 96, "height": 96, "num_inference_steps": 2}


def is_large(count: int, values: Any) -> bool:
    """Says whether a latent or picture is larger than one of the VAE's own tiles."""
    return max(values.shape[-2:]) > (8 if values.shape[1] == 4 else 64)


def test_decoder_that_never_fits_a_whole_picture_decodes_tiles(
    engine: LocalEngine, large: dict[str, Any]
) -> None:
    vae = engine.model.vae
    with Calls(vae.decoder, is_large) as calls:
        job = engine.join("large", **large)
        small = engine.join("small", num_inference_steps=2)
        engine.finish()
    assert calls.failed == 2, "once as it was, once with memory freed"
    vae.enable_tiling()
    try:
        latents = final_latents(job)
        expected = pixels.Decoded(latents, pixels.decode(engine.model, latents)).image()
    finally:
        vae.disable_tiling()
    assert np.array_equal(np.asarray(engine.pictures("large")[0]), np.asarray(expected))
    receipts = [engine.last(j.job_id).fields["receipt"]["pictures"][0] for j in (job, small)]
    assert [receipt["vae_tiles"] for receipt in receipts] == [[8], [0]]


def test_encoder_that_never_fits_a_whole_picture_encodes_tiles(
    engine: LocalEngine, large: dict[str, Any]
) -> None:
    with Calls(engine.model.vae.encoder, is_large):
        engine.join("large", a_picture(96), strength=0.5, **large)
        engine.finish()
    receipt = engine.last("large").fields["receipt"]["pictures"][0]
    assert receipt["vae_tiles"] == [8, 0]


@pytest.mark.parametrize("part", PARTS)
def test_what_does_not_fit_at_all_fails_its_job_alone(engine: LocalEngine, part: str) -> None:
    module = PARTS[part](engine)
    engine.join("fine", num_inference_steps=3)
    engine.loop.tick()
    if part == "controlnet":
        changes: dict[str, Any] = {"controls": POSE}
    elif part == "vae encoder":
        changes = {"image": a_picture(), "strength": 0.5}
    else:
        changes = {"prompt": "cat red", "width": 96}
    wide = lambda values: values is None or values.shape[-1] != 8  # noqa: E731
    anyhow = part in ("controlnet", "vae encoder", "text encoder")
    with Calls(module, lambda _, values: anyhow or wide(values)):
        engine.send("large", **changes)
        engine.finish()
    failed = engine.last("large").fields
    assert failed["error"] == "EngineOutOfMemoryError"
    assert "smaller size" in failed["message"]
    assert engine.last("fine").kind == "done"
    engine.join("after", prompt="red red")
    engine.finish()
    assert engine.last("after").kind == "done"


def test_the_whole_picture_is_tried_again_after_a_while(model: Model) -> None:
    now = 0.0
    vae = Vae(model, too_large=TooLarge(lambda: now))
    latents = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    with Calls(model.vae.decoder, is_large) as calls:
        assert [vae.decode(latents)[1] for _ in range(3)] == [8, 8, 8]
        assert calls.failed == 2, "what does not fit is not tried each time"
        now = BELIEVE_S
        assert vae.decode(latents)[1] == 8
        assert calls.failed == 4
    now = 2 * BELIEVE_S
    assert vae.decode(latents)[1] == WHOLE


def test_the_whole_call_is_tried_again_after_a_while(engine: LocalEngine) -> None:
    now = 0.0
    too_large = TooLarge[int](lambda: now)
    engine.loop._predictor = Predictor(engine.unet, too_large=too_large)
    engine.join("a", num_images=4, num_inference_steps=5)
    with Calls(engine.unet.unet, lambda _, sample: len(sample) > 4):
        engine.loop.tick()
        engine.loop.tick()
        now = BELIEVE_S
        engine.loop.tick()
    now = 2 * BELIEVE_S
    engine.finish()
    assert engine.unet.rows == [8, 4, 4, 4, 4, 8, 4, 4, 8, 8]


def test_memory_of_what_nobody_needs_goes_first(engine: LocalEngine) -> None:
    controlnet(engine)
    assert engine.loop._arrivals.loaded_controls() == ("openpose",)
    engine.join("a", num_images=4, num_inference_steps=2)
    with Calls(engine.unet.unet, lambda count, _: count == 1):
        engine.finish()
    assert engine.loop._arrivals.loaded_controls() == ()
    assert engine.unet.rows[1:] == [8, 8, 8], "after that the call was tried again as it was"


@pytest.mark.parametrize("failures", [1, 2])
def test_controlnet_that_does_not_fit_is_loaded_once_more(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    tries = 0

    def load_file(path: Path) -> Any:
        nonlocal tries
        tries += 1
        if tries <= failures:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return safetensors.torch.load_file(path)

    monkeypatch.setattr(controls, "load_file", load_file)
    engine.send("a", controls=POSE, num_inference_steps=2)
    engine.finish()
    last = engine.last("a")
    if failures == 1:
        assert last.kind == "done"
    else:
        assert last.fields["error"] == "EngineOutOfMemoryError"
    assert tries == 2
