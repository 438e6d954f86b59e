"""The engine's pictures are the stock pipelines' pictures: to the bit alone, closely in a crowd."""

from __future__ import annotations

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
