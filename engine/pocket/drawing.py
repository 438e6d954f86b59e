"""A canvas that draws flat shapes at twice the size and reduces them, with class and depth maps on request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

Point = tuple[float, float]
Rgb = tuple[int, int, int]

OVERSAMPLING = 2

COLOURS: dict[str, Rgb] = {
    "red": (214, 38, 38),
    "orange": (244, 136, 26),
    "yellow": (246, 216, 48),
    "green": (38, 156, 62),
    "cyan": (56, 204, 208),
    "blue": (36, 76, 208),
    "purple": (126, 54, 176),
    "pink": (246, 132, 182),
    "brown": (126, 78, 40),
    "black": (24, 24, 26),
    "gray": (136, 138, 140),
    "white": (246, 246, 244),
}
"""The twelve colours that the model is taught; far enough apart to be told by nearest neighbour."""


def shade(colour: Rgb, factor: float) -> Rgb:
    """The colour times `factor` below 1, or moved towards white by `factor - 1` above."""
    if factor <= 1:
        return (round(colour[0] * factor), round(colour[1] * factor), round(colour[2] * factor))
    lift = factor - 1
    return (
        round(colour[0] + (255 - colour[0]) * lift),
        round(colour[1] + (255 - colour[1]) * lift),
        round(colour[2] + (255 - colour[2]) * lift),
    )


def disc(x: float, y: float, rx: float, ry: float | None = None, count: int = 36) -> list[Point]:
    """The outline of an ellipse as `count` points."""
    ry = rx if ry is None else ry
    turn = 2 * math.pi / count
    return [(x + rx * math.cos(i * turn), y + ry * math.sin(i * turn)) for i in range(count)]


@dataclass(frozen=True)
class Frame:
    """Maps the square [-1, 1] x [-1, 1], y down, to a place on the canvas, turned by `angle`."""

    x: float
    y: float
    r: float
    angle: float = 0.0  # radians, clockwise

    def at(self, points: Sequence[Point]) -> list[Point]:
        """The points in canvas units."""
        cos, sin = self.r * math.cos(self.angle), self.r * math.sin(self.angle)
        return [(self.x + px * cos - py * sin, self.y + px * sin + py * cos) for px, py in points]


class Canvas:
    """Draws in units of the picture's side: (0, 0) is the upper left corner, (1, 1) the lower right."""

    def __init__(self, size: int, background: Rgb, *, maps: bool = False) -> None:
        """With `maps`, class ids and depths (0 far, 255 near) are drawn along; see `mark`."""
        self._side = side = size * OVERSAMPLING
        self._image = Image.new("RGB", (side, side), background)
        self._draw = ImageDraw.Draw(self._image)
        self._classes = Image.new("L", (side, side), 0) if maps else None
        self._depth = Image.new("L", (side, side), 0) if maps else None
        self._maps = (
            [(ImageDraw.Draw(self._classes), 0), (ImageDraw.Draw(self._depth), 0)]
            if self._classes and self._depth
            else []
        )

    def mark(self, class_id: int, depth: int) -> None:
        """What is drawn from here on belongs to this class and lies at this depth."""
        self._maps = [(self._maps[0][0], class_id), (self._maps[1][0], depth)] if self._maps else []

    def polygon(self, points: Sequence[Point], colour: Rgb) -> None:
        """Fills the outline."""
        side = self._side
        flat = [value * side for point in points for value in point]
        self._draw.polygon(flat, fill=colour)
        for draw, value in self._maps:
            draw.polygon(flat, fill=value)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Rgb) -> None:
        """Fills an upright rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def limb(self, a: Point, b: Point, width: float, colour: Rgb, end: float | None = None) -> None:
        """A thick line with round ends, `width` wide at `a` and `end` at `b`."""
        ra, rb = width / 2, (width if end is None else end) / 2
        length = math.hypot(b[0] - a[0], b[1] - a[1]) or 1e-6
        nx, ny = (a[1] - b[1]) / length, (b[0] - a[0]) / length
        self.polygon(
            [
                (a[0] + nx * ra, a[1] + ny * ra),
                (b[0] + nx * rb, b[1] + ny * rb),
                (b[0] - nx * rb, b[1] - ny * rb),
                (a[0] - nx * ra, a[1] - ny * ra),
            ],
            colour,
        )
        self.polygon(disc(*a, ra, count=16), colour)
        self.polygon(disc(*b, rb, count=16), colour)

    def picture(self) -> Image.Image:
        """The picture, reduced to its size."""
        return self._image.reduce(OVERSAMPLING)

    def classes(self) -> Image.Image | None:
        """The class of each pixel, when maps were asked for."""
        return self._reduced(self._classes)

    def depth(self) -> Image.Image | None:
        """The depth of each pixel, when maps were asked for."""
        return self._reduced(self._depth)

    def _reduced(self, image: Image.Image | None) -> Image.Image | None:
        if image is None:
            return None
        size = self._side // OVERSAMPLING
        return image.resize((size, size), Image.Resampling.NEAREST)
