"""Calls whose shapes do not depend on who is in them: rows are padded to a bucket, in tensors that stay.

Two things need that. A CUDA graph replays kernels at the addresses and with the shapes that it was
recorded with. And a row's last bits depend on how many rows its call has: with few sizes of calls there
are few ways in which a picture can come out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch

KEPT_PLACES = 48  # of each network; a resolution has one for each bucket, with and without controls


@dataclass(eq=False)
class Place:
    """The tensors of one shape of call, filled anew for each.

    Attributes:
        inputs: The network's arguments; tensors in them keep their addresses.
        recording: What a runner keeps of the call.
        calls: How often the network was called so.
    """

    inputs: Mapping[str, Any]
    recording: Any = None
    calls: int = field(default=0)


Runner = Callable[[Any, Place], Any]
"""Calls a network (the first) with the inputs of a place and returns its output, a tuple of tensors."""


class Eager:
    """Calls the network as it is."""

    def __call__(self, net: Any, place: Place) -> Any:
        """Returns the network's output."""
        return net(**place.inputs, return_dict=False)


class Caller(Protocol):
    """How the U-Net and ControlNets are called."""

    def rows_of(self, rows: int) -> int:
        """Returns how many rows a call for so many rows has."""

    def __call__(self, net: Any, inputs: Mapping[str, Any], owner: Any = None) -> Any:
        """Returns the network's output for the rows.

        Args:
            net: A network of diffusers, called with keywords.
            inputs: Its arguments: tensors with the rows as their first dimension, mappings and tuples of
                such, or None.
            owner: What the call reads besides the network's own weights, such as LoRAs by hooks; None for
                nothing.
        """

    def forget(self) -> int:
        """Lets go of what is kept between calls and returns how many bytes that was."""


class Direct:
    """Calls with exactly their rows."""

    def rows_of(self, rows: int) -> int:
        """Returns the rows themselves."""
        return rows

    def __call__(self, net: Any, inputs: Mapping[str, Any], owner: Any = None) -> Any:
        """Returns the network's output."""
        return net(**inputs, return_dict=False)

    def forget(self) -> int:
        """Returns 0: nothing is kept."""
        return 0


class Placed:
    """Calls with one row at its place among dead ones: calls of the past, made again.

    The dead rows are zeros, as in a bucket. The networks never look from one row to another, so who was
    there once does not matter.
    """

    def __init__(self, caller: Caller, spots: Mapping[Any, tuple[int, int]]) -> None:
        """Takes how networks are called, and for each the number of rows and the row's place."""
        self._caller = caller
        self._spots = spots

    def rows_of(self, rows: int) -> int:
        """Returns the rows themselves: what is handed in is one row."""
        return rows

    def __call__(self, net: Any, inputs: Mapping[str, Any], owner: Any = None) -> Any:
        """Returns the network's output for the row."""
        rows, place = self._spots[net]
        # A number of rows that is no bucket here was one elsewhere, and is called as it is.
        caller = self._caller if self._caller.rows_of(rows) == rows else Direct()
        padded = _map(inputs, lambda part: _among_dead(part, rows, place))
        return _map(caller(net, padded, owner), lambda part: part[place : place + 1])

    def forget(self) -> int:
        """Returns 0: nothing is kept."""
        return 0


class Bucketed:
    """Calls padded with dead rows, out of one set of tensors for each shape of call.

    A dead row is zeros; nothing in these networks looks from one row to another, so it changes nothing
    but time.
    """

    def __init__(self, buckets: Sequence[int], run: Runner) -> None:
        """Keeps the numbers of rows that calls may have, in rising order, and what runs them."""
        self._buckets = buckets
        self._run = run
        # By network or owner: with it go its tensors, and a recording that reads its memory.
        self._places: WeakKeyDictionary[Any, OrderedDict[Any, Place]] = WeakKeyDictionary()

    def rows_of(self, rows: int) -> int:
        """Returns the smallest bucket that holds the rows; more than the largest are not padded."""
        return next((bucket for bucket in self._buckets if bucket >= rows), rows)

    def __call__(self, net: Any, inputs: Mapping[str, Any], owner: Any = None) -> Any:
        """Returns the network's output for the rows; the dead rows' is left out."""
        rows = len(inputs["sample"])
        bucket = self.rows_of(rows)
        places = self._places.setdefault(net if owner is None else owner, OrderedDict())
        shape = (bucket, *_shapes(inputs))
        place = places.get(shape)
        if place is None:
            place = places[shape] = Place(_map(inputs, lambda part: _empty(part, bucket)))
            if len(places) > KEPT_PLACES:
                places.popitem(last=False)
        places.move_to_end(shape)
        for buffer, part in zip(_tensors(place.inputs), _tensors(inputs), strict=True):
            buffer[:rows].copy_(part, non_blocking=True)
            buffer[rows:].zero_()  # what the last call left there may not be finite
        return _map(self._run(net, place), lambda part: part[:rows])

    def forget(self) -> int:
        """Lets go of all tensors and recordings."""
        places = [place for own in self._places.values() for place in own.values()]
        held: int = sum(part.nbytes for place in places for part in _tensors(place.inputs))
        self._places.clear()
        return held


def choose(setting: str, row_limit: int, *, on_gpu: bool) -> tuple[int, ...]:
    """Returns the buckets that `EASEL_ROW_BUCKETS` means; none for calls of just their rows."""
    if setting == "off" or (setting == "auto" and not on_gpu):
        return ()
    if setting == "auto":
        return powers_of_two(row_limit)
    return tuple(sorted({int(number) for number in setting.split(",")}))


def powers_of_two(most: int) -> tuple[int, ...]:
    """Returns 1, 2, 4, ... and at last `most`, whether it is one or not."""
    return (*(2**n for n in range((most - 1).bit_length())), most)


def _empty(part: Any, rows: int) -> Any:
    return part.new_zeros(rows, *part.shape[1:])


def _among_dead(part: Any, rows: int, place: int) -> Any:
    filled = _empty(part, rows)
    filled[place : place + 1] = part
    return filled


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    """Returns the same structure with each tensor changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _map(part, change) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_map(part, change) for part in value)
    return value


def _tensors(value: Any) -> list[Any]:
    """Returns the tensors of a structure, in order."""
    found: list[Any] = []
    _map(value, found.append)
    return found


def _shapes(value: Any) -> list[Any]:
    """Returns what tells calls apart: the names, and of each tensor its dtype and shape without rows."""
    if isinstance(value, Mapping):
        return [(name, *_shapes(part)) for name, part in value.items()]
    return [(part.dtype, *part.shape[1:]) for part in _tensors(value)]
