"""Makes picture files, good ones and hostile ones, part by part where no library would."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from PIL import Image, ImageCms

RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 200, 20), (20, 20, 220), (255, 255, 255)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """Red at the top left, green at the top right, blue at the bottom: every turn looks different."""
    picture = Image.new("RGB", (width, height), BLUE)
    picture.paste(RED, (0, 0, width // 2, height // 2))
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    return picture


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int, order: str = ">") -> bytes:
    """An EXIF block with the orientation and nothing else."""
    head = b"MM\0*" if order == ">" else b"II*\0"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + head + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


# PNG


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def header(width: int, height: int, depth: int = 8, colour: int = 2, *rest: int) -> bytes:
    return chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *(rest or (0, 0, 0)))
    )


def png(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks)


def rows(width_bytes: int, height: int, value: int = 0) -> bytes:
    """Packed rows without a filter."""
    return chunk(b"IDAT", zlib.compress((b"\0" + bytes([value]) * width_bytes) * height, 9))


END = chunk(b"IEND")


def split_png(data: bytes) -> list[bytes]:
    """The chunks of a PNG."""
    found, position = [], len(SIGNATURE)
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        found.append(data[position : position + 12 + length])
        position += 12 + length
    return found


def png_with(*extra: bytes, picture: Image.Image | None = None) -> bytes:
    """The scene with more chunks after its header."""
    first, *others = split_png(saved(picture or scene(), "PNG"))
    return png(first, *extra, *others)


def png_without(name: bytes, picture: Image.Image | None = None) -> bytes:
    chunks = split_png(saved(picture or scene(), "PNG"))
    return png(*(one for one in chunks if one[4:8] != name))


# JPEG


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(*extra: bytes, **options: Any) -> bytes:
    """The scene with more segments after its start."""
    data = saved(scene(), "JPEG", quality=95, **options)
    return data[:2] + b"".join(extra) + data[2:]


def jpeg_sized(width: int, height: int, data: bytes | None = None) -> bytes:
    """A JPEG whose header says another size."""
    data = data or saved(scene(), "JPEG")
    at = next(i for i in range(len(data)) if data[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG that repeats its last refinement; small, and long to decode."""
    data = saved(Image.new("L", (width, height), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


# WebP


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        found.append((name, data[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    return found


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides


def frame(x: int, y: int, width: int, height: int, pixels: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The body of an ANMF chunk."""
    numbers = (x // 2, y // 2, width - 1, height - 1, 100)
    head = b"".join(number.to_bytes(3, "little") for number in numbers) + b"\0"
    return head + riff(*pixels)[12:]


# Colour profiles


def swapped_profile() -> bytes:
    """An RGB profile in which what is called red is blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"qXYZ").replace(b"bXYZ", b"rXYZ").replace(b"qXYZ", b"bXYZ")
