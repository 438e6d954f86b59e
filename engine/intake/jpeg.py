"""Checks the segments of a JPEG and rebuilds it from those that its pixels need."""

from __future__ import annotations

import re
import struct

from engine.errors import RefusedFileError
from engine.intake.kinds import ALLOWED
from engine.intake.still import (
    MAX_PROFILE,
    Still,
    broken,
    check_size,
    cut_off,
    orientation_of,
    too_deep,
)
from engine.words import N_

_MAX_SEGMENTS = 2_000
_MAX_SCANS = 100  # encoders write about ten
_MAX_SCANNED_PIXELS = 1_000_000_000  # pixels times scans: what decoding costs
_START, _END, _SCAN, _LINES = 0xD8, 0xD9, 0xDA, 0xDC
_EXIF, _ICC, _ADOBE = 0xE1, 0xE2, 0xEE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BASELINE, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_TABLES = {0xC4, 0xDB, 0xDD}  # Huffman, quantization, restart interval
_APPLICATION = {*range(0xE0, 0xF0), 0xFE, *range(0xF0, 0xFE)}
_ICC_NAME = b"ICC_PROFILE\0"
# Within a scan, a marker other than a restart; FF 00 is an escaped FF, FF FF a filler.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def read(data: bytes) -> Still:
    """Returns the first picture of a JPEG file.

    Raises:
        RefusedFileError: It is no sound JPEG, of a kind that is not read, or too large.
    """
    kept = [b"\xff\xd8"]
    size: tuple[int, int] | None = None
    orientation, profile_parts = 1, list[bytes]()
    position, segments, scans = 2, 0, 0
    while True:
        marker, position = _next_marker(data, position)
        if marker == _END:
            kept.append(b"\xff\xd9")
            break
        segments += 1
        if segments > _MAX_SEGMENTS:
            raise too_deep("JPEG", segments, N_("parts"), _MAX_SEGMENTS)
        body, position = _segment(data, position)
        raw = b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
        if marker in _FRAMES:
            if size is not None:
                raise broken("JPEG", N_("it has two headers"))
            size = _frame(marker, body)
            kept.append(raw)
        elif marker == _SCAN:
            if size is None:
                raise broken("JPEG", N_("its pixels come before its header"))
            scans += 1
            _check_scans(scans, *size)
            match = _MARKER.search(data, position)
            if match is None:
                raise cut_off("JPEG")
            kept += [raw, data[position : match.start()]]
            position = match.start()
        elif marker in _TABLES or marker == _ADOBE:
            kept.append(raw)
        elif marker == _EXIF and body.startswith(b"Exif\0"):
            orientation = orientation_of(body)
        elif marker == _ICC and body.startswith(_ICC_NAME):
            profile_parts.append(body)
        elif marker not in _APPLICATION:
            raise RefusedFileError(
                "This JPEG is of a rare kind that is not read (part {part}). "
                "Save it again as {allowed} and send that.",
                part=f"{marker:02X}",
                allowed=ALLOWED,
            )
    if size is None or not scans:
        raise broken("JPEG", N_("it has no pixels"))
    profile = _profile(profile_parts)
    return Still("JPEG", b"".join(kept), *size, orientation=orientation, profile=profile)


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    if data[position : position + 1] not in (b"\xff", b""):
        raise broken("JPEG", N_("there is no part where one should begin"))
    while data[position : position + 1] == b"\xff":  # fillers
        position += 1
    if position >= len(data):
        raise cut_off("JPEG")
    return data[position], position + 1


def _segment(data: bytes, position: int) -> tuple[bytes, int]:
    if position + 2 > len(data):
        raise cut_off("JPEG")
    (length,) = struct.unpack_from(">H", data, position)
    if length < 2:
        raise broken("JPEG", N_("a part has a wrong length"))
    end = position + length
    if end > len(data):
        raise cut_off("JPEG")
    return data[position + 2 : end], end


def _frame(marker: int, body: bytes) -> tuple[int, int]:
    """Returns width and height of a frame header."""
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise broken("JPEG", N_("its header has a wrong length"))
    precision, height, width, components = struct.unpack_from(">BHHB", body)
    if marker not in (*_BASELINE, _PROGRESSIVE) or precision != 8 or components not in (1, 3, 4):
        raise RefusedFileError(
            "This JPEG is of a rare kind that is not read (lossless, arithmetic or "
            "{bits} bits). Save it again as {allowed} and send that.",
            bits=precision,
            allowed=ALLOWED,
        )
    check_size("JPEG", width, height)
    return width, height


def _check_scans(scans: int, width: int, height: int) -> None:
    limit = max(min(_MAX_SCANS, _MAX_SCANNED_PIXELS // (width * height)), 1)
    if scans > limit:
        raise RefusedFileError(
            "This JPEG is stored in more than {limit} passes, which takes too long to read. "
            "Save it again as {allowed} and send that.",
            limit=limit,
            allowed=ALLOWED,
        )


def _profile(parts: list[bytes]) -> bytes | None:
    """Returns the colour profile of its numbered parts, or None when they do not fit together."""
    head = len(_ICC_NAME)
    numbered = {body[head]: body[head + 2 :] for body in parts if len(body) > head + 2}
    if not parts or sorted(numbered) != list(range(1, len(parts) + 1)):
        return None
    profile = b"".join(numbered[number] for number in sorted(numbered))
    return profile if len(profile) <= MAX_PROFILE else None
