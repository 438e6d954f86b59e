"""Canny edges: the outlines of a picture, white on black."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

LOW, HIGH = 100, 200
"""The thresholds that the public Canny ControlNets are used with."""


def canny(image: Image.Image) -> Image.Image:
    """The edges of a decoded picture, as an RGB picture of the same size: 255 on an edge, else 0."""
    gray = cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2GRAY)
    return Image.fromarray(cv2.Canny(gray, LOW, HIGH)).convert("RGB")
