"""Between pictures and latents: reading, resizing, the VAE both ways, and what is no picture."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from engine.errors import BrokenPictureError, InvalidRequestError
from engine.worker.models import Model
from engine.worker.transfer import Fetched

MIN_DEVIATION = 1.0  # grey levels; below it a picture is one flat colour


def decode_image(data: bytes) -> Image.Image:
    """Returns the RGB picture of PNG bytes that the intake made.

    Raises:
        InvalidRequestError: They are no PNG.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidRequestError(
            "The picture to start from cannot be read. Use a PNG, JPEG or WebP picture."
        ) from error


def resize(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Returns the picture at `size` (width, height); of another shape, its middle."""
    if picture.size == size:
        return picture
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


def encode(model: Model, picture: Image.Image) -> Any:
    """Returns the VAE's distribution of latents (1, C, H/8, W/8), not scaled yet.

    A half-precision encoder that overflows is run again in float32.

    Raises:
        BrokenPictureError: The latents are not finite.
    """
    values = (2.0 * to_unit_range(picture) - 1.0).to(model.device)
    dtype = model.vae.dtype
    posterior = model.vae.encode(values.to(dtype)).latent_dist
    if dtype != torch.float32 and not torch.isfinite(posterior.parameters).all():
        with _in_float32(model):
            exact = model.vae.encode(values).latent_dist
        posterior = type(exact)(exact.parameters.to(dtype))
    if not torch.isfinite(posterior.parameters).all():
        raise BrokenPictureError(
            "The encoder made numbers of the picture that are none. Use another picture."
        )
    return posterior


def to_unit_range(picture: Image.Image) -> Any:
    """Returns the picture's values (1, 3, H, W) in [0, 1], float32 on the CPU."""
    values = np.array(picture).astype(np.float32) / 255.0
    return torch.from_numpy(values.transpose(2, 0, 1)[None])


def decode(model: Model, latents: Any, *, is_exact: bool = False) -> Any:
    """Decode latents (1, C, H/8, W/8) to pixels (1, 3, H, W) around [-1, 1], whatever they are.

    With `is_exact` in float32: a half-precision decoder may overflow.
    """
    latents = latents / model.scaling_factor
    if is_exact and model.vae.dtype != torch.float32:
        with _in_float32(model):
            return model.vae.decode(latents.float(), return_dict=False)[0]
    return model.vae.decode(latents.to(model.vae.dtype), return_dict=False)[0]


@contextlib.contextmanager
def _in_float32(model: Model) -> Iterator[None]:
    """Lets the VAE calculate in float32; its half-precision weights come back to the bit."""
    dtype = model.vae.dtype
    try:
        model.vae.to(torch.float32)
        yield
    finally:
        model.vae.to(dtype)


class OverflowedError(Exception):
    """A half-precision decoder gave numbers that are none, of latents that are some."""


class Decoded:
    """A decoded picture on its way from the device."""

    def __init__(self, latents: Any, pixels: Any) -> None:
        """Queues what tells whether it is one, and the copies.

        Args:
            latents: (1, C, H/8, W/8), what was decoded.
            pixels: (1, 3, H, W), what that gave.
        """
        are_finite = [torch.isfinite(values).all() for values in (latents, pixels)]
        self._are_finite = Fetched(torch.stack(are_finite))
        self._levels = Fetched(to_levels(pixels[0].permute(1, 2, 0)))
        self._is_half = pixels.dtype != torch.float32

    def image(self) -> Image.Image:
        """Waits for the device and returns the picture.

        Raises:
            OverflowedError: It may be one in float32.
            BrokenPictureError: It is none, or one flat colour.
        """
        has_latents, has_pixels = self._are_finite.wait().tolist()
        if not has_latents:
            raise BrokenPictureError(
                "The model gave numbers that are no picture. Try another seed."
            )
        if not has_pixels and self._is_half:
            raise OverflowedError
        if not has_pixels:
            raise BrokenPictureError(
                "The decoder gave numbers that are no picture. Try another seed."
            )
        levels = self._levels.wait().numpy()
        if levels.std(axis=(0, 1)).max() < MIN_DEVIATION:
            raise BrokenPictureError(
                "The model gave one flat colour instead of a picture. Try another seed."
            )
        return Image.fromarray(levels)


def to_levels(pixels: Any) -> Any:
    """Returns pixels (H, W, 3) in [-1, 1], or beyond, as grey levels, uint8 on their device."""
    values = (pixels * 0.5 + 0.5).clamp(0, 1).float()
    return (values * 255).round().to(torch.uint8).contiguous()
