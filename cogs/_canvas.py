"""Canvases and masks for painting around and into a picture; every function blocks, so use a thread.

All pictures that come here were made by the engine or cleaned by the intake. A mask is white where a
picture is made anew and black where it is kept; grey in between hides the seam.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidRequestError
from engine.words import N_
from storage.pictures import sha256_of

PAN_SHARE = 0.4  # of the picture that leaves on one side and comes anew on the other

NOTHING_MASKED = N_(
    "The mask marks nothing: no part of it is white. Paint white what should be new, or give "
    "invert:True."
)
_BORDER_SHARE = 10  # of the shorter side: how wide the soft border is
_BLUR_SHARE = 16  # the same for the first guess of what is new
_CELL_BLUR_SHARE = 48  # the same for the border of grid cells and drawn masks
_WHITE_ENOUGH = 128


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture to start from with its mask, both PNG."""

    picture: bytes
    mask: bytes

    def files(self) -> dict[str, bytes]:
        """Returns both by sha256."""
        return {sha256_of(data): data for data in (self.picture, self.mask)}


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of a grid of 3 x 3, counted from 1 as one reads; `invert`: all but these are made anew."""

    marked: tuple[int, ...]
    invert: bool = False


def size_of(png: bytes) -> tuple[int, int]:
    """Returns (width, height) of a PNG in pixels."""
    with _open(png) as picture:
        width, height = picture.size
    return width, height


def zoomed(png: bytes, size: tuple[int, int], factor: float) -> Canvas:
    """Returns the picture made smaller by `factor` in the middle of a canvas of `size`."""
    kept = (round(size[0] / factor), round(size[1] / factor))
    offset = ((size[0] - kept[0]) // 2, (size[1] - kept[1]) // 2)
    return _around(_fitted(png, kept), size, offset)


def panned(png: bytes, size: tuple[int, int], across: int, down: int) -> Canvas:
    """Returns a look to one side: (-1, 0) is left, (0, -1) up; the picture moves the other way."""
    offset = (-across * round(size[0] * PAN_SHARE), -down * round(size[1] * PAN_SHARE))
    return _around(_fitted(png, size), size, offset)


def cells_mask(size: tuple[int, int], cells: Collection[int], *, invert: bool = False) -> bytes:
    """Returns a mask of some cells of a grid of 3 x 3, counted from 1 as one reads."""
    from PIL import Image, ImageChops, ImageDraw

    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    xs, ys = ([round(side * third / 3) for third in range(4)] for side in size)
    for cell in cells:
        row, column = divmod(cell - 1, 3)
        draw.rectangle((xs[column], ys[row], xs[column + 1] - 1, ys[row + 1] - 1), fill=255)
    return _png(_softened(ImageChops.invert(mask) if invert else mask))


def cells_of(mask: bytes) -> Cells | None:
    """Returns the cells whose mask this is; None for one that somebody painted."""
    with _open(mask) as opened:
        picture = opened.convert("L")
    width, height = picture.size
    middles = [
        (cell, (width * (2 * column + 1) // 6, height * (2 * row + 1) // 6))
        for cell, (row, column) in enumerate(((n // 3, n % 3) for n in range(9)), 1)
    ]
    values = {cell: picture.getpixel(middle) for cell, middle in middles}
    new = tuple(cell for cell, value in values.items() if value == 255)
    for found in (Cells(new), Cells(tuple(sorted(values.keys() - set(new))), invert=True)):
        if cells_mask(picture.size, found.marked, invert=found.invert) == mask:
            return found
    return None


def drawn_mask(png: bytes, size: tuple[int, int], *, invert: bool = False) -> bytes:
    """Returns the mask that somebody painted, at the size of the picture that it belongs to.

    Raises:
        InvalidRequestError: Nothing in it is white.
    """
    from PIL import Image, ImageChops

    with _open(png) as opened:
        mask = opened.convert("L").resize(size, Image.Resampling.BILINEAR)
    if invert:
        mask = ImageChops.invert(mask)
    if mask.getextrema()[1] < _WHITE_ENOUGH:
        raise InvalidRequestError(NOTHING_MASKED)
    return _png(_softened(mask))


def _around(picture: Any, size: tuple[int, int], offset: tuple[int, int]) -> Canvas:
    """Returns a canvas with the picture at `offset`; what leaves the canvas is lost.

    The rest is filled with the blurred colours of its edges: a mirror image would bring its objects
    back, cut in half. The soft border lies inside the picture, where both old and new are known.
    """
    import numpy as np
    from PIL import Image, ImageFilter

    left, top = (max(start, 0) for start in offset)
    right, bottom = (
        min(start + side, limit)
        for start, side, limit in zip(offset, picture.size, size, strict=True)
    )
    x, y = offset
    visible = picture.crop((left - x, top - y, right - x, bottom - y))
    margins = (top, size[1] - bottom), (left, size[0] - right)
    extended = Image.fromarray(np.pad(np.asarray(visible), (*margins, (0, 0)), mode="edge"))
    canvas = extended.filter(ImageFilter.GaussianBlur(min(size) / _BLUR_SHARE))
    canvas.paste(visible, (left, top))

    border = max(min(size) // _BORDER_SHARE, 1)
    # Of each row and column the pixels between it and what is new; negative in what is new.
    rows, columns = (
        _inside(np.arange(limit), before, limit - after, border)
        for limit, (before, after) in zip(reversed(size), margins, strict=True)
    )
    depth = np.minimum(rows[:, None], columns[None, :])
    mask = np.clip(255 * (1 - (depth + 0.5) / border), 0, 255)
    mask[depth < 0] = 255
    return Canvas(_png(canvas), _png(Image.fromarray(mask.round().astype(np.uint8))))


def _inside(places: Any, start: int, end: int, border: int) -> Any:
    """Returns how deep each place lies between `start` and `end`; an edge of the canvas is deep."""
    import numpy as np

    depth = np.full(len(places), border)
    if start > 0:
        depth = np.minimum(depth, places - start)
    if end < len(places):
        depth = np.minimum(depth, end - 1 - places)
    return depth


def _softened(mask: Any) -> Any:
    from PIL import ImageFilter

    return mask.filter(ImageFilter.GaussianBlur(min(mask.size) / _CELL_BLUR_SHARE))


def _fitted(png: bytes, size: tuple[int, int]) -> Any:
    """Returns the RGB picture at `size`; of another shape, its middle, as the engine does it."""
    from PIL import Image, ImageOps

    with _open(png) as opened:
        return ImageOps.fit(opened.convert("RGB"), size, Image.Resampling.LANCZOS)


def _open(png: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(png), formats=["PNG"])


def _png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=3)
    return file.getvalue()
