"""The frames between bot and child: two lengths, a JSON object, raw bytes."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">II")
_MAX_FIELDS = 2**20  # bytes of JSON; a child that sends more is out of its mind

Frame = tuple[dict[str, Any], bytes]


def encode(fields: dict[str, Any], blob: bytes = b"") -> bytes:
    """Returns one frame."""
    text = json.dumps(fields, separators=(",", ":")).encode()
    return _LENGTHS.pack(len(text), len(blob)) + text + blob


def read(stream: BinaryIO, max_blob: int) -> Frame:
    """Returns the next frame; blocks.

    Raises:
        EOFError: The other side closed, or sent too much.
    """
    text_length, blob_length = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    if text_length > _MAX_FIELDS or blob_length > max_blob:
        raise EOFError("the frame is too large")
    fields = json.loads(_exactly(stream, text_length))
    return fields, _exactly(stream, blob_length)


async def receive(reader: asyncio.StreamReader, max_blob: int) -> Frame:
    """Returns the next frame.

    Raises:
        EOFError: The other side closed, or what it sent is no frame.
    """
    text_length, blob_length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    if text_length > _MAX_FIELDS or blob_length > max_blob:
        raise EOFError("the frame is too large")
    try:
        fields = json.loads(await reader.readexactly(text_length))
    except ValueError as error:
        raise EOFError("the frame is no JSON") from error
    if not isinstance(fields, dict):
        raise EOFError("the frame is no object")
    return fields, await reader.readexactly(blob_length)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side closed")
    return data
