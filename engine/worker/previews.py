"""Small pictures of what a job will become, made from latents without the VAE."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from engine.worker import pixels
from engine.worker.models import Model

MAX_SIDE = 256  # pixels of one tile
JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class LatentColours:
    """The linear map from a latent to the colour of its place, fitted to the model's own VAE.

    Attributes:
        matrix: (C + 1, 3) on the CPU; the last row is the constant.
    """

    matrix: Any

    def picture(self, latents: Any) -> Any:
        """Returns the colours of latents (1, C, h, w) on the CPU as (h, w, 3) in [-1, 1], float32."""
        colours = latents[0].float().permute(1, 2, 0) @ self.matrix[:-1] + self.matrix[-1]
        return torch.nan_to_num(colours)  # what went wrong is told when the picture is decoded


def fit_colours(model: Model) -> LatentColours:
    """Encodes one colourful picture and fits its colours to its latents by least squares."""
    side = min(16 * model.vae_scale_factor, model.card.native_size)
    generator = torch.Generator().manual_seed(0)
    blocks = torch.rand(1, 3, 8, 8, generator=generator) * 2 - 1
    waves = torch.rand(1, 3, 4, 4, generator=generator) * 2 - 1
    halves = [
        torch.nn.functional.interpolate(blocks, (side, side // 2), mode="nearest"),
        torch.nn.functional.interpolate(waves, (side, side // 2), mode="bilinear"),
    ]
    card = torch.cat(halves, dim=3)  # (1, 3, side, side)
    latents = model.vae.encode(card.to(model.device, model.vae.dtype)).latent_dist.mode()
    latents = (latents * model.scaling_factor).float().cpu()[0].flatten(1).T  # (h * w, C)
    inputs = torch.cat([latents, torch.ones(len(latents), 1)], dim=1)
    colours = torch.nn.functional.avg_pool2d(card, model.vae_scale_factor)[0].flatten(1).T
    ridge = 1e-3 * len(inputs) * torch.eye(inputs.shape[1])
    matrix = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ colours)
    return LatentColours(torch.nan_to_num(matrix))


def guess_denoised(scheduler: Any, timestep: Any, model_input: Any, output: Any) -> Any:
    """Returns what the U-Net now believes the finished latents are, (1, C, h, w).

    A scheduler's scaled model input has unit variance whatever the sampler, x_t = sqrt(a) x_0 +
    sqrt(1 - a) eps, so one formula serves all; Karras timesteps lie between two trained ones.
    """
    low = int(timestep)
    share = float(timestep) - low
    alphas = scheduler.alphas_cumprod
    a = torch.lerp(alphas[low], alphas[min(low + 1, len(alphas) - 1)], share).clamp(min=1e-4)
    match scheduler.config.prediction_type:
        case "v_prediction":
            return a**0.5 * model_input - (1 - a) ** 0.5 * output
        case "sample":
            return output
        case _:
            return (model_input - (1 - a) ** 0.5 * output) / a**0.5


def jpeg(colours: LatentColours, latents: list[Any], size: tuple[int, int]) -> bytes:
    """Returns one JPEG with a tile for each picture of a job; `size` is a picture's."""
    shrink = min(MAX_SIDE / max(size), 1.0)
    width, height = (max(round(side * shrink), 1) for side in size)
    columns = 1 if len(latents) == 1 else 2
    rows = -(-len(latents) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, latent in enumerate(latents):
        tile = Image.fromarray(pixels.to_levels(colours.picture(latent)).numpy())
        tile = tile.resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(tile, (index % columns * width, index // columns * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
