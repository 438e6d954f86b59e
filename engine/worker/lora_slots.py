"""LoRAs on single rows, in matrices that stay where they are, for CUDA graphs and compiled blocks.

The sum is that of `lora_rows`' `bmm`. Hooks are installed once for each layer that any LoRA has changed
so far, so that a recorded call with LoRAs is the same whoever's LoRAs they are. The hook is a plain
function and the matrices are an attribute of the layer: what was compiled of one block then serves all
blocks of its shape.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from engine.worker import compiled
from engine.worker.lora_rows import Combination, add_padded

LEAST_RANK = 32  # most LoRAs have this or less
_ATTRIBUTE = "lora_slots"  # of a layer with a hook: its downs and ups in this call, or None


class SlotSet:
    """One matrix pair a row for each layer.

    Attributes:
        matrices: By layer the downs (rows, rank, in, ...) and the ups (rows, out, rank).
    """

    def __init__(self, layers: Mapping[str, tuple[Any, Any]], rows: int, rank: int) -> None:
        """Allocates zeros; `layers` are pairs of rank 0."""
        self.matrices = {
            name: (
                down.new_zeros(rows, rank, *down.shape[1:]),
                up.new_zeros(rows, up.shape[0], rank),
            )
            for name, (down, up) in layers.items()
        }
        # Weak references: what was evicted is not kept alive.
        self._held: list[Any] | None = [None] * rows
        self._rows = rows

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices."""
        return sum(own.nbytes for pair in self.matrices.values() for own in pair)

    def fill(self, rows: Sequence[Combination | None]) -> None:
        """Puts the rows' LoRAs into their slots; the slots that are left get none."""
        held = [None if row is None else weakref.ref(row) for row in rows]
        held += [None] * (self._rows - len(held))
        if held == self._held:
            return
        self._held = None  # until all is in place
        for name, (down, up) in self.matrices.items():
            folded = [None if row is None else row.unet.get(name) for row in rows]
            folded += [None] * (self._rows - len(folded))
            zero = down.new_zeros(())
            torch.stack(
                [
                    zero.expand(down.shape[1:]) if own is None else _padded(own.down, down.shape[1])
                    for own in folded
                ],
                out=down,
            )
            torch.stack(
                [
                    zero.expand(up.shape[1:])
                    if own is None
                    else _padded(own.up.flatten(1).T, up.shape[2]).T
                    for own in folded
                ],
                out=up,
            )
        self._held = held


class Slots:
    """The slots of one U-Net by number of rows and rank."""

    def __init__(self, model: Any) -> None:
        """Keeps the U-Net; its layers get hooks when the first LoRA for them comes.

        Those of compiled blocks have them from the start, and the Linear ones of compiled transformer
        blocks also slots in every call with LoRAs: with others the block would be one that was not
        compiled.
        """
        self._model = model
        self._hooked: dict[str, Any] = {}  # by name
        self._layers: dict[str, tuple[Any, Any]] = {}  # of rank 0: they tell shapes alone
        self._hook(compiled.hooked_layers(model))
        for name in compiled.slotted_layers(model):
            weight = self._hooked[name].weight  # (out, in)
            ups = weight.new_empty(weight.shape[0], 0)
            self._layers[name] = weight.new_empty(0, weight.shape[1]), ups
        self._ranks: WeakKeyDictionary[Combination, int] = WeakKeyDictionary()
        self._sets: dict[tuple[int, int], SlotSet] = {}
        self._active: SlotSet | None = None

    @contextlib.contextmanager
    def holding(
        self, rows: Sequence[Combination | None], rows_of_call: int, rank: int
    ) -> Iterator[SlotSet | None]:
        """Lets the rows' LoRAs act on the calls inside of the block.

        Args:
            rows: Of each row its LoRAs, or None.
            rows_of_call: As many as the call has, dead ones included.
            rank: What all are padded to, `rank_of` or more.

        Yields:
            What the call reads, for a `Caller`; None without any LoRA.
        """
        if not rank:
            yield None
            return
        if (rows_of_call, rank) not in self._sets:
            self._sets[rows_of_call, rank] = SlotSet(self._layers, rows_of_call, rank)
        own = self._sets[rows_of_call, rank]
        own.fill(rows)
        self._active = own
        self._place(own.matrices)
        try:
            yield own
        finally:
            self._active = None
            self._place({})

    def rank_of(self, rows: Sequence[Combination | None]) -> int:
        """Returns the rank that the rows' LoRAs are padded to; 0 without any."""
        used = [row for row in rows if row is not None and row.unet]
        return max((self._know(row) for row in used), default=0)

    def forget(self) -> int:
        """Lets go of all slots; the hooks stay."""
        held = sum(own.nbytes for own in self._sets.values())
        self._sets.clear()
        return held

    def _know(self, row: Combination) -> int:
        """Returns the rank of slots that hold the LoRAs, after its layers have got their hooks."""
        if row not in self._ranks:
            new = {name: own for name, own in row.unet.items() if name not in self._layers}
            shapes = {
                name: (
                    own.down.new_empty(0, *own.down.shape[1:]),
                    own.up.new_empty(own.up.shape[0], 0),
                )
                for name, own in new.items()
            }
            self._hook(new)
            if new:
                self._layers |= shapes
                self._sets.clear()
            widest = max(own.down.shape[0] for own in row.unet.values())
            self._ranks[row] = max(LEAST_RANK, 1 << (widest - 1).bit_length())
        return self._ranks[row]

    def _hook(self, names: Iterable[str]) -> None:
        """Lets layers read their slots; a layer has one hook, whoever's rows its model runs."""
        for name in names:
            layer = self._hooked[name] = self._model.get_submodule(name)
            if _ATTRIBUTE not in vars(layer):
                vars(layer)[_ATTRIBUTE] = None
                layer.register_forward_hook(_add)

    def _place(self, matrices: Mapping[str, tuple[Any, Any]]) -> None:
        for name, layer in self._hooked.items():
            vars(layer)[_ATTRIBUTE] = matrices.get(name)  # past Module's own, slower way


def _add(layer: Any, args: tuple[Any, ...], output: Any) -> Any:
    """A forward hook; None leaves the output as it is."""
    matrices = layer.lora_slots
    return None if matrices is None else add_padded(matrices, layer, args, output)


def _padded(matrix: Any, rank: int) -> Any:
    """Returns the matrix (r, ...) with zeros up to (rank, ...)."""
    missing = rank - matrix.shape[0]
    if not missing:
        return matrix
    return torch.nn.functional.pad(matrix, [0, 0] * (matrix.ndim - 1) + [0, missing])
