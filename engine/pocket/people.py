"""Cartoon people: their 18 OpenPose points for each action, and how they are drawn.

They face the viewer: their right is on the picture's left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from engine.control.openpose import JOINTS
from engine.pocket.drawing import COLOURS, Canvas, Frame, Point, Rgb, disc, shade

ACTIONS = ("standing", "waving", "arms up", "arms out", "hands on hips", "walking", "jumping", "")
"""What a person may do; the empty one is any other pose."""

SKINS: tuple[Rgb, ...] = ((250, 214, 180), (232, 184, 142), (188, 130, 88), (120, 78, 52))
HAIRS: dict[str, Rgb] = {
    "black": (36, 30, 30),
    "brown": (110, 66, 34),
    "blonde": (238, 204, 96),
    "red": (190, 80, 30),
}
PERSON_CLASSES = {"skin": 40, "hair": 41, "shirt": 42, "trousers": 43, "shoes": 44}


@dataclass(frozen=True)
class Person:
    """A person's looks and the place of each joint, in units of the picture's side."""

    word: str  # person, man, woman, boy, girl
    shirt: str
    trousers: str
    hair: str
    long_hair: bool
    skin: int
    action: str
    height: float
    joints: tuple[Point, ...]


def _arms(action: str, rng: Random) -> tuple[tuple[float, float], tuple[float, float]]:
    """Angles of (upper arm, forearm) for right and left: degrees outwards from straight down."""

    def pair(upper: tuple[float, float], fore: tuple[float, float]) -> tuple[float, float]:
        return rng.uniform(*upper), rng.uniform(*fore)

    down = ((8, 24), (2, 18))
    if action == "waving":
        raised, other = pair((85, 130), (150, 205)), pair(*down)
        return (raised, other) if rng.random() < 0.5 else (other, raised)
    if action == "arms up":
        return pair((140, 168), (150, 190)), pair((140, 168), (150, 190))
    if action == "arms out":
        return pair((78, 100), (78, 100)), pair((78, 100), (78, 100))
    if action == "hands on hips":
        return pair((42, 56), (-58, -40)), pair((42, 56), (-58, -40))
    if action == "walking":
        return pair((14, 40), (10, 60)), pair((14, 40), (-30, 20))
    if action == "jumping":
        return pair((105, 150), (120, 175)), pair((105, 150), (120, 175))
    if action == "standing":
        return pair(*down), pair(*down)
    return pair((5, 175), (-30, 210)), pair((5, 175), (-30, 210))


def _legs(action: str, rng: Random) -> tuple[tuple[float, float], tuple[float, float]]:
    """Angles of (thigh, shin) for right and left: degrees outwards from straight down."""
    if action == "walking":
        near = (rng.uniform(16, 30), rng.uniform(2, 16))
        far = (rng.uniform(-4, 8), rng.uniform(8, 34))
        return (near, far) if rng.random() < 0.5 else (far, near)
    if action == "jumping":
        return tuple((rng.uniform(22, 44), rng.uniform(-20, 22)) for _ in range(2))  # type: ignore[return-value]
    if action == "":
        return tuple((rng.uniform(0, 40), rng.uniform(-25, 35)) for _ in range(2))  # type: ignore[return-value]
    return tuple((rng.uniform(1, 10), rng.uniform(-1, 8)) for _ in range(2))  # type: ignore[return-value]


def _chain(start: Point, side: int, angles: tuple[float, float], lengths: Point) -> list[Point]:
    points = [start]
    for angle, length in zip(angles, lengths, strict=True):
        turn = math.radians(angle)
        x, y = points[-1]
        points.append((x + side * length * math.sin(turn), y + length * math.cos(turn)))
    return points[1:]


def sample_joints(action: str, x: float, y: float, height: float, rng: Random) -> tuple[Point, ...]:
    """The 18 points of a person of this height whose middle of the hips is at (x, y)."""
    h = height
    lean = rng.gauss(0, 0.015) * h
    neck = (x + lean, y - 0.31 * h)
    nose = (neck[0] + rng.gauss(0, 0.008) * h, neck[1] - 0.125 * h)
    shoulder = 0.1 * h * rng.uniform(0.9, 1.12)
    hip = 0.062 * h * rng.uniform(0.9, 1.12)
    arms, legs = _arms(action, rng), _legs(action, rng)
    reach = (0.145 * h, 0.14 * h)
    stride = (0.215 * h, 0.215 * h)
    right_shoulder, left_shoulder = (neck[0] - shoulder, neck[1]), (neck[0] + shoulder, neck[1])
    right_hip, left_hip = (x - hip, y), (x + hip, y)
    turn = rng.gauss(0, 0.008) * h
    eye, ear = 0.036 * h, 0.082 * h
    return (
        nose,
        neck,
        right_shoulder,
        *_chain(right_shoulder, -1, arms[0], reach),
        left_shoulder,
        *_chain(left_shoulder, 1, arms[1], reach),
        right_hip,
        *_chain(right_hip, -1, legs[0], stride),
        left_hip,
        *_chain(left_hip, 1, legs[1], stride),
        (nose[0] - eye + turn, nose[1] - 0.026 * h),
        (nose[0] + eye + turn, nose[1] - 0.026 * h),
        (nose[0] - ear, nose[1] - 0.012 * h),
        (nose[0] + ear, nose[1] - 0.012 * h),
    )


def sample_person(rng: Random, shirt: str, trousers: str) -> Person:
    """A person somewhere near the middle, wholly inside the picture when arms are down."""
    action = rng.choice(ACTIONS)
    height = rng.uniform(0.68, 0.86) if rng.random() < 0.8 else rng.uniform(0.52, 0.68)
    raised = action in ("arms up", "jumping", "waving", "")
    top = (0.60 if raised else 0.53) * height
    y = rng.uniform(min(top + 0.03, 0.98 - 0.46 * height), 0.98 - 0.46 * height)
    spread = 0.06 if action == "arms out" else 0.14
    word = rng.choice(("person", "person", "man", "woman", "boy", "girl"))
    long_hair = word in ("woman", "girl") or (word == "person" and rng.random() < 0.4)
    return Person(
        word=word,
        shirt=shirt,
        trousers=trousers,
        hair=rng.choice(tuple(HAIRS)),
        long_hair=long_hair,
        skin=rng.randrange(len(SKINS)),
        action=action,
        height=height,
        joints=sample_joints(action, 0.5 + rng.uniform(-spread, spread), y, height, rng),
    )


def sleeve_colour(shirt: str) -> Rgb:
    """Arms are a little darker than the trunk, or lighter where it is black, so that both can be told apart."""
    colour = COLOURS[shirt]
    return shade(colour, 0.86) if sum(colour) > 120 else shade(colour, 1.16)


def draw_person(canvas: Canvas, person: Person) -> None:
    """Draws the person along the joints."""
    j, h = dict(zip(JOINTS, person.joints, strict=True)), person.height
    skin, hair = SKINS[person.skin], HAIRS[person.hair]
    shirt, trousers = COLOURS[person.shirt], COLOURS[person.trousers]
    head = (j["nose"][0], j["nose"][1] - 0.012 * h)
    classes = PERSON_CLASSES
    if person.long_hair:
        canvas.mark(classes["hair"], 200)
        canvas.polygon(disc(head[0], head[1] + 0.03 * h, 0.108 * h, 0.135 * h), hair)
    for side in ("right", "left"):
        hip, knee, ankle = (j[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        outwards = -1 if side == "right" else 1
        canvas.mark(classes["shoes"], 205)
        toe = (ankle[0] + outwards * 0.045 * h, ankle[1] + 0.02 * h)
        canvas.limb((ankle[0], ankle[1] + 0.014 * h), toe, 0.055 * h, (70, 50, 44))
        canvas.mark(classes["trousers"], 210)
        canvas.limb(hip, knee, 0.1 * h, trousers, 0.085 * h)
        canvas.limb(knee, ankle, 0.085 * h, trousers, 0.07 * h)
    canvas.mark(classes["trousers"], 212)
    canvas.limb(j["right_hip"], j["left_hip"], 0.1 * h, trousers)
    canvas.mark(classes["skin"], 215)
    canvas.limb(j["neck"], head, 0.06 * h, skin)
    canvas.mark(classes["shirt"], 220)
    rs, ls, rh, lh = (j[f"{s}_{p}"] for p in ("shoulder", "hip") for s in ("right", "left"))
    canvas.polygon(
        [
            (rs[0] - 0.02 * h, rs[1] - 0.03 * h),
            (ls[0] + 0.02 * h, ls[1] - 0.03 * h),
            (ls[0] + 0.02 * h, ls[1] + 0.06 * h),
            (lh[0] + 0.045 * h, lh[1] - 0.01 * h),
            (rh[0] - 0.045 * h, rh[1] - 0.01 * h),
            (rs[0] - 0.02 * h, rs[1] + 0.06 * h),
        ],
        shirt,
    )
    sleeve = sleeve_colour(person.shirt)
    for side in ("right", "left"):
        shoulder, elbow, wrist = (j[f"{side}_{part}"] for part in ("shoulder", "elbow", "wrist"))
        canvas.mark(classes["skin"], 235)
        canvas.polygon(disc(wrist[0], wrist[1], 0.037 * h, count=18), skin)
        canvas.mark(classes["shirt"], 230)
        canvas.limb(shoulder, elbow, 0.075 * h, sleeve, 0.068 * h)
        near = (wrist[0] * 0.85 + elbow[0] * 0.15, wrist[1] * 0.85 + elbow[1] * 0.15)
        canvas.limb(elbow, near, 0.068 * h, sleeve, 0.055 * h)
    _draw_head(canvas, person, j, head)


def _draw_head(canvas: Canvas, person: Person, j: dict[str, Point], head: Point) -> None:
    h, skin, hair = person.height, SKINS[person.skin], HAIRS[person.hair]
    canvas.mark(PERSON_CLASSES["skin"], 240)
    for ear in ("right_ear", "left_ear"):
        canvas.polygon(disc(*j[ear], 0.02 * h, count=14), shade(skin, 0.9))
    canvas.polygon(disc(head[0], head[1], 0.085 * h, 0.095 * h), skin)
    canvas.mark(PERSON_CLASSES["hair"], 245)
    cap = [(math.cos(t), math.sin(t)) for t in (math.pi * (1 + i / 20) for i in range(21))]
    frame = Frame(head[0], head[1] - 0.02 * h, 0.094 * h)
    canvas.polygon(frame.at([*cap, (0.55, -0.3), (0, -0.42), (-0.55, -0.3)]), hair)
    canvas.mark(PERSON_CLASSES["skin"], 246)
    for eye in ("right_eye", "left_eye"):
        canvas.polygon(disc(*j[eye], 0.014 * h, 0.018 * h, count=12), (30, 26, 30))
    x, y = j["nose"][0], j["nose"][1] + 0.034 * h
    canvas.limb((x - 0.026 * h, y), (x + 0.026 * h, y), 0.014 * h, (176, 66, 62))
