"""Outlines of a picture, white on black: Canny edges, and lines as if drawn by hand."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOW, HIGH = 100, 200
"""The thresholds that the public Canny ControlNets are used with."""

_PAPER = 160  # the median of a drawing on white paper is lighter than that
_THICKEST = 32  # share of a drawing's side that no line of it is as wide as
_CALM = 5  # side of the filter that takes textures away, in pixels
_LINE_SIDE, _SCRIBBLE_SIDE = 512, 128  # a line is a pixel wide at this side of the picture


def canny(image: Image.Image) -> Image.Image:
    """The edges of a decoded picture, as an RGB picture of the same size: 255 on an edge, else 0."""
    gray = cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2GRAY)
    return Image.fromarray(cv2.Canny(gray, LOW, HIGH)).convert("RGB")


def lineart(image: Image.Image) -> Image.Image:
    """The main outlines as soft lines, RGB; dark lines on paper become white ones on black."""
    soft = cv2.GaussianBlur(_lines(image, _LINE_SIDE), (3, 3), 0)
    return Image.fromarray(cv2.convertScaleAbs(soft, alpha=2)).convert("RGB")


def scribble(image: Image.Image) -> Image.Image:
    """The same as thick strokes without detail."""
    return Image.fromarray(_lines(image, _SCRIBBLE_SIDE)).convert("RGB")


def _lines(image: Image.Image, side: int) -> NDArray[Any]:
    """Returns the outlines (H, W), 255 on a line, else 0; a pixel wide where `side` pixels are."""
    gray = cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2GRAY)
    if np.median(gray) > _PAPER and _is_drawing(gray):
        lines: NDArray[Any] = cv2.threshold(
            255 - gray, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU
        )[1]
    else:
        calm = cv2.bilateralFilter(gray, _CALM, 60, _CALM)
        lines = cv2.Canny(calm, LOW / 2, HIGH / 2)
    width = max(round(min(gray.shape) / side), 1)
    if width > 1:
        lines = cv2.dilate(lines, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return lines


def _is_drawing(gray: NDArray[Any]) -> bool:
    """True for thin dark lines on light paper: little of it is dark, and next to nothing is grey."""
    dark = gray < 96
    middle = float(np.mean((gray >= 96) & (gray < 200)))
    side = max(min(gray.shape) // _THICKEST, 3)
    filled = cv2.erode(dark.astype(np.uint8), np.ones((side, side), np.uint8))
    is_thin = float(filled.sum()) < 0.05 * float(dark.sum())
    return 0.002 < float(dark.mean()) < 0.25 and middle < 0.15 and is_thin
