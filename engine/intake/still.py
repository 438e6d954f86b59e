"""What the header checks hand to the decoder, and it to the bot; sizes and sentences that they share."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from engine.errors import RefusedFileError
from engine.intake.kinds import ALLOWED
from engine.words import N_

MAX_PIXELS = 40_000_000
MAX_RATIO = 20  # of the longer to the shorter side
MAX_PROFILE = 4 * 2**20  # bytes of a colour profile; those of printing presses have 2 MB
MAX_EXIF = 64 * 1024  # what fits into a JPEG
_ORIENTATION = 0x0112
_MAX_TAGS = 500


@dataclass(frozen=True, slots=True)
class Still:
    """A picture file that was rebuilt from the parts that its pixels need.

    Attributes:
        format: Pillow's name.
        data: The rebuilt file: no texts, no previews, no other frames, nothing after its end.
        width: As in the header, before turning.
        height: The same.
        orientation: EXIF's 1 to 8.
        profile: ICC profile, or None.
        is_animated: This is the first frame of several.
        canvas: (width, height, x, y) when the frame is a part of a larger picture.
    """

    format: str
    data: bytes
    width: int
    height: int
    orientation: int = 1
    profile: bytes | None = None
    is_animated: bool = False
    canvas: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class CleanPicture:
    """A picture that is safe to read anywhere.

    Attributes:
        png: RGB, 8 bits, upright, no metadata.
        width: Pixels.
        height: Pixels.
        notes: Sentences for the person who sent it.
    """

    png: bytes
    width: int
    height: int
    notes: tuple[str, ...] = ()


def broken(kind: str, why: str) -> RefusedFileError:
    """Returns the refusal of a damaged file; `why` ends the sentence."""
    return RefusedFileError(
        "This {kind} file is damaged: {why}. Save it again as {allowed} and send that.",
        kind=kind,
        why=why,
        allowed=ALLOWED,
    )


def cut_off(kind: str) -> RefusedFileError:
    """Returns the refusal of a file whose end is missing."""
    return broken(kind, N_("its end is missing"))


def too_deep(kind: str, count: int, what: str, limit: int) -> RefusedFileError:
    """Returns the refusal of a file with far more parts than pictures have."""
    return RefusedFileError(
        "This {kind} has {count:,} {what}, at most {limit:,} are read. "
        "Save it again as {allowed} and send that.",
        kind=kind,
        count=count,
        what=what,
        limit=limit,
        allowed=ALLOWED,
    )


def check_size(kind: str, width: int, height: int) -> None:
    """Raises RefusedFileError when a picture of this size is not read."""
    if width < 1 or height < 1:
        why = N_("it says that it has {width}x{height} pixels")
        raise broken(kind, why.format(width=width, height=height))
    if width * height > MAX_PIXELS:
        raise RefusedFileError(
            "The picture has {megapixels:,.1f} megapixels ({width}x{height}), at most "
            "{limit:.0f} are read. Make it smaller and send it again.",
            megapixels=width * height / 1e6,
            width=width,
            height=height,
            limit=MAX_PIXELS / 1e6,
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        raise RefusedFileError(
            "The picture is too narrow ({width}x{height}): the longer side may be at most "
            "{limit} times the shorter. Crop it and send it again.",
            width=width,
            height=height,
            limit=MAX_RATIO,
        )


def orientation_of(exif: bytes) -> int:
    """Returns EXIF's orientation, 1 (upright) when there is none or the block is nonsense."""
    exif = exif.removeprefix(b"Exif\0\0")[:MAX_EXIF]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for number in range(min(count, _MAX_TAGS)):
            tag, kind, length = struct.unpack_from(f"{order}HHI", exif, start + 2 + 12 * number)
            if tag == _ORIENTATION:
                form = {3: "H", 4: "I"}.get(kind)
                if form is None or length != 1:
                    return 1
                (value,) = struct.unpack_from(f"{order}{form}", exif, start + 10 + 12 * number)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
