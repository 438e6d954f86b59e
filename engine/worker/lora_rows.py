"""LoRAs on single rows of a batch: forward hooks add each row's own low-rank term to shared weights.

Two ways of the same sum. `seg` multiplies the rows of each combination by its matrices; `bmm` pads all
rows to one rank, so that shapes do not depend on who is in the batch (for CUDA graphs).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch.nn.functional import conv2d, linear

from engine.worker.lora_file import Adapter, Pair

Way = Literal["seg", "bmm"]
RANK_STEP = 8  # `bmm` pads ranks to multiples of this


@dataclass(frozen=True, slots=True)
class Folded:
    """All of a combination's pairs of one module as one: ranks one after the other.

    Attributes:
        down: (rank, in) or (rank, in, kh, kw).
        up: (out, rank) or (out, rank, 1, 1), times weight and alpha / rank.
    """

    down: Any
    up: Any


@dataclass(frozen=True, eq=False)
class Combination:
    """The LoRAs of one job with their weights; rows of jobs that share one are multiplied together.

    Attributes:
        key: sha256 and weight of each.
        unet: Folded pairs by module.
        text: The same of the text encoder.
        text_key: Those parts of `key` that change the text encoder.
    """

    key: tuple[tuple[str, float], ...]
    unet: Mapping[str, Folded]
    text: Mapping[str, Folded]
    text_key: tuple[tuple[str, float], ...]


def combine(adapters: Sequence[tuple[Adapter, float]]) -> Combination | None:
    """Returns the combination of LoRAs with their weights; None when nothing is left of it."""
    used = [(adapter, weight) for adapter, weight in adapters if weight != 0]
    if not used:
        return None
    return Combination(
        tuple((adapter.sha256, weight) for adapter, weight in used),
        _fold([(adapter.unet, weight) for adapter, weight in used]),
        _fold([(adapter.text, weight) for adapter, weight in used]),
        tuple((adapter.sha256, weight) for adapter, weight in used if adapter.text),
    )


def _fold(adapters: Sequence[tuple[Mapping[str, Pair], float]]) -> dict[str, Folded]:
    folded: dict[str, Folded] = {}
    for module in dict.fromkeys(name for pairs, _ in adapters for name in pairs):
        own = [(pairs[module], weight) for pairs, weight in adapters if module in pairs]
        folded[module] = Folded(
            torch.cat([pair.down for pair, _ in own]),
            torch.cat([pair.up * (pair.scale * weight) for pair, weight in own], dim=1),
        )
    return folded


Hooks = Sequence[tuple[Any, Any]]
"""Modules and what to do after their forward."""


def plan(model: Any, rows: Sequence[Mapping[str, Folded] | None], way: Way = "seg") -> Hooks:
    """Returns the hooks that add each row's LoRAs to the model's layers; none without any LoRA.

    Args:
        model: The U-Net or text encoder.
        rows: Of each row the folded pairs by module, or None.
        way: "seg" or "bmm", see above.
    """
    hooks: list[tuple[Any, Any]] = []
    for name in dict.fromkeys(name for row in rows if row for name in row):
        own = [row.get(name) if row else None for row in rows]
        if way == "seg":
            hook: Any = partial(_add_segments, _segments(own))
        else:
            hook = partial(_add_padded, _padded(own))
        hooks.append((model.get_submodule(name), hook))
    return hooks


@contextlib.contextmanager
def applied(hooks: Hooks) -> Iterator[None]:
    """Lets the hooks of `plan` act on the model's calls inside of the block.

    The calls must have the plan's rows as the first dimension of every layer's input. A row without
    LoRA keeps its bits.
    """
    handles = []
    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _segments(rows: Sequence[Folded | None]) -> list[tuple[Folded, Any]]:
    """Returns each folded pair with the places of its rows, (places,); None when it has all rows."""
    places: dict[int, tuple[Folded, list[int]]] = {}
    for place, folded in enumerate(rows):
        if folded is not None:
            places.setdefault(id(folded), (folded, []))[1].append(place)
    return [
        (folded, None if len(own) == len(rows) else torch.tensor(own).to(folded.up.device))
        for folded, own in places.values()
    ]


def _add_segments(
    segments: list[tuple[Folded, Any]], module: Any, args: tuple[Any, ...], output: Any
) -> Any:
    rows = args[0]
    for folded, index in segments:
        if index is None:
            return output + _low_rank(module, folded, rows)
        output.index_add_(0, index, _low_rank(module, folded, rows[index]))
    return output


def _low_rank(module: Any, folded: Folded, rows: Any) -> Any:
    """Returns up(down(rows)) with the module's own stride and padding."""
    if folded.down.ndim == 2:
        return linear(linear(rows, folded.down), folded.up)
    narrow = conv2d(rows, folded.down, None, module.stride, module.padding, module.dilation)
    return conv2d(narrow, folded.up)


def _padded(rows: Sequence[Folded | None]) -> tuple[Any, Any]:
    """Returns all rows' matrices with zeros up to one rank, (rows, rank, ...) and (rows, out, rank)."""
    some = next(folded for folded in rows if folded is not None)
    widest = max(folded.down.shape[0] for folded in rows if folded is not None)
    rank = -(-widest // RANK_STEP) * RANK_STEP
    down = some.down.new_zeros(len(rows), rank, *some.down.shape[1:])
    up = some.up.new_zeros(len(rows), some.up.shape[0], rank)
    for place, folded in enumerate(rows):
        if folded is not None:
            own = folded.down.shape[0]
            down[place, :own] = folded.down
            up[place, :, :own] = folded.up.flatten(1)
    return down, up


def _add_padded(matrices: tuple[Any, Any], module: Any, args: tuple[Any, ...], output: Any) -> Any:
    down, up = matrices
    rows = args[0]
    if down.ndim == 3:
        wide = rows if rows.ndim == 3 else rows[:, None]
        low = torch.bmm(torch.bmm(wide, down.mT), up.mT)
        return output + low.view_as(output)
    # A convolution with weights of its own for each row is one with a group for each row.
    count, rank = down.shape[:2]
    narrow = conv2d(
        rows.reshape(1, -1, *rows.shape[2:]),
        down.flatten(0, 1),
        None,
        module.stride,
        module.padding,
        module.dilation,
        groups=count,
    )
    low = torch.bmm(up, narrow.reshape(count, rank, -1))
    return output + low.view_as(output)
