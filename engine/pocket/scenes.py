"""Scenes: what is in a picture, drawn from a seed, and the picture itself."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from random import Random

from PIL import Image

from engine.pocket.drawing import COLOURS, Canvas, Frame, Point, Rgb, disc, shade
from engine.pocket.objects import KINDS, SHAPES, THINGS, draw_object
from engine.pocket.people import Person, draw_person, sample_person

SIZE = 128
"""The side of the pictures that the model is trained on."""

SETTINGS = ("meadow", "beach", "night", "mountains", "city")
"""The backgrounds that are more than one colour."""

RADII = {"small": (0.15, 0.19), "": (0.25, 0.32), "large": (0.37, 0.42)}
PLACES: dict[str, Point] = {
    "": (0.5, 0.5),
    "left": (0.26, 0.5),
    "right": (0.74, 0.5),
    "top": (0.5, 0.26),
    "bottom": (0.5, 0.74),
    "top left": (0.26, 0.26),
    "top right": (0.74, 0.26),
    "bottom left": (0.26, 0.74),
    "bottom right": (0.74, 0.74),
}
SETTING_CLASSES = {
    "sky": 50, "grass": 51, "sea": 52, "sand": 53, "mountain": 54, "building": 55, "road": 56,
}  # fmt: skip
"""The classes of the parts of a setting in the class map; a plain background is 0."""

HELD_OUT_SHARE = 16  # one combination in 16 is never trained on


@dataclass(frozen=True)
class Item:
    """A shape or thing; place and radius in units of the picture's side."""

    kind: str
    colour: str
    x: float
    y: float
    r: float
    angle: float = 0.0
    size: str = ""  # as the caption would say it: small, large or nothing
    place: str = ""


@dataclass(frozen=True)
class Scene:
    """All that decides a picture; `background` is a colour or one of `SETTINGS`."""

    background: str
    items: tuple[Item, ...] = ()
    relation: str = ""  # of two items, the first to the second: beside, above
    person: Person | None = None
    decor: int = 0  # seed of details and slight changes of colour


@dataclass(frozen=True)
class Drawing:
    """A drawn scene; joints (18, in pixels), class and depth maps when asked for."""

    image: Image.Image
    joints: tuple[Point, ...] | None = None
    classes: Image.Image | None = None
    depth: Image.Image | None = None


def is_held_out(first: str, second: str, background: str) -> bool:
    """Whether this combination (kind, colour, background; or shirt, trousers, background) is for evaluation only."""
    key = f"{first}/{second}/{background}".encode()
    return zlib.crc32(key) % HELD_OUT_SHARE == 0


def sample_scene(rng: Random, category: str, *, held_out: bool = False) -> Scene:
    """Draws a scene of a category: single, thing, setting, pair or person.

    With `held_out`, the combinations of the first object (or the clothes) and a plain background
    are ones that are never trained on; without it, never one of those.
    """
    while True:
        scene = _sample(rng, category)
        combinations = [(i.kind, i.colour, scene.background) for i in scene.items]
        if scene.person:
            combinations.append((scene.person.shirt, scene.person.trousers, scene.background))
        if scene.background in SETTINGS:
            return scene
        if held_out and is_held_out(*combinations[0]):
            return scene
        if not held_out and not any(is_held_out(*each) for each in combinations):
            return scene


def _sample(rng: Random, category: str) -> Scene:
    decor = rng.randrange(1 << 30)
    names = tuple(COLOURS)
    if category == "person":
        shirt, trousers, plain = rng.sample(names, 3)
        background = plain if rng.random() < 0.7 else rng.choice(SETTINGS)
        return Scene(background, person=sample_person(rng, shirt, trousers), decor=decor)
    if category == "pair":
        first, second, plain = rng.sample(names, 3)
        return _pair(rng, rng.choice(_weighted(rng)), first, second, plain, decor)
    colour, plain = rng.sample(names, 2)
    if category == "setting":
        kind = rng.choice(tuple(THINGS)) if rng.random() < 0.7 else rng.choice(SHAPES)
        background = rng.choice(SETTINGS)
        r = rng.uniform(0.17, 0.27)
        y = rng.uniform(0.66, 0.8) - 0.5 * r if kind in THINGS else rng.uniform(0.35, 0.7)
        item = Item(kind, colour, rng.uniform(0.28, 0.72), y, r, _angle(rng))
        return Scene(background, (item,), decor=decor)
    kind = rng.choice(tuple(THINGS) if category == "thing" else SHAPES)
    return Scene(plain, (_single(rng, kind, colour),), decor=decor)


def _weighted(rng: Random) -> tuple[str, ...]:
    return SHAPES if rng.random() < 0.7 else tuple(THINGS)


def _angle(rng: Random) -> float:
    return rng.gauss(0, 0.06)


def _single(rng: Random, kind: str, colour: str) -> Item:
    size = rng.choices(("", "small", "large"), (0.64, 0.18, 0.18))[0]
    place = ""
    if size != "large" and rng.random() < 0.3:
        place = rng.choice(tuple(PLACES)[1:])
    r = rng.uniform(*RADII[size])
    if place and not size:
        r = rng.uniform(0.19, 0.24)
    x, y = PLACES[place]
    wander = 0.09 if size == "small" else 0.05
    x, y = x + rng.uniform(-wander, wander), y + rng.uniform(-wander, wander)
    edge = r + 0.01
    x, y = min(max(x, edge), 1 - edge), min(max(y, edge), 1 - edge)
    return Item(kind, colour, x, y, r, _angle(rng), size, place)


