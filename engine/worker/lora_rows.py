"""LoRAs on single rows of a batch: forward hooks add each row's own low-rank term to shared weights.

Two ways of the same sum. `seg` multiplies the rows of each combination by its matrices; `bmm` pads all
rows to one rank and multiplies each row by its own, whoever is in the batch (as CUDA graphs need it).
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

Way = Literal["seg", "bmm", "auto"]
"""`auto` is `seg` where all rows of a call have the same LoRAs, else `bmm`."""
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
        text_2: The same of the second one; empty in models that have none.
        text_key: Those parts of `key` that change a text encoder.
    """

    key: tuple[tuple[str, float], ...]
    unet: Mapping[str, Folded]
    text: Mapping[str, Folded]
    text_2: Mapping[str, Folded]
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
        _fold([(adapter.text_2, weight) for adapter, weight in used]),
        tuple((a.sha256, weight) for a, weight in used if a.text or a.text_2),
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


def plan(
    model: Any, rows: Sequence[Mapping[str, Folded] | None], way: Way = "seg", rank: int = 0
) -> Hooks:
    """Returns the hooks that add each row's LoRAs to the model's layers; none without any LoRA.

    Args:
        model: The U-Net or text encoder.
        rows: Of each row the folded pairs by module, or None.
        way: "seg" or else "bmm", see above.
        rank: What `bmm` pads all layers to at least.
    """
    hooks: list[tuple[Any, Any]] = []
    for name in dict.fromkeys(name for row in rows if row for name in row):
        own = [row.get(name) if row else None for row in rows]
        if way == "seg":
            hook: Any = partial(_add_segments, _segments(own))
        else:
            hook = partial(add_padded, _padded(own, rank))
        hooks.append((model.get_submodule(name), hook))
    return hooks


def rank_of_call(rows: Sequence[Combination | None], way: Way) -> int:
    """Returns the rank that `bmm` pads a call's rows to; 0 where they are not padded.

    Measured on two CPU cores, 16 rows with 8 LoRAs: a call of a narrow SD 1.5 takes 1.9 times as long with
    `seg`, which has three small products for each LoRA and layer, and 1.3 times with `bmm`; of the
    pocket model 1.3 times with both. With one LoRA for all rows `seg` is ahead, having nothing to copy.
    """
    if way == "seg" or (way == "auto" and len(set(rows)) == 1):
        return 0
    return common_rank(rows)


def common_rank(rows: Sequence[Combination | None]) -> int:
    """Returns the rank that `bmm` pads all layers of a call to; 0 without any LoRA.

    One for all: a row's last bits depend on it, so a receipt has to tell it.
    """
    ranks = [own.down.shape[0] for row in rows if row for own in row.unet.values()]
    return -(-max(ranks, default=0) // RANK_STEP) * RANK_STEP


def groups(rows: Sequence[Combination | None]) -> list[tuple[int, ...]]:
    """Returns of each row how `seg` adds its LoRAs.

    That is (rows of the same combination, the row's place among them), () for a row without.
    """
    places: dict[Combination, list[int]] = {}
    for place, row in enumerate(rows):
        if row is not None and row.unet:
            places.setdefault(row, []).append(place)
    spots: list[tuple[int, ...]] = [()] * len(rows)
    for own in places.values():
        for number, place in enumerate(own):
            spots[place] = len(own), number
    return spots


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


def _padded(rows: Sequence[Folded | None], least: int) -> tuple[Any, Any]:
    """Returns all rows' matrices with zeros up to one rank, (rows, rank, ...) and (rows, out, rank)."""
    some = next(folded for folded in rows if folded is not None)
    widest = max(folded.down.shape[0] for folded in rows if folded is not None)
    rank = max(least, -(-widest // RANK_STEP) * RANK_STEP)
    # Each pair is padded once, then all are copied at once: a plan is made whenever a job comes or goes.
    pairs = {id(folded): folded for folded in rows if folded is not None}
    downs = {key: _widened(own.down, rank, 0) for key, own in pairs.items()}
    ups = {key: _widened(own.up.flatten(1), rank, 1) for key, own in pairs.items()}
    if None in rows:
        downs[id(None)] = some.down.new_zeros(rank, *some.down.shape[1:])
        ups[id(None)] = some.up.new_zeros(some.up.shape[0], rank)
    return (
        torch.stack([downs[id(folded)] for folded in rows]),
        torch.stack([ups[id(folded)] for folded in rows]),
    )


def _widened(matrix: Any, rank: int, dim: int) -> Any:
    """Returns the matrix with zeros up to `rank` in dimension `dim`."""
    missing = rank - matrix.shape[dim]
    if not missing:
        return matrix
    shape = [*matrix.shape]
    shape[dim] = missing
    return torch.cat([matrix, matrix.new_zeros(shape)], dim)


def add_padded(matrices: tuple[Any, Any], module: Any, args: tuple[Any, ...], output: Any) -> Any:
    """Returns a layer's output with each row's own term, a forward hook but for its first argument.

    Args:
        matrices: Downs (rows, rank, in, ...) and ups (rows, out, rank).
        module: The layer.
        args: Its arguments.
        output: What it returned.
    """
    down, up = matrices
    rows = args[0]
    if down.ndim == 3:
        if rows.ndim == 2:
            return torch.baddbmm(output[:, None], rows[:, None] @ down.mT, up.mT)[:, 0]
        return torch.baddbmm(output, torch.bmm(rows, down.mT), up.mT)
    count, rank = down.shape[:2]
    if down.shape[3:] == (1, 1) and output.shape[2:] == rows.shape[2:]:  # a Linear of each pixel
        low = torch.bmm(up, torch.bmm(down.flatten(2), rows.flatten(2)))
        return output + low.view_as(output)
    # A convolution with weights of its own for each row is one with a group for each row.
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
