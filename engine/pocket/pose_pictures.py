"""Pictures of people with COCO's 17 points: what the pose detector learns from."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from engine.control.openpose import JOINTS
from engine.pocket.people import Person
from engine.pocket.scenes import SIZE, Scene, render, sample_scene

COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""COCO's 17 points, in their order; right and left are the person's own."""

FROM_OPENPOSE = [JOINTS.index(name) for name in COCO]
_SWAP = {"left": "right", "right": "left"}
MIRRORED = [
    COCO.index("_".join(_SWAP.get(word, word) for word in name.split("_"))) for name in COCO
]
"""Which point each of `COCO` is when the picture is seen in a mirror."""

PEOPLE = 0.94
"""Share of pictures with a person; from the others the detector learns to find nobody."""

PLAIN_UNTIL = 12_000
"""Samples over which the clean pictures of the beginning become fewer."""

Box = tuple[float, float, float, float]
"""x, y, width and height in pixels, as COCO and transformers have it."""


@dataclass(frozen=True)
class Example:
    """A picture, its points (17, 2) in pixels, and which of them can be seen (17,)."""

    image: Image.Image
    points: NDArray[np.float32]
    seen: NDArray[np.bool_]


def draw_example(rng: Random) -> Example:
    """Draws a clean picture: mostly a person, at times turned, of another size or partly outside."""
    if rng.random() >= PEOPLE:
        return example_of(sample_scene(rng, rng.choice(("single", "thing", "setting", "pair"))))
    scene = sample_scene(rng, "person")
    person = scene.person
    if person and rng.random() < 0.5:
        scene = replace(scene, person=moved(person, rng))
    return example_of(scene)


def example_of(scene: Scene) -> Example:
    """Renders the scene, without a person as well as with one."""
    drawing = render(scene)
    if drawing.joints is None:
        return Example(drawing.image, np.zeros((17, 2), np.float32), np.zeros(17, bool))
    points = np.array([drawing.joints[i] for i in FROM_OPENPOSE], np.float32)
    seen = np.logical_and(points >= 0, points < SIZE).all(axis=1)
    return Example(drawing.image, points, np.asarray(seen))


def moved(person: Person, rng: Random) -> Person:
    """The person turned by up to 15 degrees, 0.6 to 1.4 times as large, and up to a quarter aside."""
    turn, scale = math.radians(rng.uniform(-15, 15)), rng.uniform(0.6, 1.4)
    dx, dy = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25)
    names = [JOINTS.index("right_hip"), JOINTS.index("left_hip")]
    x0, y0 = (sum(person.joints[i][axis] for i in names) / 2 for axis in (0, 1))
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    joints = tuple(
        (
            x0 + dx + cos * (x - x0) - sin * (y - y0),
            y0 + dy + sin * (x - x0) + cos * (y - y0),
        )
        for x, y in person.joints
    )
    return replace(person, joints=joints, height=person.height * scale)


def mirrored(example: Example) -> Example:
    """The example in a mirror: right and left are exchanged."""
    points = example.points[MIRRORED].copy()
    points[:, 0] = example.image.width - points[:, 0]
    image = example.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Example(image, points, example.seen[MIRRORED])


def worn(image: Image.Image, rng: Random) -> Image.Image:
    """The picture as a camera, a JPEG or a small diffusion model may leave it.

    Other brightness, contrast and tint; soft edges; noise, fine or in patches; artefacts of JPEG.
    """
    if rng.random() < 0.6:
        gains = [rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08) for _ in range(3)]
        lift = rng.uniform(-18, 18)
        table = [min(max(round(v * gain + lift), 0), 255) for gain in gains for v in range(256)]
        image = image.point(table)
    if rng.random() < 0.35:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.7)))
    elif rng.random() < 0.3:
        side = rng.randint(44, 110)
        small = image.resize((side, side), Image.Resampling.BILINEAR)
        image = small.resize(image.size, Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        image = _noisy(image, rng, rng.choice((8, 16, 32)), rng.uniform(4, 22))
    if rng.random() < 0.3:
        image = _noisy(image, rng, image.width, rng.uniform(2, 14))
    if rng.random() < 0.25:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=rng.randint(18, 80))
        image = Image.open(buffer)
        image.load()
    return image


def _noisy(image: Image.Image, rng: Random, side: int, sigma: float) -> Image.Image:
    """Adds noise in `side` x `side` patches with this deviation of 255."""
    generator = np.random.default_rng(rng.getrandbits(32))
    noise = generator.normal(128, sigma, (side, side, 3)).clip(0, 255).astype(np.uint8)
    layer = Image.fromarray(noise).resize(image.size, Image.Resampling.BICUBIC)
    return ImageChops.add(image, layer, 1, -128)


def person_box(example: Example, rng: Random) -> Box:
    """The whole picture, or now and then a box around what is seen of the person, a little off."""
    width, height = example.image.size
    if rng.random() < 0.75 or example.seen.sum() < 6:
        return (0, 0, width, height)
    (x0, y0), (x1, y1) = (f(example.points[example.seen], axis=0) for f in (np.min, np.max))
    margin = 0.12 * max(x1 - x0, y1 - y0)
    x0, y0, x1, y1 = (
        float(value + sign * margin * rng.uniform(0.3, 1.7))
        for value, sign in ((x0, -1), (y0, -1), (x1, 1), (y1, 1))
    )
    x0, y0 = max(x0, 0.0), max(y0, 0.0)
    return (x0, y0, min(x1, width) - x0, min(y1, height) - y0)


def training_example(rng: Random, soft: Sequence[Example] = (), plain: float = 0.0) -> Example:
    """Draws an example: with the chance `plain` a clean person, else one that is moved and worn.

    A quarter of the others are from `soft`. Half of all are mirrored.
    """
    is_plain = rng.random() < plain
    if is_plain:
        example = example_of(sample_scene(rng, "person"))
    else:
        example = rng.choice(soft) if soft and rng.random() < 0.25 else draw_example(rng)
    if rng.random() < 0.5:
        example = mirrored(example)
    return example if is_plain else replace(example, image=worn(example.image, rng))


def plain_share(samples: int) -> float:
    """Clean people first: what a limb is, is learned sooner on them; a fifth of them stays."""
    return max(0.2, 1 - samples / PLAIN_UNTIL)
