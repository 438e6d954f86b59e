"""Checks the chunks of a PNG and rebuilds it from those that its pixels need."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from engine.errors import RefusedFileError
from engine.intake.kinds import PNG_SIGNATURE
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

_MAX_CHUNKS = 20_000  # a large picture in chunks of 8 kB has a tenth
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PALETTE = 3
# First column and row of each pass of interlacing, and the distances to the next ones.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_WINDOW = 2**20  # bytes that are unpacked at a time
_KNOWN = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_HEADER_LENGTH = 13


def read(data: bytes) -> Still:
    """Returns the default picture of a PNG.

    Raises:
        RefusedFileError: It is no sound PNG, or too large.
    """
    kept: list[bytes] = [PNG_SIGNATURE]
    shape = _Shape(0, 0, 0, 0, is_interlaced=False)
    pixels: list[bytes] = []
    orientation, profile, frames = 1, None, 1
    has_palette = has_pixels = are_pixels_over = False
    for number, (name, body, raw) in enumerate(_chunks(data)):
        if (number == 0) != (name == b"IHDR"):
            raise broken("PNG", N_("its header is missing or there twice"))
        are_pixels_over |= has_pixels and name != b"IDAT"
        match name:
            case b"IHDR":
                shape = _header(body)
                kept.append(raw)
            case b"PLTE" if not has_pixels and not has_palette:
                has_palette = True
                if len(body) % 3 or not 3 <= len(body) <= 768:
                    raise broken("PNG", N_("its palette has a wrong length"))
                if shape.colour_type not in (0, 4):
                    kept.append(raw)
            case b"tRNS" if not has_pixels and len(body) <= 256:
                kept.append(raw)
            case b"IDAT":
                if are_pixels_over:
                    raise broken("PNG", N_("its pixels are in two places"))
                has_pixels = True
                pixels.append(body)
                kept.append(raw)
            case b"IEND":
                kept.append(raw)
                break
            case b"eXIf" if len(body) <= MAX_EXIF:
                orientation = orientation_of(body)
            case b"iCCP" if profile is None:
                profile = _profile(body)
            case b"acTL" if len(body) == 8 and not has_pixels:
                (frames,) = struct.unpack_from(">I", body)
            case _ if name not in _KNOWN and not name[0] & 0x20:
                raise broken("PNG", N_("it needs an extension that is not known"))
    else:
        raise cut_off("PNG")
    if not has_pixels:
        raise broken("PNG", N_("it has no pixels"))
    if shape.colour_type == _PALETTE and not has_palette:
        raise broken("PNG", N_("its palette is missing"))
    _check_pixels(pixels, shape.packed_bytes)
    return Still(
        "PNG",
        b"".join(kept),
        shape.width,
        shape.height,
        orientation,
        profile,
        is_animated=frames > 1,
    )


def _chunks(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Returns (name, body, whole chunk) up to the end chunk; the rest of the file is left out."""
    found: list[tuple[bytes, bytes, bytes]] = []
    position = len(PNG_SIGNATURE)
    while position < len(data):
        if len(found) >= _MAX_CHUNKS:
            raise too_deep("PNG", len(found) + 1, N_("parts"), _MAX_CHUNKS)
        if position + 12 > len(data):
            raise cut_off("PNG")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if not name.isalpha() or not name.isascii():
            raise broken("PNG", N_("there is no part where one should begin"))
        if end > len(data):
            raise cut_off("PNG")
        if (
            name in _KNOWN
            and zlib.crc32(data[position + 4 : end - 4]).to_bytes(4, "big") != (data[end - 4 : end])
        ):
            raise broken("PNG", N_("its check sums are wrong"))
        found.append((name, data[position + 8 : end - 4], data[position:end]))
        if name == b"IEND":
            break
        position = end
    return found


@dataclass(frozen=True, slots=True)
class _Shape:
    width: int
    height: int
    bits: int  # of one pixel
    colour_type: int
    is_interlaced: bool

    @property
    def packed_bytes(self) -> int:
        """Bytes of all rows, each with one byte for its filter."""
        passes = _ADAM7 if self.is_interlaced else ((0, 0, 1, 1),)
        total = 0
        for x, y, step_x, step_y in passes:
            columns = max(-(-(self.width - x) // step_x), 0)
            rows = max(-(-(self.height - y) // step_y), 0)
            total += rows * (1 + -(-columns * self.bits // 8)) if columns else 0
        return total


def _check_pixels(parts: list[bytes], wanted: int) -> None:
    """Raises RefusedFileError unless so many bytes come out; Pillow leaves missing rows black."""
    unpacker = zlib.decompressobj()
    for part in parts:
        rest = part
        while rest and wanted > 0:
            try:
                wanted -= len(unpacker.decompress(rest, _WINDOW))
            except zlib.error as error:
                raise broken("PNG", N_("its pixels cannot be read")) from error
            rest = unpacker.unconsumed_tail
    if wanted > 0:
        raise broken("PNG", N_("some of its pixels are missing"))


def _header(body: bytes) -> _Shape:
    if len(body) != _HEADER_LENGTH:
        raise broken("PNG", N_("its header has a wrong length"))
    width, height, depth, colour_type, compression, filters, interlace = struct.unpack(
        ">IIBBBBB", body
    )
    check_size("PNG", width, height)
    if depth not in _DEPTHS.get(colour_type, ()):
        raise broken(
            "PNG",
            N_("there is no colour type {kind} with {depth} bits").format(
                kind=colour_type, depth=depth
            ),
        )
    if compression or filters or interlace > 1:
        raise broken("PNG", N_("it is packed in a way that is not known"))
    bits = depth * _CHANNELS[colour_type]
    return _Shape(width, height, bits, colour_type, is_interlaced=bool(interlace))


def _profile(body: bytes) -> bytes | None:
    """Unpacks a colour profile, never more than its limit; None when it is none."""
    name, separator, packed = body.partition(b"\0")
    if not separator or len(name) > 79 or packed[:1] != b"\0":
        return None
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], MAX_PROFILE + 1)
    except zlib.error:
        return None
    if len(profile) > MAX_PROFILE:
        raise RefusedFileError(
            "The colour profile of this PNG is larger than {limit} MB. "
            "Save the picture without it and send it again.",
            limit=MAX_PROFILE // 2**20,
        )
    return profile
