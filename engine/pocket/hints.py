"""The control pictures of a scene, from what the renderer knows of it."""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image

from engine.control.edges import canny
from engine.control.openpose import Point, draw_skeleton
from engine.control.segmentation import ADE20K
from engine.pocket.objects import KINDS, SHAPES
from engine.pocket.people import PERSON_CLASSES
from engine.pocket.scenes import SETTING_CLASSES, SIZE, Scene, render

MIXES: dict[str, dict[str, float]] = {
    "openpose": {"person": 1},
    "canny": {"single": 2, "thing": 3, "setting": 1, "pair": 2, "person": 3},
    "depth": {"single": 2, "thing": 3, "setting": 1, "pair": 2, "person": 3},
    "segmentation": {"single": 2, "thing": 3, "setting": 2, "pair": 2, "person": 3},
}
"""The kinds of control, and how often each category of scene is shown to them."""

INCOMPLETE_POSES = 0.15  # of the skeletons: a detector does not find every joint
MISSING_JOINTS = 0.2  # of the joints of an incomplete one

_ADE_NAMES = {"fish": "animal", "cat": "animal"}  # ADE20K's names, where they are others
_NAMES = {0: "wall"}  # a plain background
_NAMES |= {
    i + 1: "signboard" if kind in SHAPES else _ADE_NAMES.get(kind, kind)
    for i, kind in enumerate(KINDS)
}
_NAMES |= dict.fromkeys(PERSON_CLASSES.values(), "person")
_NAMES |= {number: name for name, number in SETTING_CLASSES.items()}
_COLOUR_OF_CLASS = np.zeros((256, 3), dtype=np.uint8)
for _number, _name in _NAMES.items():
    _COLOUR_OF_CLASS[_number] = ADE20K[_name]


def hint_of(kind: str, scene: Scene, rng: Random | None = None) -> Image.Image:
    """The control picture of a scene, RGB, `SIZE` x `SIZE`.

    Args:
        kind: One of `MIXES`.
        scene: With a person for "openpose".
        rng: Leaves out joints now and then, as in training; without it every joint is drawn.

    Raises:
        ValueError: No such kind, or no person to draw the skeleton of.
    """
    if kind == "openpose":
        return draw_skeleton(skeleton_of(scene, rng), SIZE, SIZE)
    if kind == "canny":
        return canny(render(scene).image)
    drawing = render(scene, maps=True)
    if kind == "depth" and drawing.depth:
        return drawing.depth.convert("RGB")
    if kind == "segmentation" and drawing.classes:
        return Image.fromarray(_COLOUR_OF_CLASS[np.asarray(drawing.classes)])
    raise ValueError(f"There is no control {kind!r}, only {', '.join(MIXES)}.")


def skeleton_of(scene: Scene, rng: Random | None = None) -> list[Point | None]:
    """The 18 points of the scene's person, in pixels; with `rng` some are missing now and then."""
    if scene.person is None:
        raise ValueError("A scene without a person has no skeleton.")
    points: list[Point | None] = [(x * SIZE, y * SIZE) for x, y in scene.person.joints]
    if rng and rng.random() < INCOMPLETE_POSES:
        points = [point if rng.random() > MISSING_JOINTS else None for point in points]
    return points
