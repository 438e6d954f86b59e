"""Where a drawn person's limbs are: by the colours of the clothes, and by a pose detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from engine.control.openpose import JOINTS, Point
from engine.pocket.drawing import COLOURS
from engine.pocket.people import SKINS, sleeve_colour
from engine.pocket.reading import PALETTE
from engine.pocket.scenes import SIZE, Scene
from engine.worker.detectors import detect_poses, load_pose_detector

NEAR = 0.08  # of the picture's height: a joint is where it was asked for
ALONG = np.linspace(0.1, 0.8, 8)  # where a limb is looked at; its ends are hands and seams

Points = Sequence[Point | None]

GARMENTS = {
    "shirt": [
        ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
        ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
        ("right_shoulder", "right_hip"), ("left_shoulder", "left_hip"),
    ],
    "trousers": [
        ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
        ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ],
}  # fmt: skip


def joints_found(detector: Path, pictures: Sequence[Image.Image]) -> list[Points]:
    """The 18 points of the one person in each picture, in pixels."""
    return [people[0].points for people in detect_poses(load_pose_detector(detector), pictures)]


def joints_near(found: Points, asked: Points, height: int = SIZE) -> tuple[int, int]:
    """How many joints were found within `NEAR` of their places, and how many lie in the picture."""
    right = visible = 0
    for point, place in zip(found, asked, strict=True):
        if place is None or not all(0 <= value < height for value in place):
            continue
        visible += 1
        if point is not None:
            right += float(np.hypot(point[0] - place[0], point[1] - place[1])) <= NEAR * height
    return right, visible


def limbs_dressed(picture: Image.Image, scene: Scene, points: Points) -> tuple[int, int]:
    """At how many places along the limbs the picture has the garment's colour, and how many there are.

    A pixel has the colour that it is nearest to: one of the palette, a sleeve's, or one of skin.
    """
    person = scene.person
    if person is None:
        raise ValueError("A scene without a person has no limbs.")
    place = dict(zip(JOINTS, points, strict=True))
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    height, width = pixels.shape[:2]
    names = (*COLOURS, person.shirt, *["skin"] * len(SKINS))
    colours = np.array([*PALETTE, sleeve_colour(person.shirt), *SKINS], dtype=np.float32)
    right = asked = 0
    for garment, limbs in GARMENTS.items():
        wanted = person.shirt if garment == "shirt" else person.trousers
        for first, second in limbs:
            a, b = place[first], place[second]
            if a is None or b is None:
                continue
            for x, y in np.outer(1 - ALONG, a) + np.outer(ALONG, b):
                if 0 <= x < width and 0 <= y < height:
                    distance = np.square(pixels[int(y), int(x)] - colours).sum(axis=-1)
                    right += names[int(distance.argmin())] == wanted
                    asked += 1
    return right, asked
