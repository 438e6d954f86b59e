"""Reads the size of a picture from its first bytes, and draws the plain pictures that avatars are."""

from __future__ import annotations

import hashlib
import struct
import zlib

_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "txt": "text/plain; charset=utf-8",
    "json": "application/json; charset=utf-8",
    "zip": "application/zip",
    "safetensors": "application/octet-stream",
}


def content_type(filename: str) -> str:
    """The type that Discord derives from a file's name, not from its bytes."""
    extension = filename.rpartition(".")[2].lower()
    return _TYPES.get(extension, "application/octet-stream")


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG, GIF, JPEG or WebP header claims; None for anything else."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            width, height = struct.unpack(">II", data[16:24])
            return width, height
        if data[:6] in (b"GIF87a", b"GIF89a"):
            width, height = struct.unpack("<HH", data[6:10])
            return width, height
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except (struct.error, IndexError):
        return None
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in (0x01, *range(0xD0, 0xD9)):  # no length follows
            at += 2
            continue
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return width, height
    if kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed & 0x3FFF) + 1, ((packed >> 14) & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def colour_of(text: str) -> tuple[int, int, int]:
    """A steady, fairly dark colour for a name, so that white initials read well on it."""
    digest = hashlib.sha256(text.encode()).digest()
    red, green, blue = (48 + byte % 144 for byte in digest[:3])
    return red, green, blue


def flat_png(colour: tuple[int, int, int], side: int) -> bytes:
    """Encodes a square PNG of one colour with a lighter disc in its middle."""
    light = bytes(min(255, channel + 64) for channel in colour)
    rows = bytearray()
    for y in range(side):
        rows.append(0)
        for x in range(side):
            inside = (2 * x + 1 - side) ** 2 + (2 * y + 1 - side) ** 2 < (side * 0.6) ** 2
            rows += light if inside else bytes(colour)

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(rows)))
        + chunk(b"IEND", b"")
    )
