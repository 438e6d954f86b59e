"""The engine's pictures are the stock pipelines' pictures: to the bit alone, closely in a crowd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.types import Sampler, SecondPass
from engine.worker import pixels
from tests.engine.worker.local import LocalEngine, Stock

# diffusers makes numpy arrays from tensors in a way that numpy 2 will stop supporting.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLERS = list(Sampler)


def a_picture(side: int = 64) -> Image.Image:
    """Returns a colourful gradient with a bright square."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    values = np.stack([x, y, 1 - x * y], axis=-1)
    values[side // 4 : side // 2, side // 4 : side // 2] = (1, 1, 0)
    return Image.fromarray((values * 255).astype("uint8"))


def final_latents(job) -> torch.Tensor:
    return torch.cat([picture.latents for picture in job.pictures])


def assert_same(engine: LocalEngine, stock: Stock, name: str, image=None, **changes) -> None:
    job = engine.join(name, image, **changes)
    engine.finish()
    expected = stock.latents(job.request, image)
    assert torch.equal(final_latents(job), expected), name


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance", [1.0, 6.5])
def test_text_to_image_alone_equals_stock_bitwise(
    sd15: LocalEngine, stock_sd15: Stock, sampler: Sampler, guidance: float
) -> None:
    for count in (1, 3):
        name = f"t2i-{sampler}-{guidance}-{count}"
        assert_same(
            sd15, stock_sd15, name, sampler=sampler, guidance_scale=guidance, num_images=count,
            negative_prompt="blurry",
        )  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance", [1.0, 6.5])
def test_image_to_image_alone_equals_stock_bitwise(
    sd15: LocalEngine, stock_sd15: Stock, sampler: Sampler, guidance: float
) -> None:
    for count in (1, 3):
        name = f"i2i-{sampler}-{guidance}-{count}"
        assert_same(
            sd15, stock_sd15, name, a_picture(), sampler=sampler, guidance_scale=guidance,
            num_images=count, strength=0.6,
        )  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_v_prediction_alone_equals_stock_bitwise(
    sd2: LocalEngine, stock_sd2: Stock, sampler: Sampler
) -> None:
    assert_same(sd2, stock_sd2, f"v-t2i-{sampler}", sampler=sampler, num_images=2)
    assert_same(
        sd2, stock_sd2, f"v-i2i-{sampler}", a_picture(), sampler=sampler, num_images=2, strength=0.8
    )


@pytest.mark.parametrize("sampler", [Sampler.EULER_A, Sampler.DPMPP_2M_KARRAS])
def test_pictures_equal_the_stock_pictures(
    sd15: LocalEngine, stock_sd15: Stock, sampler: Sampler
) -> None:
    first = sd15.join(f"png-{sampler}", sampler=sampler, num_images=2)
    second = sd15.join(f"png2-{sampler}", a_picture(), sampler=sampler, strength=0.5)
    sd15.finish()  # both in one batch
    for job, image in ((first, None), (second, a_picture())):
        for ours, theirs in zip(
            sd15.pictures(job.job_id), stock_sd15.images(job.request, image), strict=True
        ):
            difference = np.abs(np.asarray(ours, dtype=int) - np.asarray(theirs, dtype=int))
            assert difference.max() <= 1


def test_second_pass_equals_two_stock_calls(sd15: LocalEngine, stock_sd15: Stock) -> None:
    second = SecondPass(scale=1.5, strength=0.5)
    job = sd15.join("second", second_pass=second, sampler=Sampler.EULER_A, num_inference_steps=6)
    sd15.finish()
    (picture,) = stock_sd15.images(job.request)
    larger = picture.resize((96, 96), Image.Resampling.LANCZOS)
    (expected,) = stock_sd15.images(job.request, larger, strength=0.5)
    (ours,) = sd15.pictures("second")
    assert ours.size == (96, 96)
    assert np.array_equal(np.asarray(ours), np.asarray(expected))
    (progress,) = [
        frame.fields
        for frame in sd15.frames
        if frame.kind == "progress" and frame.fields["job_id"] == "second"
    ][-1:]
    assert progress["step"] == progress["total"] == 6 + 3


def test_strength_below_one_step_is_the_picture_through_the_vae(sd15: LocalEngine) -> None:
    picture = a_picture()
    job = sd15.join("still", picture, strength=0.1, num_inference_steps=5)
    sd15.finish()
    expected = pixels.encode(sd15.model, picture).mode() * sd15.model.scaling_factor
    assert torch.equal(final_latents(job), expected)
    assert sd15.last("still").kind == "done"


def test_mixed_batch_of_joining_jobs_stays_close_to_stock(
    tiny_sd15: Path, stock_sd15: Stock
) -> None:
    engine = LocalEngine(tiny_sd15, row_limit=12)
    random = np.random.default_rng(0)
    jobs = []
    for number in range(24):
        strength = float(random.choice([0.4, 0.75, 1.0]))
        image = a_picture() if random.random() < 0.4 else None
        jobs.append(
            engine.join(
                f"mixed{number}",
                image,
                prompt=str(random.choice(["a red cat", "cat", "a long dark corridor, " * 3])),
                negative_prompt=str(random.choice(["", "blurry"])),
                seed=int(random.integers(2**32)),
                sampler=SAMPLERS[number % len(SAMPLERS)],
                guidance_scale=float(random.choice([1.0, 3.0, 7.5])),
                num_inference_steps=int(random.integers(3, 9)),
                num_images=int(random.integers(1, 4)),
                width=int(random.choice([64, 64, 96])) if image is None else 64,
                strength=None if image is None else strength,
            )
        )
        for _ in range(random.integers(0, 3)):
            engine.loop.tick()
    engine.finish()
    calls = {call.rows for job in jobs for p in job.pictures for call in p.receipt.calls}
    assert max(calls) > 8, "jobs shared calls"
    for job in jobs:
        image = a_picture() if job.request.init_image else None
        expected = stock_sd15.latents(job.request, image)
        for run, latents in zip(job.pictures, expected, strict=True):
            ours = pixels.decode(engine.model, run.latents)
            theirs = pixels.decode(engine.model, latents[None])
            assert (ours - theirs).abs().max() <= 5e-4, job.request


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_gpu_stays_close_to_the_cpu(sd15: LocalEngine, tiny_sd15: Path, sampler: Sampler) -> None:
    gpu = LocalEngine(tiny_sd15, device="cuda", dtype="float32")
    runs = [engine.join(f"gpu-{sampler}", sampler=sampler, num_images=2) for engine in (sd15, gpu)]
    sd15.finish()
    gpu.finish()
    ours, theirs = (final_latents(run).cpu() for run in runs)
    assert (ours - theirs).abs().max() <= 5e-3
