"""How pictures and skeletons come onto a canvas of another shape, and into a mirror."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PIL import Image

from engine.control.maps import Fit, Skeleton

Size = tuple[int, int]
"""Width and height in pixels."""

_STANDARD = 4  # pixels

# Who is seen in a mirror has the other hand up: of each of `openpose.JOINTS` the one on the other side.
OTHER_SIDE = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the whole of a picture lies on a canvas, in its pixels; it may stick out."""

    left: float
    top: float
    width: float
    height: float


def line_width(family: str, width: int, height: int) -> int | None:
    """Returns half the width of a skeleton's lines that the pose ControlNets of a family know; None as usual.

    Those for SDXL (xinsir's) were trained with lines that are thicker in larger pictures.
    """
    if family != "sdxl":
        return None
    longest = max(width, height)
    return _STANDARD * (1 if longest < 500 else min(2 + longest // 1000, 7))


def placement(size: Size, canvas: Size, fit: Fit) -> Placement:
    """Returns where a picture of `size` lies on a canvas: in its middle, whatever the fit."""
    across, down = canvas[0] / size[0], canvas[1] / size[1]
    if fit is Fit.CROP:
        across = down = max(across, down)
    elif fit is Fit.PAD:
        across = down = min(across, down)
    width, height = size[0] * across, size[1] * down
    return Placement((canvas[0] - width) / 2, (canvas[1] - height) / 2, width, height)


def place_people(
    people: Iterable[Skeleton], size: Size, canvas: Size, fit: Fit
) -> tuple[Skeleton, ...]:
    """Returns the skeletons of a picture of `size` in pixels of the canvas; some may lie outside."""
    where = placement(size, canvas, fit)
    across, down = where.width / size[0], where.height / size[1]
    return tuple(
        tuple(
            None if point is None else (where.left + point[0] * across, where.top + point[1] * down)
            for point in skeleton
        )
        for skeleton in people
    )


def mirror_people(people: Iterable[Skeleton], width: float) -> tuple[Skeleton, ...]:
    """Returns the skeletons in a mirror: still seen from the front, with the other hand up."""
    return tuple(
        tuple(
            None if (point := skeleton[other]) is None else (width - point[0], point[1])
            for other in OTHER_SIDE
        )
        for skeleton in people
    )


def place_picture(
    picture: Image.Image,
    canvas: Size,
    fit: Fit,
    *,
    draw: Callable[[Image.Image], Image.Image] = lambda resized: resized,
    resample: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """Returns the RGB picture on a black canvas.

    `draw` makes something of it at its new size, before anything is put beside it: the border of
    the canvas is no edge of the picture.
    """
    where = placement(picture.size, canvas, fit)
    size = (max(round(where.width), 1), max(round(where.height), 1))
    resized = picture if picture.size == size else picture.resize(size, resample)
    drawn = draw(resized.convert("RGB"))
    if drawn.size == canvas:
        return drawn
    onto = Image.new("RGB", canvas)
    onto.paste(drawn, ((canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2))
    return onto
