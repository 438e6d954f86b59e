"""Checks a whole LoRA file: header, layers, base model, and every number of it.

Never unpickles and never loads the weights into a model; numbers are read a few MB at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from engine.errors import RefusedFileError
from engine.lora.header import WIDTHS, Tensor, broken, read_header
from engine.lora.layers import FAMILIES, PARTS, family_of, find_layers
from engine.words import N_

MAX_ALPHA = 4096.0
MAX_WEIGHT = 1000.0  # those of real files are below 10
_WINDOW = 4 * 2**20  # bytes; a multiple of every dtype's width
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


@dataclass(frozen=True, slots=True)
class CheckedLora:
    """What is known of a LoRA file that can be used.

    Attributes:
        sha256: Of the file, hexadecimal; its identity.
        size_bytes: Of the file.
        family: "pocket", "sd15", "sd2" or "sdxl".
        ranks: The different ranks of its layers, ascending.
        parts: Those of `engine.lora.layers.PARTS` that it changes.
        layers: How many.
        tensors: How many.
        is_locon: It changes 3x3 convolutions, too.
        metadata: What it says of itself; claims, see `engine.lora.metadata.read_metadata`.
    """

    sha256: str
    size_bytes: int
    family: str
    ranks: tuple[int, ...]
    parts: tuple[str, ...]
    layers: int
    tensors: int
    is_locon: bool
    metadata: Mapping[str, str]


def check_lora(
    file: BinaryIO, size: int, *, max_bytes: int, family: str | None = None
) -> CheckedLora:
    """Reads a file of `size` bytes from its beginning.

    Args:
        file: Open for reading, seekable.
        size: Bytes of the file.
        max_bytes: The largest that is read.
        family: Of the base model that it must fit; None takes any.

    Raises:
        RefusedFileError: It is not used; the message says why.
    """
    if size > max_bytes:
        raise RefusedFileError(
            "The file has {size:,.1f} MiB, at most {limit:,.0f} MiB are read.",
            size=size / 2**20,
            limit=max_bytes / 2**20,
        )
    header = read_header(file, size)
    layers = find_layers(header.tensors)
    found = family_of(layers)
    if family is not None and found != family:
        raise RefusedFileError(
            "This LoRA is made for {family}, and the model here is {loaded}. Send one for that.",
            family=FAMILIES[found],
            loaded=FAMILIES.get(family, family),
        )
    alphas = {id(layer.tensors["alpha"]): layer for layer in layers if "alpha" in layer.tensors}
    ups = {id(layer.tensors["up"]) for layer in layers}
    digest = hashlib.sha256(header.raw)
    has_effect = False
    for tensor in header.tensors:
        largest = _read_values(file, tensor, digest)
        if id(tensor) in alphas and not 0 < largest <= MAX_ALPHA:
            raise RefusedFileError(
                "{name} is {value:g}; it must be above 0 and at most {limit:g}.",
                name=tensor.name[:80],
                value=largest,
                limit=MAX_ALPHA,
            )
        has_effect |= id(tensor) in ups and largest > 0
    if not has_effect:
        raise RefusedFileError("All weights of the LoRA are zero, so it has no effect.")
    return CheckedLora(
        sha256=digest.hexdigest(),
        size_bytes=size,
        family=found,
        ranks=tuple(sorted({layer.rank for layer in layers})),
        parts=tuple(part for part in PARTS if any(layer.part == part for layer in layers)),
        layers=len(layers),
        tensors=len(header.tensors),
        is_locon=any(layer.tensors["down"].shape[2:] == (3, 3) for layer in layers),
        metadata=header.metadata,
    )


def _read_values(file: BinaryIO, tensor: Tensor, digest: Any) -> float:
    """Returns the largest absolute value of a tensor; of an alpha, its value with its sign."""
    largest, is_scalar = 0.0, tensor.end - tensor.begin == WIDTHS[tensor.dtype]
    left = tensor.end - tensor.begin
    while left > 0:
        data = file.read(min(left, _WINDOW))
        if not data:
            raise broken(N_("its end is missing"))
        digest.update(data)
        left -= len(data)
        values = _numbers(data, tensor.dtype)
        if not np.isfinite(values).all():
            raise RefusedFileError(
                "{name} has values that are no numbers (NaN or infinite): its training went wrong.",
                name=tensor.name[:80],
            )
        largest = max(largest, float(np.abs(values).max()))
        if is_scalar:
            largest = float(values[0])
    if largest > MAX_WEIGHT and not tensor.name.endswith(".alpha"):
        raise RefusedFileError(
            "{name} has a weight of {value:g}, at most {limit:g} is used.",
            name=tensor.name[:80],
            value=largest,
            limit=MAX_WEIGHT,
        )
    return largest


def _numbers(data: bytes, dtype: str) -> Any:
    """Returns the values as float32 or wider."""
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    values = np.frombuffer(data, _FLOATS[dtype])
    return values.astype(np.float32) if dtype == "F16" else values
