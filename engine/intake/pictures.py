"""Turns the bytes of an untrusted picture into a clean RGB PNG; runs in the child process only."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin, WebPImagePlugin, features

from engine.errors import RefusedFileError
from engine.intake import jpeg, png, webp
from engine.intake.kinds import ALLOWED, kind_of
from engine.intake.still import MAX_PIXELS, CleanPicture, Still, broken
from engine.words import N_

FIRST_FRAME = N_("The picture is an animation; only its first frame was used.")

_PLUGINS = (JpegImagePlugin, PngImagePlugin, WebPImagePlugin)  # importing them registers them
_READERS = {"PNG": png.read, "JPEG": jpeg.read, "WebP": webp.read}
_WHITE = (255, 255, 255)
_FAST = 3  # zlib level; 6 takes three times as long for files a tenth smaller
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB: list[Any] = []  # the profile of what comes out, once `prepare` made it
_FROM_16_BITS = [(value + 128) // 257 for value in range(65536)]


def prepare() -> None:
    """Does what opens files, as none can be opened after the limits are set."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    Image.init()
    features.check("webp")
    _SRGB.append(ImageCms.createProfile("sRGB"))
    clean(_sample(), max_side=8)


def clean(data: bytes, max_side: int) -> CleanPicture:
    """Returns the picture, made smaller when one of its sides is longer than `max_side` pixels.

    Raises:
        RefusedFileError: The file is not used; the message says why.
    """
    if not data:
        raise RefusedFileError("The file is empty. Send a {allowed} picture.", allowed=ALLOWED)
    kind = kind_of(data)
    reader = _READERS.get(kind)
    if reader is None:
        raise RefusedFileError("That is {kind}; send {allowed}.", kind=kind, allowed=ALLOWED)
    still = reader(data)
    picture = _decode(still, kind, max_side)
    picture = _on_white(picture, still.profile)
    if still.canvas is not None:
        picture = _on_canvas(picture, still, max_side)
    if still.orientation in _TURNS:
        picture = picture.transpose(_TURNS[still.orientation])
    # A new picture, since the old one carries its file's metadata into the new file.
    pure = Image.new("RGB", picture.size)
    pure.paste(picture)
    file = io.BytesIO()
    pure.save(file, "PNG", compress_level=_FAST)
    notes = (FIRST_FRAME,) if still.is_animated else ()
    return CleanPicture(file.getvalue(), *pure.size, notes)


def _decode(still: Still, kind: str, max_side: int) -> Image.Image:
    """Returns the picture as L, RGB, RGBA or CMYK, not larger than it may be."""
    try:
        picture: Image.Image = Image.open(io.BytesIO(still.data), formats=[still.format])
        if picture.size != (still.width, still.height):
            raise broken(kind, N_("its header and its pixels say different sizes"))
        # A JPEG can be decoded at a half, a quarter or an eighth of its size.
        picture.draft(None, _within(picture.size, 2 * max_side))
        picture.load()
    except RefusedFileError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError, IndexError) as error:
        raise broken(kind, N_("its pixels cannot be read")) from error
    picture = _plain(picture)
    limit = _within((still.width, still.height), _share(still, max_side))
    if picture.size != limit and (picture.width > limit[0] or picture.height > limit[1]):
        picture = picture.resize(limit, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return picture


def _plain(picture: Image.Image) -> Image.Image:
    """Returns any mode as one of four."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return _from_16_bits(picture)
    if picture.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in picture.info:
        has_alpha = picture.mode != "P" or "transparency" in picture.info
        return picture.convert("RGBA" if has_alpha else "RGB")
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode in ("L", "RGB", "RGBA", "CMYK"):
        return picture
    return picture.convert("RGB")


def _from_16_bits(picture: Image.Image) -> Image.Image:
    """Pillow would cut off all above 255."""
    transparent = picture.info.get("transparency")
    wide = picture.convert("I")
    grey = wide.point(_FROM_16_BITS, "L")
    if not isinstance(transparent, int):
        return grey
    alpha = [0 if value == transparent else 255 for value in range(65536)]
    return Image.merge("RGBA", (grey, grey, grey, wide.point(alpha, "L")))


def _on_white(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns RGB in sRGB, transparent parts white."""
    if picture.mode != "RGBA":
        return _to_srgb(picture, profile)
    alpha = picture.getchannel("A")
    ground = Image.new("RGB", picture.size, _WHITE)
    ground.paste(_to_srgb(picture.convert("RGB"), profile), mask=alpha)
    return ground


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns RGB; a profile that does not fit the picture is ignored, as viewers do."""
    if profile is None:
        return picture.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, _SRGB[0], outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture.convert("RGB")
    return picture.convert("RGB") if converted is None else converted


def _on_canvas(frame: Image.Image, still: Still, max_side: int) -> Image.Image:
    """Returns a frame at its place in the picture that it is a part of."""
    assert still.canvas is not None
    width, height, x, y = still.canvas
    size = _within((width, height), max_side)
    scale = size[0] / width
    canvas = Image.new("RGB", size, _WHITE)
    canvas.paste(frame, (round(x * scale), round(y * scale)))
    return canvas


def _share(still: Still, max_side: int) -> int:
    """Returns the longest side of a frame that is a part of a canvas of at most `max_side`."""
    if still.canvas is None:
        return max_side
    scale = min(max_side / max(still.canvas[:2]), 1.0)
    return max(round(max(still.width, still.height) * scale), 1)


def _within(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = min(max_side / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _sample() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), _WHITE).save(file, "JPEG")
    return file.getvalue()
