"""Inpainting with a 4-channel U-Net: after each step, what the mask keeps is put back at that noise level.

At the end its pixels are put back, too, as the VAE changes them a little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from engine.worker import pixels
from engine.worker.models import Model


@dataclass(frozen=True, slots=True)
class Repaint:
    """What is kept of the picture that an inpainting run starts from.

    Attributes:
        mask: (1, 1, h, w): 1 where the picture is made anew, 0 where it is kept.
        clean: The picture's latents, (1, C, h, w).
        noise: The run's initial noise, (1, C, h, w).
    """

    mask: Any
    clean: Any
    noise: Any

    def blend(self, kept: Any, latents: Any) -> Any:
        """Returns the latents with `kept` in the place of what the mask keeps."""
        return (1 - self.mask) * kept + self.mask * latents


def latent_mask(model: Model, mask: Image.Image, size: tuple[int, int]) -> Any:
    """Returns the mask of a picture of `size` for its latents, (1, 1, h, w); white is made anew."""
    grey = np.array(pixels.resize(mask, size).convert("L")).astype(np.float32) / 255.0
    binary = torch.from_numpy((grey >= 0.5).astype(np.float32))[None, None]  # (1, 1, H, W)
    shape = [side // model.vae_scale_factor for side in reversed(size)]
    return torch.nn.functional.interpolate(binary, size=shape).to(model.device, model.dtype)


def paste_kept(made: Image.Image, source: Image.Image, mask: Image.Image) -> Image.Image:
    """Returns the finished picture with what the mask keeps as it was before the VAE.

    Black keeps the source's very pixels, grey mixes the two, so a soft border shows no seam.
    """
    source, mask = pixels.resize(source, made.size), pixels.resize(mask, made.size)
    return Image.composite(made, source, mask.convert("L"))
