"""Reads the header of a .safetensors file by hand, since the usual loaders accept more than is safe.

The format: 8 bytes of length (little-endian), that much JSON, then the tensors without gaps.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from engine.errors import RefusedFileError
from engine.intake.kinds import UNKNOWN, kind_of
from engine.words import N_

MAX_HEADER = 16 * 2**20  # the largest seen have 3 MB, most of it training captions
MAX_TENSORS = 20_000
_MAX_NAME = 300
_MAX_DIMENSIONS = 4
_LENGTH_BYTES = 8
# Names end up in regular expressions of the loader, where others can hang or deceive it.
_NAME = re.compile(rf"[A-Za-z0-9_.]{{1,{_MAX_NAME}}}")
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of a number
_METADATA = "__metadata__"

ONLY = N_("Send a LoRA as a .safetensors file.")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file.

    Attributes:
        shape: At most 4 sizes.
        begin: First byte, counted from the end of the header.
        end: One after its last byte.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the header says, checked.

    Attributes:
        raw: Length and JSON as they are in the file.
        tensors: In the order of their bytes, which follow each other without gaps.
        metadata: Texts by name.
    """

    raw: bytes
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str]

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors."""
        return self.tensors[-1].end


def read_header(file: BinaryIO, size: int) -> Header:
    """Reads up to the first tensor of a file of `size` bytes.

    Raises:
        RefusedFileError: It is no sound .safetensors file.
    """
    head = file.read(64)
    if not head:
        raise RefusedFileError("The file is empty. {only}", only=ONLY)
    if head[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
        _refuse_kind(head)
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    if length > MAX_HEADER:
        raise RefusedFileError(
            "The header of this file would have {length:,} bytes, at most {limit:,} are read. "
            "{only}",
            length=length,
            limit=MAX_HEADER,
            only=ONLY,
        )
    if _LENGTH_BYTES + length > size:
        raise broken(N_("its end is missing"))
    raw = head + file.read(max(_LENGTH_BYTES + length - len(head), 0))
    if len(raw) < _LENGTH_BYTES + length:
        raise broken(N_("its end is missing"))
    file.seek(_LENGTH_BYTES + length)
    raw = raw[: _LENGTH_BYTES + length]
    entries = _parse(raw[_LENGTH_BYTES:])
    metadata = _metadata(entries.pop(_METADATA, {}))
    if not entries:
        raise RefusedFileError("The file holds no weights.")
    if len(entries) > MAX_TENSORS:
        raise RefusedFileError(
            "The file has {count:,} tensors, at most {limit:,} are read.",
            count=len(entries),
            limit=MAX_TENSORS,
        )
    tensors = sorted((_tensor(*entry) for entry in entries.items()), key=lambda t: (t.begin, t.end))
    _check_places(tensors, size - len(raw))
    return Header(raw, tuple(tensors), metadata)


def broken(why: str) -> RefusedFileError:
    """Returns the refusal of a damaged file; `why` ends the sentence."""
    return RefusedFileError("The file is damaged: {why}. Download it again and send that.", why=why)


def _refuse_kind(head: bytes) -> NoReturn:
    kind = kind_of(head)
    if kind.startswith("a ZIP") or kind == "a pickle file":
        raise RefusedFileError(
            "That is a file of pickled Python objects, which can run programs, so it is never opened, "
            "whatever its name. {only}",
            only=ONLY,
        )
    if kind == UNKNOWN:
        raise RefusedFileError("That is no .safetensors file. {only}", only=ONLY)
    raise RefusedFileError("That is no .safetensors file but {kind}. {only}", kind=kind, only=ONLY)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(
            text.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise broken(N_("its header is no JSON")) from error
    if not isinstance(entries, dict):
        raise broken(N_("its header is no JSON object"))
    return entries


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise broken(N_("its header has a name twice"))
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise broken(N_("what it says about itself is no text"))
    return value


def _tensor(name: str, entry: object) -> Tensor:
    if not _NAME.fullmatch(name):
        raise RefusedFileError(
            "A tensor's name has characters other than letters, digits, dots and underscores, or is "
            "longer than {limit}. No trainer writes such names, so the file is not used.",
            limit=_MAX_NAME,
        )
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise broken(N_("{name} is not described as it should be").format(name=name))
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        known = ", ".join(WIDTHS)
        shown = dtype if isinstance(dtype, str) and dtype.isalnum() and len(dtype) < 20 else "?"
        raise RefusedFileError(
            "{name} is stored as {kind}, only {known} are read.", name=name, kind=shown, known=known
        )
    if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS or not _are_sizes(offsets, 2):
        raise broken(N_("the shape or place of {name} is wrong").format(name=name))
    count = 1
    for side in shape:
        count *= side
    begin, end = offsets
    if end - begin != count * WIDTHS[dtype]:
        raise broken(N_("the shape of {name} does not fit its bytes").format(name=name))
    return Tensor(name, dtype, tuple(shape), begin, end)


def _are_sizes(value: object, length: int | None = None) -> bool:
    return (
        isinstance(value, list)
        and (length is None or len(value) == length)
        and all(type(side) is int and 0 <= side < 2**48 for side in value)
    )


def _check_places(tensors: list[Tensor], data_bytes: int) -> None:
    position = 0
    for tensor in tensors:
        if tensor.begin < position:
            raise broken(N_("{name} overlaps another tensor").format(name=tensor.name))
        if tensor.begin > position:
            raise broken(N_("there is a hole before {name}").format(name=tensor.name))
        position = tensor.end
    if position > data_bytes:
        raise broken(N_("its end is missing"))
    if position < data_bytes:
        raise broken(N_("there is something after its last tensor"))
