"""Inpainting rows: equal to the stock pipeline alone, close to it in a crowd, and the rest of the picture is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from engine.errors import InvalidRequestError
from engine.types import SecondPass
from engine.worker import pixels
from tests.engine.worker.local import STOCK_SCHEDULERS, LocalEngine, Stock
from tests.engine.worker.test_equality import a_picture, final_latents

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
)

SAMPLERS = list(STOCK_SCHEDULERS)


def a_mask(side: int = 64) -> Image.Image:
    """Returns white, made anew, on the right half and black, kept, on the left."""
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).rectangle((side // 2, 0, side, side), fill=255)
    return mask


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_inpainting_alone_equals_stock_bitwise(
    sd15: LocalEngine, stock_sd15: Stock, sampler: str
) -> None:
    for strength, guidance, count in ((0.7, 5.0, 2), (1.0, 1.0, 1)):
        name = f"in-{sampler}-{strength}"
        job = sd15.join(
            name, a_picture(), mask=a_mask(), sampler=sampler, strength=strength,
            guidance_scale=guidance, num_images=count,
        )  # fmt: skip
        sd15.finish()
        expected = stock_sd15.latents(job.request, a_picture(), mask=a_mask())
        assert torch.equal(final_latents(job), expected), name


def test_mixed_batch_stays_close_to_stock(tiny_sd15: Path, stock_sd15: Stock) -> None:
    engine = LocalEngine(tiny_sd15)
    jobs = []
    for number, sampler in enumerate(SAMPLERS):
        mask = a_mask(50 + 10 * number) if number % 2 else None
        job = engine.join(
            f"mix-{sampler}", a_picture(), mask=mask, sampler=sampler, strength=0.5 + number / 40,
            num_inference_steps=4 + number % 5, guidance_scale=number,
        )  # fmt: skip
        jobs.append((job, mask))
        engine.loop.tick()
    engine.finish()
    for job, mask in jobs:
        (expected,) = stock_sd15.latents(job.request, a_picture(), mask=mask)
        ours, theirs = (
            pixels.decode(engine.model, x) for x in (final_latents(job), expected[None])
        )
        assert (ours - theirs).abs().max() <= 5e-4, job.request


def test_what_the_mask_keeps_is_the_pictures_own_latents(sd15: LocalEngine) -> None:
    job = sd15.join("kept", a_picture(), mask=a_mask(), strength=0.9)
    (run,) = job.pictures
    assert run.repaint is not None
    sd15.finish()
    assert torch.equal(run.latents[..., :4], run.repaint.clean[..., :4])
    assert not torch.allclose(run.latents[..., 4:], run.repaint.clean[..., 4:], atol=0.1)


def test_what_the_mask_keeps_has_the_pictures_own_pixels_and_no_seam(sd15: LocalEngine) -> None:
    mask = Image.linear_gradient("L").rotate(90).resize((64, 64))  # black on the left, then grey
    sd15.join("pasted", a_picture(), mask=mask, strength=0.9)
    sd15.finish()
    (made,) = sd15.pictures("pasted")
    before = a_picture().resize((64, 64))
    changes = [
        max(
            abs(a - b)
            for a, b in zip(made.getpixel((x, 30)), before.getpixel((x, 30)), strict=True)
        )
        for x in range(64)
    ]
    assert max(changes[:2]) <= 3  # almost black
    assert max(changes[48:]) > 20


def test_second_pass_repaints_only_the_masked_part(sd15: LocalEngine) -> None:
    second = SecondPass(scale=1.5, strength=0.6)
    job = sd15.join("hires-in", a_picture(), mask=a_mask(), strength=0.9, second_pass=second)
    sd15.finish()
    (run,) = job.pictures
    assert run.is_second_pass
    assert run.repaint is not None
    assert torch.equal(run.latents[..., :6], run.repaint.clean[..., :6])


def test_mask_without_a_picture_is_refused(sd15: LocalEngine) -> None:
    with pytest.raises(InvalidRequestError, match="A mask goes with a picture"):
        sd15.request(mask_image="0" * 64)