def _pair(rng: Random, kind: str, first: str, second: str, plain: str, decor: int) -> Scene:
    relation = rng.choice(("beside", "beside", "above"))
    other = rng.choice(_weighted(rng))
    while other == kind:
        other = rng.choice(_weighted(rng))
    items = []
    for name, colour, along in ((kind, first, 0.27), (other, second, 0.73)):
        r = rng.uniform(0.17, 0.225)
        along += rng.uniform(-0.02, 0.02)
        across = 0.5 + rng.uniform(-0.07, 0.07)
        x, y = (along, across) if relation == "beside" else (across, along)
        items.append(Item(name, colour, x, y, r, _angle(rng)))
    return Scene(plain, tuple(items), relation, decor=decor)


def render(scene: Scene, size: int = SIZE, *, maps: bool = False) -> Drawing:
    """Draws the scene as an RGB picture of `size` x `size`; with `maps` also classes and depth."""
    rng = Random(scene.decor)
    base = COLOURS.get(scene.background, (0, 0, 0))
    canvas = Canvas(size, _vary(base, rng), maps=maps)
    if scene.background in SETTINGS:
        _draw_setting(canvas, scene.background, rng)
    for item in scene.items:
        canvas.mark(KINDS.index(item.kind) + 1, 200)
        frame = Frame(item.x, item.y, item.r, item.angle)
        draw_object(canvas, item.kind, frame, _vary(COLOURS[item.colour], rng))
    joints = None
    if scene.person:
        draw_person(canvas, scene.person)
        joints = tuple((x * size, y * size) for x, y in scene.person.joints)
    return Drawing(canvas.picture(), joints, canvas.classes(), canvas.depth())


def _vary(colour: Rgb, rng: Random) -> Rgb:
    def near(value: int) -> int:
        return min(max(value + rng.randint(-6, 6), 0), 255)

    return near(colour[0]), near(colour[1]), near(colour[2])


def _draw_setting(canvas: Canvas, setting: str, rng: Random) -> None:
    horizon = rng.uniform(0.5, 0.6)
    sky = {"night": (22, 28, 66), "city": (178, 206, 232), "beach": (140, 206, 244)}
    classes = SETTING_CLASSES
    canvas.mark(classes["sky"], 10)
    canvas.rectangle(0, 0, 1, 1, sky.get(setting, (132, 194, 244)))
    sun = (rng.uniform(0.12, 0.88), rng.uniform(0.12, 0.2))
    if setting == "night":
        for _ in range(14):
            canvas.polygon(disc(rng.random(), rng.random() * 0.5, 0.011, count=8), (250, 244, 200))
        canvas.polygon(disc(*sun, 0.08), (248, 240, 200))
    elif setting != "city":
        canvas.polygon(disc(*sun, 0.075), (252, 222, 92))
    if setting in ("meadow", "mountains", "city"):
        for _ in range(2):
            x, y = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.3)
            for dx, r in ((-0.07, 0.04), (0, 0.055), (0.07, 0.04)):
                canvas.polygon(disc(x + dx, y, r * 1.2, r), (244, 248, 250))
    canvas.mark(classes["grass"], 40)
    match setting:
        case "meadow":
            canvas.polygon(disc(rng.uniform(0.1, 0.4), horizon + 0.14, 0.5, 0.2), (96, 176, 84))
            canvas.rectangle(0, horizon + 0.04, 1, 1, (112, 190, 88))
            for _ in range(7):
                x, y = rng.random(), rng.uniform(horizon + 0.1, 0.97)
                canvas.polygon(disc(x, y, 0.012, count=8), (246, 246, 170))
        case "beach":
            canvas.mark(classes["sea"], 30)
            canvas.rectangle(0, horizon - 0.06, 1, horizon + 0.12, (42, 132, 196))
            canvas.mark(classes["sand"], 40)
            canvas.rectangle(0, horizon + 0.12, 1, 1, (236, 212, 150))
            canvas.rectangle(0, horizon + 0.11, 1, horizon + 0.135, (240, 246, 250))
        case "night":
            canvas.polygon(disc(rng.uniform(0.2, 0.8), horizon + 0.2, 0.6, 0.26), (28, 48, 62))
            canvas.rectangle(0, horizon + 0.1, 1, 1, (34, 60, 58))
        case "mountains":
            canvas.mark(classes["mountain"], 25)
            for x in (rng.uniform(0.1, 0.3), rng.uniform(0.6, 0.9)):
                peak = rng.uniform(0.2, 0.32)
                grey = (122, 128, 142)
                canvas.polygon([(x, peak), (x + 0.42, 0.7), (x - 0.42, 0.7)], grey)
                slope = 0.1 * 0.42 / (0.7 - peak)
                snow = [
                    (x, peak),
                    (x + slope, peak + 0.1),
                    (x, peak + 0.07),
                    (x - slope, peak + 0.1),
                ]
                canvas.polygon(snow, (246, 248, 252))
            canvas.mark(classes["grass"], 40)
            canvas.rectangle(0, horizon + 0.08, 1, 1, (104, 164, 96))
        case "city":
            canvas.mark(classes["building"], 30)
            x = -0.02
            while x < 1:
                width, top = rng.uniform(0.12, 0.2), rng.uniform(0.24, 0.46)
                wall = shade((112, 120, 140), rng.uniform(0.8, 1.3))
                canvas.rectangle(x, top, x + width, 0.75, wall)
                for i in range(3):
                    for k in range(2):
                        wx, wy = x + width * (0.2 + 0.4 * k), top + 0.05 + 0.09 * i
                        canvas.rectangle(wx, wy, wx + 0.03, wy + 0.045, (248, 232, 150))
                x += width + 0.012
            canvas.mark(classes["road"], 40)
            canvas.rectangle(0, horizon + 0.12, 1, 1, (110, 110, 114))
            canvas.rectangle(0, horizon + 0.12, 1, horizon + 0.16, (186, 186, 182))
