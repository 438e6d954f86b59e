"""What happens to the pictures of one U-Net call before and after it: the samplers' part of a step.

Pictures with a table (see `engine.worker.tables`) are stepped all at once, whatever their samplers,
in float32; the others one by one, each by its own scheduler, in the stock pipeline's own arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from engine.worker.tables import HISTORY, Step

if TYPE_CHECKING:
    from engine.worker.jobs import PictureRun


def model_inputs(batch: Sequence[PictureRun], dtype: Any) -> dict[PictureRun, Any]:
    """Returns what each picture's rows of the U-Net's batch are, (1, C, h, w)."""
    inputs = {
        p: p.scheduler.scale_model_input(p.latents, p.timestep) for p in batch if p.table is None
    }
    tabled = _tabled(batch)
    if tabled:
        latents = torch.cat([p.latents for p, _ in tabled])  # (pictures, C, h, w)
        scales = torch.tensor([step.scale for _, step in tabled])
        scaled = (latents * _on(latents, scales[:, None, None, None])).to(dtype)
        inputs |= zip((p for p, _ in tabled), scaled.split(1), strict=True)
    return inputs


def guide(batch: Sequence[PictureRun], output: Any) -> dict[PictureRun, Any]:
    """Returns what the U-Net's rows mean for each picture, (1, C, h, w).

    Args:
        batch: The pictures of the call.
        output: (rows, C, h, w): the unconditional rows of the guided pictures, then everybody's
            conditional rows.
    """
    guided = [p for p in batch if p.job.is_guided]
    rows = output.split(1)
    unconditional = dict(zip(guided, rows, strict=False))
    conditional = dict(zip(batch, rows[len(guided) :], strict=True))
    outputs: dict[PictureRun, Any] = {}
    for p in batch:
        if p.table is None:
            outputs[p] = conditional[p]
            if p in unconditional:
                difference = conditional[p] - unconditional[p]
                outputs[p] = unconditional[p] + p.job.guidance_scale * difference
    tabled = [p for p in batch if p.table is not None]
    if tabled:
        scales = torch.tensor([p.job.guidance_scale for p in tabled])
        text = torch.cat([conditional[p] for p in tabled]).float()
        base = torch.cat([unconditional.get(p, conditional[p]) for p in tabled]).float()
        mixed = base + _on(base, scales[:, None, None, None]) * (text - base)
        outputs |= zip(tabled, mixed.split(1), strict=True)
    return outputs


def advance(batch: Sequence[PictureRun], outputs: dict[PictureRun, Any]) -> None:
    """Takes one step of every picture: its latents become those of the next noise level."""
    for p in batch:
        if p.table is None:
            p.latents = p.scheduler.step(
                outputs[p], p.timestep, p.latents, return_dict=False, **p.step_options
            )[0]
    tabled = _tabled(batch)
    if tabled:
        latents = torch.cat([p.latents for p, _ in tabled])
        history = torch.stack([_history(p) for p, _ in tabled])
        output = torch.cat([outputs[p] for p, _ in tabled])
        noise = _on(latents, torch.cat([_noise(p, step) for p, step in tabled]))
        updates = _on(latents, torch.stack([step.update for _, step in tabled]))
        inputs = [latents[:, None], history, output[:, None], noise[:, None]]
        # (pictures, STATE, INPUTS) @ (pictures, INPUTS, C * h * w): everybody's sampler in one product.
        state = torch.bmm(updates, torch.cat(inputs, dim=1).flatten(2))
        for (p, _), own in zip(tabled, state.unflatten(2, latents.shape[1:]), strict=True):
            p.latents, p.history = own[:1], own[1:]
    for p in batch:
        p.step += 1


def _tabled(batch: Sequence[PictureRun]) -> list[tuple[PictureRun, Step]]:
    return [(p, p.table.step(p.step)) for p in batch if p.table is not None]


def _history(picture: PictureRun) -> Any:
    """Returns what the sampler keeps of the picture's past, (HISTORY, C, h, w)."""
    if picture.history is None:
        return picture.latents.new_zeros(HISTORY, *picture.latents.shape[1:])
    return picture.history


def _noise(picture: PictureRun, step: Step) -> Any:
    """Draws the picture's noise of this step, float32 on the CPU; zeros where the sampler draws none."""
    if step.draws:
        return torch.randn(picture.latents.shape, generator=picture.generator)
    return torch.zeros(picture.latents.shape)


def _on(like: Any, values: Any) -> Any:
    """Returns float32 values from the CPU on the device of `like`, without waiting for it."""
    return values.to(like.device, non_blocking=True)
