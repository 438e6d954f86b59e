"""Frames between the bot and the engine process: a JSON header and raw bytes, never pickle.

A frame is two big-endian uint32 (header bytes, payload bytes), the header as UTF-8 JSON and the
payload: the blobs one after the other, their lengths in the header's "blobs". `kind` says what it is:

====================  =====================================================================
bot -> engine
====================  =====================================================================
generate              job_id, request, images (names of the blobs: sha256 of the request's pictures),
                      adapters (pairs of sha256 and path of the request's LoRAs), receipt of a picture
                      that is made again
cancel                job_id
stats                 call_id; answered by `reply`
adapter_load          call_id, sha256, path; answered by `reply` when it is loaded and checked
adapter_unload        call_id, sha256; answered by `reply`: whether it was loaded
detect                call_id, request (a `MapRequest`); one blob: PNG. Answered by `reply`: kind, people
                      and was_map of a `ControlMap` with its PNG as a blob, or error and message
drain                 finish what runs, then exit 0
====================  =====================================================================

====================  =====================================================================
engine -> bot
====================  =====================================================================
loading               stage, fraction
ready                 info
started               job_id
progress              job_id, step, total; at most one blob: JPEG preview
picture               job_id, index, seed, width, height; one blob: PNG
done                  job_id, seconds, warnings, receipt
failed                job_id, error (class name), message
fatal                 error, message: the process exits after it (model cannot be loaded)
reply                 call_id, value; for `detect` one blob
heartbeat             ticks, rss_bytes (resident memory): sent each second by the loop's thread while
                      jobs run
====================  =====================================================================
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from engine.errors import EngineError

ENGINE_FD_VARIABLE = "EASEL_ENGINE_FD"  # the engine's end of the socket pair
VERSION = 1
MAX_HEADER_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 256 << 20

_LENGTHS = struct.Struct(">II")
_T = TypeVar("_T")
_adapters: dict[type[Any], TypeAdapter[Any]] = {}  # building one costs milliseconds


class ProtocolError(EngineError):
    """The other side sent something that is no frame; the connection cannot be used any more."""


class CutOffError(ProtocolError):
    """The stream ended inside a frame: the other side broke down while it was sending."""

    def __init__(self) -> None:
        """Says so."""
        super().__init__("the stream ended inside a frame")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: its kind, its JSON fields and its blobs."""

    kind: str
    fields: Mapping[str, Any]
    blobs: tuple[bytes, ...] = ()


def encode(kind: str, fields: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """Returns the bytes of one frame. `fields` must be JSON-able."""
    header = {"kind": kind, "blobs": [len(b) for b in blobs], **fields}
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    payload = b"".join(blobs)
    _check_lengths(len(text), len(payload))
    return _LENGTHS.pack(len(text), len(payload)) + text + payload


def pack(value: object) -> Any:
    """Returns a dataclass of `engine.types` as JSON-able objects; the inverse of `unpack`."""
    return _adapter(type(value)).dump_python(value, mode="json")


def unpack(cls: type[_T], data: object) -> _T:
    """Returns the dataclass that `pack` turned into `data`.

    Raises:
        ProtocolError: `data` does not fit the dataclass.
    """
    try:
        value: _T = _adapter(cls).validate_python(data)
    except ValidationError as error:
        raise ProtocolError(f"no {cls.__name__}: {error}") from error
    return value


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """Returns the next frame, or None at the end of the stream.

    Raises:
        CutOffError: The stream ended inside a frame.
        ProtocolError: It holds no frame.
    """
    try:
        lengths = await reader.readexactly(_LENGTHS.size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise CutOffError from error
        return None
    header_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    _check_lengths(header_bytes, payload_bytes)
    try:
        header = await reader.readexactly(header_bytes)
        payload = await reader.readexactly(payload_bytes)
    except asyncio.IncompleteReadError as error:
        raise CutOffError from error
    return _decode(header, payload)


def receive_frame(connection: socket.socket) -> Frame | None:
    """Blocking form of `read_frame`, for the worker's reader thread."""
    lengths = _receive_exactly(connection, _LENGTHS.size)
    if lengths is None:
        return None
    header_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    _check_lengths(header_bytes, payload_bytes)
    header = _receive_exactly(connection, header_bytes)
    payload = _receive_exactly(connection, payload_bytes)
    if header is None or payload is None:
        raise CutOffError
    return _decode(header, payload)


def _receive_exactly(connection: socket.socket, count: int) -> bytes | None:
    buffer = bytearray(count)
    view = memoryview(buffer)
    received = 0
    while received < count:
        size = connection.recv_into(view[received:])
        if size == 0:
            if received:
                raise CutOffError
            return None
        received += size
    return bytes(buffer)


def _check_lengths(header_bytes: int, payload_bytes: int) -> None:
    if not 2 <= header_bytes <= MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise ProtocolError(f"no frame: lengths {header_bytes} and {payload_bytes}")


def _decode(header: bytes, payload: bytes) -> Frame:
    try:
        fields = json.loads(header)
        kind = fields.pop("kind")
        lengths = fields.pop("blobs")
        if not isinstance(kind, str) or any(n < 0 for n in lengths):
            raise TypeError("kind or blobs")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError("the header is not one of ours") from error
    if sum(lengths) != len(payload):
        raise ProtocolError("the blobs do not fill the payload")
    blobs, offset = [], 0
    for length in lengths:
        blobs.append(payload[offset : offset + length])
        offset += length
    return Frame(kind, fields, tuple(blobs))


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    if cls not in _adapters:
        _adapters[cls] = TypeAdapter(cls)
    return _adapters[cls]
