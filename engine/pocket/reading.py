"""Reads background, colour and kind of an object from the pixels of a picture, without any network.

Analysis by synthesis: what differs from the border is the object; it is compared with every kind in
every colour that it holds, drawn by the renderer on the same background and brought to the same frame.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.pocket.drawing import COLOURS, Canvas, Frame
from engine.pocket.objects import KINDS, SHAPES, draw_object

NAMES = tuple(COLOURS)
PALETTE = np.array([COLOURS[name] for name in NAMES], dtype=np.float32)
DIFFERENT = 55.0  # RGB distance from which a pixel is not the background
FRAME = 40  # side of the pictures that are compared
ANGLES = (-0.12, 0.0, 0.12)

Mask = NDArray[np.bool_]
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """What a picture shows; `kind` and `colour` are empty where there is nothing but background."""

    background: str
    colour: str
    kind: str


def nearest_colours(pixels: Pixels) -> NDArray[np.intp]:
    """The nearest palette entry of each pixel (..., 3)."""
    distance = np.square(pixels[..., None, :] - PALETTE).sum(axis=-1)
    return np.asarray(distance.argmin(axis=-1))


def background_of(pixels: Pixels) -> Pixels:
    """The median colour of the border, three pixels wide."""
    border = np.concatenate(
        [
            pixels[:3].reshape(-1, 3),
            pixels[-3:].reshape(-1, 3),
            pixels[:, :3].reshape(-1, 3),
            pixels[:, -3:].reshape(-1, 3),
        ]
    )
    return np.asarray(np.median(border, axis=0), dtype=np.float32)


def mask_of(image: Image.Image) -> Mask:
    """Where the object of a picture with a plain background is."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return object_mask(pixels, background_of(pixels))


def object_mask(pixels: Pixels, background: Pixels) -> Mask:
    """The largest connected area that differs from the background."""
    return largest_area(np.sqrt(np.square(pixels - background).sum(axis=-1)) > DIFFERENT)


def largest_area(mask: Mask) -> Mask:
    """The largest 4-connected area of a mask; all False when there is none."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        grown = np.pad(labels, 1)
        grown = np.max(
            [
                grown[1:-1, 1:-1],
                grown[:-2, 1:-1],
                grown[2:, 1:-1],
                grown[1:-1, :-2],
                grown[1:-1, 2:],
            ],
            axis=0,
        )
        grown[~mask] = 0
        if np.array_equal(grown, labels):
            break
        labels = grown
    if not mask.any():
        return mask
    ids, sizes = np.unique(labels[mask], return_counts=True)
    return np.asarray(labels == ids[sizes.argmax()])


def _framed(pixels: Pixels, mask: Mask, background: Pixels) -> Pixels:
    """The object's bounding box, centred in a square of the background, as (FRAME, FRAME, 3)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left)
    square = np.broadcast_to(background, (side, side, 3)).copy()
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    box = mask[top:bottom, left:right, None]
    inside = np.where(box, pixels[top:bottom, left:right], background)
    square[y : y + bottom - top, x : x + right - left] = inside
    image = Image.fromarray(square.round().astype(np.uint8))
    scaled = image.resize((FRAME, FRAME), Image.Resampling.BOX if side > FRAME else None)
    return np.asarray(scaled, dtype=np.float32)


@lru_cache(maxsize=20_000)
def _template(kind: str, colour: str, background: str, angle: float) -> Pixels | None:
    canvas = Canvas(64, COLOURS[background])
    draw_object(canvas, kind, Frame(0.5, 0.5, 0.42, angle), COLOURS[colour])
    pixels = np.asarray(canvas.picture(), dtype=np.float32)
    base = np.array(COLOURS[background], dtype=np.float32)
    mask = object_mask(pixels, base)
    return _framed(pixels, mask, base) if mask.any() else None


def read(image: Image.Image, kinds: tuple[str, ...] = KINDS) -> Reading:
    """Reads a picture of one object before a plain background."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    base = background_of(pixels)
    background = NAMES[int(nearest_colours(base))]
    mask = object_mask(pixels, base)
    if mask.sum() < 30:
        return Reading(background, "", "")
    counts = Counter(nearest_colours(pixels[mask]).tolist())
    present = [NAMES[i] for i, n in counts.items() if n >= 0.1 * mask.sum()]
    present = [name for name in present if name != background] or [background]
    seen = _framed(pixels, mask, base)
    best, found = np.inf, Reading(background, "", "")
    for kind in kinds:
        colours = [NAMES[counts.most_common(1)[0][0]]] if kind in SHAPES else present
        for colour in colours:
            for angle in ANGLES:
                template = _template(kind, colour, background, angle)
                if template is None:
                    continue
                error = float(np.abs(seen - template).mean())
                if error < best:
                    best, found = error, Reading(background, colour, kind)
    return found


def halves(image: Image.Image, relation: str) -> tuple[Image.Image, Image.Image]:
    """The two halves of a picture of two objects: left and right, or upper and lower."""
    width, height = image.size
    if relation == "above":
        return image.crop((0, 0, width, height // 2)), image.crop((0, height // 2, width, height))
    return image.crop((0, 0, width // 2, height)), image.crop((width // 2, 0, width, height))
