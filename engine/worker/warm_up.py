"""One U-Net call of each shape that is common: what there is to compile before the engine is ready."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from engine.worker import compiled
from engine.worker.buckets import Bucketed, Eager
from engine.worker.denoise import Predictor, Rows
from engine.worker.lora_rows import Combination, Folded
from engine.worker.lora_slots import LEAST_RANK
from engine.worker.models import Model

_CHUNKS = (1, 2)  # of a text: prompts of more are rare


def calls(model: Model, buckets: Sequence[int]) -> list[Callable[[], Any]]:
    """Returns calls of the native size, for each number of rows, length of texts, with and without LoRAs."""
    return [
        partial(call, model, rows, chunks, has_loras=has_loras)
        for rows in buckets
        for chunks in _CHUNKS
        for has_loras in (False, True)
    ]


def call(model: Model, rows: int, chunks: int, *, has_loras: bool) -> Any:
    """Returns the U-Net's output for random rows, called as the loop does it."""
    random = torch.Generator().manual_seed(rows)

    def noise(*shape: int) -> Any:
        return torch.randn(shape, generator=random).to(model.device, model.dtype)

    side = model.card.native_size // model.vae_scale_factor
    blank = model.conditioner.zeros()
    _, tokens, width = blank.embeds.shape
    blank = dataclasses.replace(blank, embeds=noise(1, chunks * tokens, width))
    condition = model.conditioner.condition(blank, (model.card.native_size,) * 2)
    output, _ = Predictor(model.unet, caller=Bucketed((rows,), Eager())).predict(
        Rows(
            sample=noise(rows, model.latent_channels, side, side),
            timesteps=torch.full((rows,), 500.0, device=model.device),
            conditions=[condition] * rows,
            controls=[()] * rows,
            adapters=[_zeros(model.unet) if has_loras else None] * rows,
        )
    )
    return output


def _zeros(unet: Any) -> Combination:
    """Returns a LoRA of all layers that have slots in every call."""
    folded = {}
    for name in compiled.slotted_layers(unet):
        weight = unet.get_submodule(name).weight  # (out, in)
        folded[name] = Folded(
            weight.new_zeros(LEAST_RANK, weight.shape[1]),
            weight.new_zeros(weight.shape[0], LEAST_RANK),
        )
    return Combination((("", 1.0),), folded, {}, {}, ())
