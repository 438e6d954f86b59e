"""Between pictures and latents: reading, resizing, the VAE both ways, and what is no picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from engine.errors import BrokenPictureError, InvalidRequestError
from engine.worker.models import Model

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
    """Returns the VAE's distribution of latents (1, C, H/8, W/8), not scaled yet."""
    pixels = 2.0 * to_unit_range(picture) - 1.0
    return model.vae.encode(pixels.to(model.device, model.dtype)).latent_dist


def to_unit_range(picture: Image.Image) -> Any:
    """Returns the picture's values (1, 3, H, W) in [0, 1], float32 on the CPU."""
    values = np.array(picture).astype(np.float32) / 255.0
    return torch.from_numpy(values.transpose(2, 0, 1)[None])


def decode(model: Model, latents: Any) -> Any:
    """Decode latents (1, C, H/8, W/8) to pixels (1, 3, H, W) in [-1, 1], clamped only by `to_image`.

    A half-precision decoder that overflows is run again in float32.

    Raises:
        BrokenPictureError: The latents or the pixels are not finite.
    """
    if not torch.isfinite(latents).all():
        raise BrokenPictureError("The model gave numbers that are no picture. Try another seed.")
    latents = latents / model.scaling_factor
    pixels = model.vae.decode(latents.to(model.dtype), return_dict=False)[0]
    if model.dtype != torch.float32 and not torch.isfinite(pixels).all():
        pixels = _decode_in_float32(model, latents)
    if not torch.isfinite(pixels).all():
        raise BrokenPictureError("The decoder gave numbers that are no picture. Try another seed.")
    return pixels


def _decode_in_float32(model: Model, latents: Any) -> Any:
    model.vae.to(torch.float32)
    try:
        return model.vae.decode(latents.float(), return_dict=False)[0]
    finally:
        model.vae.to(model.dtype)


def to_image(pixels: Any) -> Image.Image:
    """Returns the picture of pixels (1, 3, H, W) in [-1, 1].

    Raises:
        BrokenPictureError: It is one flat colour.
    """
    levels = to_levels(pixels[0].permute(1, 2, 0))
    if levels.std(axis=(0, 1)).max() < MIN_DEVIATION:
        raise BrokenPictureError(
            "The model gave one flat colour instead of a picture. Try another seed."
        )
    return Image.fromarray(levels)


def to_levels(pixels: Any) -> Any:
    """Returns pixels (H, W, 3) in [-1, 1] as a numpy array of grey levels, uint8."""
    values = (pixels * 0.5 + 0.5).clamp(0, 1).cpu().float().numpy()
    return (values * 255).round().astype("uint8")
