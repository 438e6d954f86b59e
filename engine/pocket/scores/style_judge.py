"""Tells styles apart and reads styled objects, from statistics of the pixels and the renderer's own pictures.

Nothing here saw a picture of a trained style: the judge learns from rendered pictures behind the styles' filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.pocket.drawing import COLOURS, Canvas, Frame
from engine.pocket.filters import STYLES, luminance, pixels_of
from engine.pocket.objects import draw_object
from engine.pocket.reading import background_of
from engine.pocket.scenes import SIZE

Vector = NDArray[np.float64]
Pixels = NDArray[np.float32]

BASE = "base"
"""The name of no style."""

SHRINKAGE = 0.05  # of the common covariance towards its diagonal
COMMON = 0.15  # of each class's covariance towards the common one
RADII = (0.17, 0.28, 0.38)  # of the templates; the nearest to the object's size is taken
DIFFERENT = 50.0  # RGB distance from which a pixel is not the style's empty background
OFF = 48.0  # most that the tone of a background may be off, each channel
FRAME = 40


def statistics(image: Image.Image) -> Vector:
    """Tone, colour, edges and direction of a picture in some twenty numbers."""
    pixels = pixels_of(image)
    grey = luminance(pixels)
    chroma = (pixels.max(-1) - pixels.min(-1)) / 255
    rows, columns = np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1]
    slope = np.hypot(rows, columns)
    height, width = grey.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    corners = np.hypot(x, y) > 1.15
    border = np.concatenate([grey[:3].ravel(), grey[-3:].ravel(), grey[:, :3].ravel()])
    red, green, blue = pixels.reshape(-1, 3).mean(0) / 255
    return np.array([
        *np.quantile(grey, (0.05, 0.25, 0.5, 0.75, 0.95)),
        grey.mean(), grey.std(), border.mean(), border.std(),
        grey[corners].mean() - grey[~corners].mean(),
        chroma.mean(), chroma.std(), *np.quantile(chroma, (0.5, 0.9)),
        red - green, green - blue,
        (grey < 0.12).mean(), (grey > 0.85).mean(),
        slope.mean(), (slope > 0.05).mean(),
        (rows * columns).mean() * 100,  # strokes along one diagonal
        np.abs(grey[8:, 8:] - grey[:-8, :-8]).mean(),
    ])  # fmt: skip


@dataclass(frozen=True)
class StyleJudge:
    """Regularised discriminant analysis (Friedman 1989) of the statistics: the likeliest of Gaussian classes.

    The base's pictures vary far more than those of a style, so each class has its own covariance, moved
    towards the common one since it is learned from few pictures.
    """

    names: tuple[str, ...]
    means: NDArray[np.float64]  # (classes, statistics)
    whiten: NDArray[np.float64]  # (statistics, statistics), to unit covariance within the classes
    class_whiten: NDArray[np.float64]  # (classes, statistics, statistics)

    @classmethod
    def learn(cls, examples: Mapping[str, Sequence[Image.Image]]) -> StyleJudge:
        """Learns from pictures by style; at least two of each."""
        rows = [np.stack([statistics(picture) for picture in some]) for some in examples.values()]
        scatters = [np.cov(each, rowvar=False) for each in rows]
        common = np.mean(scatters, axis=0)
        common = common + SHRINKAGE * np.diag(np.diag(common)) + 1e-7 * np.eye(len(common))
        own = [(1 - COMMON) * scatter + COMMON * common for scatter in scatters]
        return cls(
            tuple(examples),
            np.stack([each.mean(0) for each in rows]),
            np.asarray(np.linalg.cholesky(np.linalg.inv(common)), dtype=np.float64),
            np.stack([np.linalg.cholesky(np.linalg.inv(each)) for each in own]),
        )

    def whitened(self, image: Image.Image) -> Vector:
        """The picture's statistics in units of the spread within a style."""
        return np.asarray(statistics(image) @ self.whiten)

    def judge(self, image: Image.Image) -> str:
        """The style that the picture is in."""
        away = np.einsum("cs,cst->ct", statistics(image) - self.means, self.class_whiten)
        log_volume = np.log(np.diagonal(self.class_whiten, axis1=1, axis2=2)).sum(-1)
        return self.names[int((log_volume - 0.5 * np.square(away).sum(-1)).argmax())]


def shares_of(change: Vector, first: Vector, second: Vector) -> tuple[float, float]:
    """How much of each of two directions is in a change: least squares, so what both have counts once."""
    shares, *_ = np.linalg.lstsq(np.stack([first, second], axis=1), change, rcond=None)
    return float(shares[0]), float(shares[1])


def kind_of(
    image: Image.Image, style: str, colour: str, background: str, kinds: Sequence[str]
) -> str:
    """The kind whose picture in the style is most like this one; empty where there is no object."""
    return _nearest(image, style, background, [(kind, colour, kind) for kind in kinds])


def colour_of(image: Image.Image, style: str, kind: str, background: str) -> str:
    """The colour whose picture in the style is most like this one; empty where there is no object."""
    return _nearest(image, style, background, [(kind, colour, colour) for colour in COLOURS])


def _nearest(
    image: Image.Image, style: str, background: str, options: Sequence[tuple[str, str, str]]
) -> str:
    """The word of the option (kind, colour, word) that fits the picture best."""
    pixels = pixels_of(image)
    empty = _empty(style, background)
    seen = _framed(pixels, empty)
    if seen is None:
        return ""
    framed, side = seen
    radius = min(RADII, key=lambda r: abs(2 * r * SIZE - side))
    best, found = np.inf, ""
    for kind, colour, word in options:
        template = _template(style, kind, colour, background, radius)
        error = np.inf if template is None else float(np.abs(framed - template).mean())
        if error < best:
            best, found = error, word
    return found


def _look(style: str) -> Callable[[Image.Image], Image.Image]:
    return STYLES[style].look if style != BASE else lambda image: image


@lru_cache(maxsize=256)
def _empty(style: str, background: str) -> Pixels:
    return pixels_of(_look(style)(Canvas(SIZE, COLOURS[background]).picture()))


@lru_cache(maxsize=4096)
def _template(style: str, kind: str, colour: str, background: str, radius: float) -> Pixels | None:
    canvas = Canvas(SIZE, COLOURS[background])
    draw_object(canvas, kind, Frame(0.5, 0.5, radius), COLOURS[colour])
    framed = _framed(pixels_of(_look(style)(canvas.picture())), _empty(style, background))
    return None if framed is None else framed[0]


def _framed(pixels: Pixels, empty: Pixels) -> tuple[Pixels, int] | None:
    """What differs from the empty background, as (FRAME, FRAME, 3) in a square, and the side of that square.

    A model's black or paper is a little off, so the empty background takes on the picture's tone at the border.
    Rows and columns with very few such pixels are specks and do not widen the square.
    """
    shift = np.clip(background_of(pixels) - background_of(empty), -OFF, OFF)
    empty = empty + shift
    mask = np.sqrt(np.square(pixels - empty).sum(-1)) > DIFFERENT
    rows, columns = (np.flatnonzero(mask.sum(axis) > 2) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = int(max(bottom - top, right - left))
    y, x = (top + bottom - side) // 2, (left + right - side) // 2
    image = Image.fromarray(pixels.round().astype(np.uint8)).crop((x, y, x + side, y + side))
    return np.asarray(image.resize((FRAME, FRAME), Image.Resampling.BILINEAR), np.float32), side
