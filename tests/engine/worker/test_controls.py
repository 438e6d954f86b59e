"""ControlNet rows: equal to the stock pipelines alone, close to them in a crowd, loaded beside the loop."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.errors import InvalidRequestError, ModelLoadError
from engine.model_card import control_sources
from engine.protocol import Frame
from engine.settings import EngineSettings
from engine.types import Control, Sampler, SecondPass
from engine.worker import pixels
from tests.engine.worker import tiny
from tests.engine.worker.local import LocalEngine, Stock
from tests.engine.worker.test_equality import a_picture, final_latents

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

POSE = Control("openpose", "", scale=0.8)
EDGES = Control("canny", "", scale=1.3, start=0.2, end=0.7)


def a_map(side: int = 64) -> Image.Image:
    """Returns white lines on black."""
    values = np.zeros((side, side, 3), "uint8")
    values[side // 3, :] = values[:, side // 2] = 255
    return Image.fromarray(values)


def assert_same(engine: LocalEngine, stock: Stock, name: str, controls, image=None, **changes):
    job = engine.join(name, image, controls=controls, **changes)
    engine.finish()
    expected = stock.latents(job.request, image, maps=[map_ for map_, _ in controls])
    assert torch.equal(final_latents(job), expected), name


@pytest.mark.parametrize("sampler", list(Sampler))
def test_one_control_alone_equals_stock_bitwise(
    sd15: LocalEngine, stock_sd15: Stock, sampler: Sampler
) -> None:
    shared = {"sampler": sampler, "negative_prompt": "blurry"}
    for number, (control, guidance, image, count) in enumerate(
        [(POSE, 6.5, None, 2), (EDGES, 1.0, None, 1), (EDGES, 6.5, a_picture(), 2)]
    ):
        changes = {"strength": 0.6} if image is not None else {}
        assert_same(
            sd15, stock_sd15, f"c1-{sampler}-{number}", [(a_map(), control)], image,
            guidance_scale=guidance, num_images=count, **shared, **changes,
        )  # fmt: skip


def test_two_controls_with_windows_equal_stock_bitwise(
    sd15: LocalEngine, stock_sd15: Stock
) -> None:
    both = [(a_map(), POSE), (a_picture(), EDGES)]
    assert_same(sd15, stock_sd15, "c2", both, num_inference_steps=7)
    assert_same(sd15, stock_sd15, "c2i", both, a_picture(), strength=0.7, num_inference_steps=7)
    swapped = [(a_picture(), EDGES), (a_map(), POSE)]
    assert_same(sd15, stock_sd15, "c2s", swapped, guidance_scale=1.0)


def test_map_of_another_size_is_resized_as_stock_does(sd15: LocalEngine, stock_sd15: Stock) -> None:
    assert_same(sd15, stock_sd15, "resized", [(a_picture(100), POSE)])


def test_mixed_batch_stays_close_to_stock_and_counts_its_rows(
    tiny_sd15: Path, stock_sd15: Stock
) -> None:
    engine = LocalEngine(tiny_sd15)
    edges_late = Control("canny", "", scale=0.5, start=0.5)
    asked = [
        (),
        [(a_map(), POSE)],
        [(a_picture(), edges_late)],
        [(a_map(), EDGES), (a_picture(), POSE)],
        (),
        [(a_map(), Control("openpose", "", scale=2.0, end=0.4))],
    ]
    jobs = []
    for number, controls in enumerate(asked):
        changes = {
            "sampler": [Sampler.EULER_A, Sampler.DDIM, Sampler.UNIPC, Sampler.LCM][number % 4],
            "guidance_scale": [7.0, 1.0, 3.0][number % 3],
            "num_inference_steps": 4 + number,
            "num_images": 1 + number % 2,
        }
        jobs.append((engine.join(f"m{number}", controls=controls, **changes), controls))
        engine.loop.tick()
    engine.finish()
    for job, controls in jobs:
        expected = stock_sd15.latents(job.request, maps=[map_ for map_, _ in controls])
        for run, latents in zip(job.pictures, expected, strict=True):
            ours, theirs = (pixels.decode(engine.model, x) for x in (run.latents, latents[None]))
            assert (ours - theirs).abs().max() <= 5e-4, job.job_id
    job, _ = jobs[2]
    spots = [call.controls.get("canny") for call in job.pictures[0].receipt.calls]
    assert spots[:3] == [None] * 3, "its window begins after half of the steps"
    assert len(spots) == 6
    assert all(spot is not None and spot[0] > spot[1] >= 0 for spot in spots[3:])


def test_row_without_control_keeps_its_bits_beside_one_with(sd15: LocalEngine) -> None:
    def alone_beside(name: str, **other: object) -> torch.Tensor:
        job = sd15.join(f"{name}-plain")
        sd15.join(f"{name}-other", **other)  # the same number of rows in both
        sd15.finish()
        return final_latents(job)

    plain = alone_beside("a", seed=1)
    controlled = alone_beside("b", seed=1, controls=[(a_map(), POSE)])
    assert torch.equal(plain, controlled)


def test_out_of_memory_splits_the_control_rows_too(tiny_sd15: Path) -> None:
    engine, whole = LocalEngine(tiny_sd15), LocalEngine(tiny_sd15)
    engine.unet.fail = lambda sample, _: (
        torch.OutOfMemoryError("no room") if len(sample) > 3 else None
    )
    asked = [(), [(a_map(), POSE)], [(a_map(), POSE), (a_picture(), EDGES)]]
    jobs = [
        [e.join(f"o{k}", controls=c, seed=k, num_images=2) for e in (engine, whole)]
        for k, c in enumerate(asked)
    ]
    engine.finish()
    whole.finish()
    for ours, theirs in jobs:
        assert torch.allclose(final_latents(ours), final_latents(theirs), atol=1e-4)
    (run,) = engine.last("o1").fields["receipt"]["pictures"][0]["calls"]
    assert run[4]["openpose"][0] <= 3


def test_second_pass_is_guided_too(sd15: LocalEngine, stock_sd15: Stock) -> None:
    controls = [(a_map(), POSE)]
    second = SecondPass(scale=1.5, strength=0.5)
    job = sd15.join("hires", controls=controls, second_pass=second, num_inference_steps=4)
    sd15.finish()
    (picture,) = stock_sd15.images(job.request, maps=[a_map()])
    larger = picture.resize((96, 96), Image.Resampling.LANCZOS)
    (expected,) = stock_sd15.images(
        job.request, larger, maps=[a_map()], strength=0.5, width=96, height=96
    )
    (ours,) = sd15.pictures("hires")
    difference = np.abs(np.asarray(ours, dtype=int) - np.asarray(expected, dtype=int))
    assert difference.max() <= 1


def test_loading_a_control_never_stops_the_others(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15)
    engine.join("runs", num_inference_steps=3)
    engine.send("waits", controls=[(a_map(), POSE)])
    while engine.loop.jobs():  # "loaded" is in the inbox or on its way, and is not read
        engine.loop.tick()
    assert engine.loop.waiting_ids() == ["waits"]
    assert not engine.loop.is_idle
    engine.finish()
    assert engine.last("waits").kind == "done"


def test_waiting_job_can_be_cancelled(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15)
    engine.send("waits", controls=[(a_map(), POSE)])
    engine.loop.handle(Frame("cancel", {"job_id": "waits"}))
    engine.finish()
    assert engine.last("waits").fields["error"] == "GenerationCancelledError"
    assert [frame.kind for frame in engine.frames] == ["failed"]


def test_controls_leave_memory_when_nobody_needs_them(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15, controlnet_memory_mb=0)
    engine.join("a", controls=[(a_map(), POSE)], num_inference_steps=2)
    engine.loop.tick()
    engine.loop.handle(Frame("stats", {"call_id": 1}))
    assert list(engine.frames[-1].fields["value"]["controls"]) == ["openpose"]
    engine.finish()
    engine.loop.tick()
    engine.loop.handle(Frame("stats", {"call_id": 2}))
    assert list(engine.frames[-1].fields["value"]["controls"]) == []


def test_control_of_another_model_fails_its_job_alone(
    tiny_sd15: Path, tiny_sd2: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_sd15, folder)
    shutil.copytree(tiny.write_controlnet(tiny_sd2, "depth", seed=1), folder / "controlnets/depth")
    (folder / "controlnets/canny/diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    engine = LocalEngine(folder)
    engine.send("wrong", controls=[(a_map(), Control("depth", ""))])
    engine.send("broken", controls=[(a_map(), EDGES)])
    engine.join("fine", controls=[(a_map(), POSE)])
    engine.finish()
    assert "another model than model" in engine.last("wrong").fields["message"]
    assert "cannot be loaded" in engine.last("broken").fields["message"]
    for job_id in ("wrong", "broken"):  # of this class the asker is shown the sentence
        assert engine.last(job_id).fields["error"] == "InvalidRequestError"
        assert "Choose another control" in engine.last(job_id).fields["message"]
    assert engine.last("fine").kind == "done"


def test_unknown_control_is_refused_with_the_known_ones(sd15: LocalEngine) -> None:
    sd15.send("unknown", controls=[(a_map(), Control("scribble", ""))])
    assert "Choose one of: canny, openpose." in sd15.last("unknown").fields["message"]


@pytest.mark.parametrize(
    "fields", [{"scale": 2.1}, {"scale": -1}, {"start": 0.5, "end": 0.5}, {"end": 1.5}]
)
def test_controls_out_of_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidRequestError):
        Control("canny", "", **fields)


def test_kinds_come_from_the_setting(tiny_sd15: Path, tmp_path: Path) -> None:
    def sources(**values: str) -> dict[str, str]:
        return control_sources(EngineSettings(model=str(tiny_sd15), device="cpu", **values))

    assert list(sources()) == ["canny", "openpose"]
    assert sources(controlnets="depth=a/b, canny=~/x") == {"canny": "~/x", "depth": "a/b"}
    assert sources(controlnets=str(tmp_path)) == {}
    for wrong in (str(tmp_path / "nothing"), "=a/b", "a b=c"):
        with pytest.raises(ModelLoadError):
            sources(controlnets=wrong)
