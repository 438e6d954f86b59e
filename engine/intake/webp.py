"""Checks the chunks of a WebP and rebuilds its first frame from those that its pixels need."""

from __future__ import annotations

import struct

from engine.intake.still import (
    MAX_EXIF,
    MAX_PROFILE,
    Still,
    broken,
    check_size,
    cut_off,
    orientation_of,
    too_deep,
)
from engine.words import N_

_MAX_CHUNKS = 5_000
_ALPHA_FLAG = 0x10
_FRAME_HEADER = 16  # bytes of an ANMF chunk before its own chunks
_LOSSY_START = b"\x9d\x01\x2a"
_LOSSLESS_SIGNATURE = 0x2F

Chunk = tuple[bytes, bytes]


def read(data: bytes) -> Still:
    """Returns the picture, or the first frame, of a WebP file.

    Raises:
        RefusedFileError: It is no sound WebP, or too large.
    """
    if len(data) < 20:
        raise cut_off("WebP")
    length = struct.unpack_from("<I", data, 4)[0] + 8
    if length > len(data) + 1:  # the padding of the last byte is often left out
        raise cut_off("WebP")
    chunks = _chunks(data[12:length])
    if not chunks:
        raise broken("WebP", N_("it has no pixels"))
    if chunks[0][0] != b"VP8X":
        pixels = _pixels(chunks[:1])
        return _still(pixels, _size(pixels))
    canvas = _canvas(chunks[0][1])
    check_size("WebP", *canvas)
    orientation, profile = 1, None
    for name, body in chunks:
        if name == b"EXIF" and len(body) <= MAX_EXIF:
            orientation = orientation_of(body)
        elif name == b"ICCP" and len(body) <= MAX_PROFILE:
            profile = body
    frames = [body for name, body in chunks if name == b"ANMF"]
    offset = (0, 0)
    if frames:
        pixels, offset, size = _frame(frames[0])
    else:
        pixels, size = _pixels(chunks[1:]), canvas
    if _size(pixels) != size:
        raise broken("WebP", N_("its header and its pixels say different sizes"))
    if offset[0] + size[0] > canvas[0] or offset[1] + size[1] > canvas[1]:
        raise broken("WebP", N_("its first frame is larger than the picture"))
    return _still(
        pixels,
        size,
        orientation=orientation,
        profile=profile,
        is_animated=len(frames) > 1,
        canvas=None if size == canvas else (*canvas, *offset),
    )


def _chunks(data: bytes) -> list[Chunk]:
    found: list[Chunk] = []
    position = 0
    while position + 8 <= len(data):
        if len(found) >= _MAX_CHUNKS:
            raise too_deep("WebP", len(found) + 1, N_("parts"), _MAX_CHUNKS)
        name, length = struct.unpack_from("<4sI", data, position)
        end = position + 8 + length
        if end > len(data):
            raise cut_off("WebP")
        found.append((name, data[position + 8 : end]))
        position = end + length % 2
    return found


def _canvas(body: bytes) -> tuple[int, int]:
    if len(body) < 10:
        raise broken("WebP", N_("its header has a wrong length"))
    return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1


def _frame(body: bytes) -> tuple[list[Chunk], tuple[int, int], tuple[int, int]]:
    """Returns a frame's pixels, its place on the canvas and its size."""
    if len(body) < _FRAME_HEADER:
        raise broken("WebP", N_("its first frame has a wrong length"))
    x, y, width, height = (int.from_bytes(body[i : i + 3], "little") for i in (0, 3, 6, 9))
    return _pixels(_chunks(body[_FRAME_HEADER:])), (2 * x, 2 * y), (width + 1, height + 1)


def _pixels(chunks: list[Chunk]) -> list[Chunk]:
    """Returns the pixel chunk, with its alpha chunk before it when it has one."""
    alpha: list[Chunk] = []
    for name, body in chunks:
        if name == b"ALPH" and not alpha:
            alpha = [(name, body)]
        elif name == b"VP8 ":
            return [*alpha, (name, body)]
        elif name == b"VP8L":
            return [(name, body)]
    raise broken("WebP", N_("it has no pixels"))


def _size(pixels: list[Chunk]) -> tuple[int, int]:
    name, body = pixels[-1]
    if len(body) < 10:
        raise cut_off("WebP")
    if name == b"VP8 ":
        if body[3:6] != _LOSSY_START or body[0] & 1:
            raise broken("WebP", N_("its pixels do not begin as they should"))
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", body, 6))
    else:
        if body[0] != _LOSSLESS_SIGNATURE:
            raise broken("WebP", N_("its pixels do not begin as they should"))
        (bits,) = struct.unpack_from("<I", body, 1)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    check_size("WebP", width, height)
    return width, height


def _still(
    pixels: list[Chunk],
    size: tuple[int, int],
    *,
    orientation: int = 1,
    profile: bytes | None = None,
    is_animated: bool = False,
    canvas: tuple[int, int, int, int] | None = None,
) -> Still:
    chunks = list(pixels)
    if len(chunks) > 1:  # alpha beside lossy pixels needs the extended header
        sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
        chunks.insert(0, (b"VP8X", bytes([_ALPHA_FLAG, 0, 0, 0]) + sides))
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for name, data in chunks
    )
    rebuilt = b"RIFF" + struct.pack("<I", len(body)) + body
    return Still("WEBP", rebuilt, *size, orientation, profile, is_animated, canvas)
