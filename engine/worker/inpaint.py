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
        levels: Of each step but the last the two factors (no dimension) that bring `clean` and `noise`
            to the noise level of the next.
    """

    mask: Any
    clean: Any
    noise: Any
    levels: tuple[tuple[Any, Any], ...]

    def blend(self, latents: Any, step: int) -> Any:
        """Returns the latents after step `step` (0-based) with what is kept put back."""
        kept = self.clean
        if step < len(self.levels):
            signal, noise = self.levels[step]
            kept = signal * self.clean + noise * self.noise
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


def noise_levels(scheduler: Any, timesteps: Any, dtype: Any) -> tuple[tuple[Any, Any], ...]:
    """Asks the scheduler, before its first step, for `Repaint.levels`.

    Adding noise is a sum of picture and noise, each times a number; most schedulers look the number
    up by the steps that they have taken, so that is set for each in turn.
    """
    one, zero = torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)
    counts_steps = hasattr(scheduler, "_step_index")
    begin = getattr(scheduler, "begin_index", None) or 0
    levels = []
    for number, timestep in enumerate(timesteps[1:], start=1):
        if counts_steps:
            scheduler._step_index = begin + number
        levels.append(
            (
                scheduler.add_noise(one, zero, timestep[None])[0],
                scheduler.add_noise(zero, one, timestep[None])[0],
            )
        )
    if counts_steps:
        scheduler._step_index = None
    return tuple(levels)
