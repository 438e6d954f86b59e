"""Tells whether a picture is a control map already, from the statistics of its colours.

A map is taken as it is. So a wrong yes would spoil the picture, while a wrong no only has a map of a
map made: each rule is on the careful side.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.control.maps import CANNY, DEPTH, OPENPOSE, SEGMENTATION, Skeleton
from engine.control.openpose import COLOURS, LIMB_BRIGHTNESS
from engine.control.segmentation import PALETTE

_LARGEST = 1024  # pixels; a larger picture is looked at in every second or third pixel
_BLACK = 24
_NEAR = 60.0  # distance in RGB of what JPEG leaves of a colour
_GREY = 14  # largest difference of the channels of a pixel without a colour
_SKELETON_BACKGROUND = 0.7
_SKELETON_COLOURS = 5
_STROKE = 7  # side of a square that no edge or line covers, in pixels
_SMOOTH = 3.0  # grey levels from a pixel to the next one, in the mean
_LEAST_LEVELS = 32
_LEAST_SPAN = 60
_MANY_CLASSES = 2
_LEAST_POINTS = 8


def recognise(image: Image.Image) -> str | None:
    """Returns which kind of control map the picture is, one of `maps.KINDS`, or None for none."""
    pixels = _sample(image)
    if _is_skeleton(pixels):
        return OPENPOSE
    if _is_grey(pixels):
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if _is_lines(gray):
            return CANNY
        return DEPTH if _is_depth(gray) else None
    return SEGMENTATION if _is_segmentation(pixels) else None


def is_grey(image: Image.Image) -> bool:
    """True for a picture without colours, as every depth map is."""
    return _is_grey(_sample(image))


def read_skeleton(image: Image.Image) -> Skeleton | None:
    """Returns the joints of a picture of one skeleton; None when they cannot be told.

    Each joint is a disc in its own colour, so its place is the middle of what has that colour. With
    the joints known, the skeleton can be drawn anew in another size without becoming too thin.
    """
    pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    labels = _labels(pixels)
    points: list[tuple[float, float] | None] = []
    for joint in range(len(COLOURS)):
        count, _, stats, middles = cv2.connectedComponentsWithStats(
            (labels == joint).astype(np.uint8), connectivity=8
        )
        areas = stats[1:count, cv2.CC_STAT_AREA]
        if not len(areas):
            points.append(None)
            continue
        largest = int(areas.argmax())
        if np.sum(areas > areas[largest] * 0.5) > 1:  # several people
            return None
        x, y = middles[largest + 1]
        points.append((float(min(x, width - 1)), float(min(y, height - 1))))
    found = sum(point is not None for point in points)
    return tuple(points) if found >= _LEAST_POINTS else None


def _sample(image: Image.Image) -> NDArray[np.uint8]:
    step = -(-max(image.size) // _LARGEST)
    return np.asarray(image.convert("RGB"))[::step, ::step]


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    spread = pixels.max(axis=2).astype(int) - pixels.min(axis=2)
    return float(np.mean(spread <= _GREY)) > 0.995


def _labels(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Returns of each pixel the joint whose colour it has; the limb's number + 18; or -1."""
    full = np.array(COLOURS, np.float32)
    palette = np.concatenate([full, full * LIMB_BRIGHTNESS])
    labels = np.full(pixels.shape[:2], -1, np.int16)
    coloured = pixels.max(axis=2) > _BLACK
    distances = np.linalg.norm(
        pixels[coloured].astype(np.float32)[:, None] - palette[None], axis=2
    )  # (pixels, 36)
    nearest = distances.argmin(axis=1)
    labels[coloured] = np.where(distances.min(axis=1) < _NEAR, nearest, -1)
    return labels


def _is_skeleton(pixels: NDArray[np.uint8]) -> bool:
    coloured = pixels.max(axis=2) > _BLACK
    share = float(coloured.mean())
    if not 0.001 < share < 1 - _SKELETON_BACKGROUND:
        return False
    labels = _labels(pixels)[coloured]
    known = labels[labels >= 0]
    if known.size < 0.75 * labels.size:
        return False
    counts = np.bincount(known % len(COLOURS), minlength=len(COLOURS))
    return int(np.sum(counts > 0.01 * known.size)) >= _SKELETON_COLOURS


def _is_lines(gray: NDArray[Any]) -> bool:
    """True for thin light lines on black."""
    light = gray > 160
    share = float(light.mean())
    if not 0.002 < share < 0.3 or float(np.mean(gray < 48)) < 0.6:
        return False
    thick = cv2.erode(light.astype(np.uint8), np.ones((_STROKE, _STROKE), np.uint8))
    return float(thick.sum()) < 0.05 * float(light.sum())


def _is_depth(gray: NDArray[Any]) -> bool:
    """True for many levels of grey in smooth areas; photographs have textures."""
    low, high = np.percentile(gray, (2, 98))
    shares = np.bincount(gray.ravel(), minlength=256) / gray.size
    if high - low < _LEAST_SPAN or np.sum(shares > 0.001) < _LEAST_LEVELS:
        return False  # a drawing has few levels, whatever its soft edges add
    levels = gray.astype(np.int16)
    across = np.abs(np.diff(levels, axis=1))
    down = np.abs(np.diff(levels, axis=0))
    if max(float(across.mean()), float(down.mean())) > _SMOOTH:
        return False
    return max(float(np.mean(across > 12)), float(np.mean(down > 12))) < 0.04


def _is_segmentation(pixels: NDArray[np.uint8]) -> bool:
    """True when nearly everything has exactly a colour of the palette, in areas and not in specks."""
    colours, counts = np.unique(_packed(pixels), return_counts=True)
    inside = counts[np.isin(colours, _packed(PALETTE))]
    total = int(counts.sum())
    large = int(np.sum(inside > 0.005 * total))
    return int(inside.sum()) > 0.97 * total and large >= _MANY_CLASSES


def _packed(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Returns each R, G, B of the last axis as one number."""
    red, green, blue = np.moveaxis(colours.astype(np.int64), -1, 0)
    packed: NDArray[np.int64] = (red << 16) + (green << 8) + blue
    return packed
