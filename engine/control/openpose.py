"""OpenPose's 18 points and the picture of them that pose ControlNets are trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Point = tuple[float, float]
"""x to the right and y down, in pixels."""

Rgb = tuple[int, int, int]

JOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
"""The order of OpenPose's 18 points. Right and left are the person's own."""

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of places in `JOINTS` that are joined; the i-th has the i-th colour."""

COLOURS: tuple[Rgb, ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""One for each joint, by hue."""

FROM_COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""Which of COCO's 17 points each joint is; COCO has no neck."""

LIMB_BRIGHTNESS = 0.6
STANDARD_WIDTH = 4  # half the width of a limb and the radius of a joint, in pixels
STANDARD_SIDE = 512  # of the pictures that this width was chosen for
LEAST_WIDTH = 2  # thinner lines get lost where a ControlNet reduces its hint to an eighth


def half_width(width: int, height: int) -> int:
    """Half the width of limbs, and the radius of joints, for a picture of this size, in pixels."""
    side = min(width, height, STANDARD_SIDE)
    return max(LEAST_WIDTH, round(STANDARD_WIDTH * side / STANDARD_SIDE))


def draw_skeleton(
    points: Sequence[Point | None], width: int, height: int, thickness: int | None = None
) -> Image.Image:
    """Draws one person's points as the preprocessors of the public ControlNets do.

    On black, each limb is a filled ellipse in 0.6 of its colour, over them each joint a disc in its
    full colour.

    Args:
        points: One for each of `JOINTS`, in pixels; None where it is not known. Limbs need both ends.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        thickness: Half the width of limbs and the radius of joints, in pixels. By default the
            standard 4 where both sides are 512 or more, less in proportion for smaller pictures,
            and at least 2.

    Returns:
        An RGB picture.

    Raises:
        ValueError: There are not 18 points.
    """
    return draw_skeletons([points], width, height, thickness)


def draw_skeletons(
    people: Sequence[Sequence[Point | None]], width: int, height: int, thickness: int | None = None
) -> Image.Image:
    """Draws several people into one picture; see `draw_skeleton`."""
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    radius = thickness or half_width(width, height)
    for points in people:
        if len(points) != len(JOINTS):
            raise ValueError(f"A skeleton has {len(JOINTS)} points, not {len(points)}.")
        _draw_limbs(canvas, points, radius)
    for points in people:
        for point, colour in zip(points, COLOURS, strict=True):
            if point:
                cv2.circle(canvas, (int(point[0]), int(point[1])), radius, colour, thickness=-1)
    return Image.fromarray(canvas)


def _draw_limbs(canvas: NDArray[np.uint8], points: Sequence[Point | None], radius: int) -> None:
    for (first, second), colour in zip(LIMBS, COLOURS, strict=False):
        a, b = points[first], points[second]
        if not a or not b:
            continue
        length = math.hypot(a[0] - b[0], a[1] - b[1])
        angle = math.degrees(math.atan2(a[1] - b[1], a[0] - b[0]))
        middle = (int((a[0] + b[0]) / 2), int((a[1] + b[1]) / 2))
        outline = cv2.ellipse2Poly(middle, (int(length / 2), radius), int(angle), 0, 360, 1)
        dark = tuple(int(value * LIMB_BRIGHTNESS) for value in colour)
        cv2.fillConvexPoly(canvas, np.asarray(outline), dark)


def from_coco(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], threshold: float
) -> tuple[Point | None, ...]:
    """Reorders the points that COCO's pose detectors give.

    Args:
        keypoints: x and y of COCO's 17 points, in pixels, (17, 2).
        scores: How sure the detector is of each, (17,).
        threshold: Points below it are left out.

    Returns:
        18 points in the order of `JOINTS`; the neck is the middle of the shoulders, if both are known.

    Raises:
        ValueError: The arrays do not have these shapes.
    """
    if keypoints.shape != (17, 2) or scores.shape != (17,):
        raise ValueError(
            f"COCO has 17 points of two coordinates, not {keypoints.shape} with scores {scores.shape}."
        )
    known: list[Point | None] = [
        (float(x), float(y)) if score >= threshold else None
        for (x, y), score in zip(keypoints, scores, strict=True)
    ]
    left, right = known[5], known[6]
    neck = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2) if left and right else None
    return tuple(neck if place is None else known[place] for place in FROM_COCO)
