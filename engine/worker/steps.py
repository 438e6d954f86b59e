"""What happens to the pictures of one U-Net call before and after it: the samplers' part of a step.

Pictures with a table (see `engine.worker.tables`) are stepped all at once, whatever their samplers,
in float32; the others one by one, each by its own scheduler, in the stock pipeline's own arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from engine.worker.tables import HISTORY, Step
from engine.worker.transfer import sent

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
    """Takes one step of every picture: its latents become those of the next noise level.

    All or nothing: when it fails, everything is as before, samplers and random numbers too, and the
    step can be taken again.
    """
    before = [_Before(p) for p in batch]
    try:
        states = _next_states(batch, outputs)
        states = {
            p: (p.repainted(latents, p.step + 1), past) for p, (latents, past) in states.items()
        }
    except BaseException:
        for one in before:
            one.restore()
        raise
    for p, (latents, past) in states.items():
        p.latents, p.history = latents, past
        p.step += 1


def _next_states(
    batch: Sequence[PictureRun], outputs: dict[PictureRun, Any]
) -> dict[PictureRun, tuple[Any, Any]]:
    """Returns of each picture the next latents, and what its sampler keeps of the past."""
    states: dict[PictureRun, tuple[Any, Any]] = {}
    for p in batch:
        if p.table is None:
            latents = p.scheduler.step(
                outputs[p], p.timestep, p.latents, return_dict=False, **p.step_options
            )[0]
            states[p] = latents, None
    tabled = _tabled(batch)
    if tabled:
        latents = torch.cat([p.latents for p, _ in tabled])
        history = torch.stack([_history(p) for p, _ in tabled])
        output = torch.cat([outputs[p] for p, _ in tabled])
        noise = _on(latents, torch.cat([_noise(p, step) for p, step in tabled]))
        updates = _on(latents, torch.stack([step.update for _, step in tabled]))
        parts = [latents[:, None], history, output[:, None], noise[:, None]]
        inputs = torch.cat(parts, dim=1).flatten(2)
        if len(tabled) == 1:
            # A product of one is split among threads in another way than one of several, and ends in
            # other last bits: a picture's would depend on whether it is alone.
            updates, inputs = updates.repeat(2, 1, 1), inputs.repeat(2, 1, 1)
        # (pictures, STATE, INPUTS) @ (pictures, INPUTS, C * h * w): everybody's sampler in one product.
        state = torch.bmm(updates, inputs)[: len(tabled)]
        for (p, _), own in zip(tabled, state.unflatten(2, latents.shape[1:]), strict=True):
            states[p] = own[:1], own[1:]
    return states


class _Before:
    """What a step changes of a picture while it is calculated."""

    def __init__(self, picture: PictureRun) -> None:
        self._picture = picture
        self._random = picture.generator.get_state()
        self._kept: dict[str, Any] = {}
        if picture.table is None:  # its own scheduler; lists are changed in place, tensors are not
            self._kept = {
                name: list(value) if isinstance(value, list) else value
                for name, value in vars(picture.scheduler).items()
            }

    def restore(self) -> None:
        self._picture.generator.set_state(self._random)
        if self._kept:
            own = vars(self._picture.scheduler)
            own.clear()
            own.update(self._kept)


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
    return sent(values, like.device)
