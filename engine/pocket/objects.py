"""How each flat shape and each simple thing is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.pocket.drawing import Canvas, Frame, Point, Rgb, disc, shade

DARK: Rgb = (40, 36, 36)
PANE: Rgb = (188, 224, 246)
LEAF: Rgb = (48, 140, 60)
WOOD: Rgb = (112, 74, 44)


def _star() -> list[Point]:
    points = []
    for i in range(10):
        radius = 1.0 if i % 2 == 0 else 0.42
        turn = math.pi * i / 5 - math.pi / 2
        points.append((radius * math.cos(turn), radius * math.sin(turn)))
    return points


def _heart() -> list[Point]:
    points = []
    for i in range(48):
        t = 2 * math.pi * i / 48
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 17, -(y + 2) / 16))
    return points


def _ring() -> list[Point]:
    outer, inner = disc(0, 0, 1.0, count=48), disc(0, 0, 0.55, count=48)
    return [*outer, outer[0], inner[0], *reversed(inner)]


def _crescent() -> list[Point]:
    outer = [
        (math.cos(t), math.sin(t)) for t in (math.radians(50 + 260 * i / 40) for i in range(41))
    ]
    tip = outer[0]
    cx = 0.48
    radius = math.hypot(tip[0] - cx, tip[1])
    start = math.atan2(tip[1], tip[0] - cx)
    inner = []
    for i in range(41):
        t = -start - (2 * math.pi - 2 * start) * i / 40
        inner.append((cx + radius * math.cos(t), radius * math.sin(t)))
    return [(x + 0.15, y) for x, y in (*outer, *inner)]


OUTLINES: dict[str, list[Point]] = {
    "circle": disc(0, 0, 0.92, count=48),
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0, -0.95), (1.0, 0.8), (-1.0, 0.8)],
    "star": _star(),
    "heart": _heart(),
    "ring": _ring(),
    "cross": [
        (-0.32, -0.95), (0.32, -0.95), (0.32, -0.32), (0.95, -0.32), (0.95, 0.32), (0.32, 0.32),
        (0.32, 0.95), (-0.32, 0.95), (-0.32, 0.32), (-0.95, 0.32), (-0.95, -0.32), (-0.32, -0.32),
    ],
    "diamond": [(0, -1.0), (0.62, 0), (0, 1.0), (-0.62, 0)],
    "crescent": _crescent(),
}  # fmt: skip
"""Outlines of the flat shapes in the square [-1, 1]."""


def _house(canvas: Canvas, frame: Frame, colour: Rgb) -> None:
    canvas.polygon(frame.at([(-0.75, -0.2), (0.75, -0.2), (0.75, 0.9), (-0.75, 0.9)]), colour)
    roof = shade(colour, 0.55) if sum(colour) > 180 else (150, 60, 50)
    canvas.polygon(frame.at([(-0.98, -0.15), (0, -0.98), (0.98, -0.15)]), roof)
    canvas.polygon(frame.at([(-0.15, 0.3), (0.2, 0.3), (0.2, 0.9), (-0.15, 0.9)]), WOOD)
    for x in (-0.58, 0.36):
        canvas.polygon(frame.at([(x, 0.05), (x + 0.26, 0.05), (x + 0.26, 0.35), (x, 0.35)]), PANE)


def _tree(canvas: Canvas, frame: Frame, colour: Rgb) -> None:
    canvas.polygon(frame.at([(-0.14, 0.2), (0.14, 0.2), (0.18, 1.0), (-0.18, 1.0)]), WOOD)
    for x, y, r in ((-0.38, 0.02, 0.48), (0.38, 0.02, 0.48), (0, -0.42, 0.56), (0, 0.05, 0.5)):
        canvas.polygon(frame.at(disc(x, y, r)), colour)


def _boat(canvas: Canvas, frame: Frame, colour: Rgb) -> None:
    canvas.polygon(frame.at([(-0.05, -1.0), (0.05, -1.0), (0.05, 0.4), (-0.05, 0.4)]), WOOD)
    canvas.polygon(frame.at([(0.1, -0.92), (0.8, 0.25), (0.1, 0.25)]), (236, 232, 220))
    canvas.polygon(frame.at([(-0.1, -0.7), (-0.1, 0.25), (-0.62, 0.25)]), (214, 210, 200))
    canvas.polygon(frame.at([(-1.0, 0.36), (1.0, 0.36), (0.66, 0.9), (-0.66, 0.9)]), colour)


def _car(canvas: Canvas, frame: Frame, colour: Rgb) -> None:
    canvas.polygon(frame.at([(-0.55, -0.02), (-0.34, -0.5), (0.32, -0.5), (0.6, -0.02)]), colour)
    canvas.polygon(frame.at([(-0.4, -0.02), (-0.26, -0.38), (-0.04, -0.38), (-0.04, -0.02)]), PANE)
    canvas.polygon(frame.at([(0.06, -0.02), (0.06, -0.38), (0.26, -0.38), (0.44, -0.02)]), PANE)
    canvas.polygon(
        frame.at([(-1, 0.02), (-0.92, -0.04), (0.9, -0.04), (1, 0.08), (1, 0.45), (-1, 0.45)]),
        colour,
    )
    for x in (-0.55, 0.55):
        canvas.polygon(frame.at(disc(x, 0.45, 0.25)), DARK)
        canvas.polygon(frame.at(disc(x, 0.45, 0.11)), (190, 190, 190))


def _fish(canvas: Canvas, frame: Frame, colour: Rgb) -> None:
    canvas.polygon(frame.at([(0.4, 0), (1.0, -0.5), (0.86, 0), (1.0, 0.5)]), shade(colour, 0.78))
    canvas.polygon(frame.at([(-0.15, -0.35), (0.35, -0.72), (0.4, -0.2)]), shade(colour, 0.78))
    canvas.polygon(frame.at(disc(-0.2, 0, 0.78, 0.48)), colour)
    canvas.polygon(frame.at(disc(-0.6, -0.12, 0.13)), (250, 250, 250))
    canvas.polygon(frame.at(disc(-0.62, -0.12, 0.065)), DARK)


def _flower(canvas: Canvas, frame: Frame, colour: Rgb) -> None:
    canvas.polygon(frame.at([(-0.05, 0), (0.05, 0), (0.05, 1.0), (-0.05, 1.0)]), LEAF)
    canvas.polygon(frame.at([(0.02, 0.8), (0.5, 0.42), (0.42, 0.78)]), LEAF)
    canvas.polygon(frame.at([(-0.02, 0.9), (-0.5, 0.52), (-0.42, 0.88)]), LEAF)
    for i in range(6):
        turn = math.pi * i / 3 + 0.5
        x, y = 0.38 * math.cos(turn), -0.35 + 0.38 * math.sin(turn)
        canvas.polygon(frame.at(disc(x, y, 0.28)), colour)
    heart = (250, 205, 60) if colour[2] > 90 or colour[1] < 120 else (120, 70, 40)
    canvas.polygon(frame.at(disc(0, -0.35, 0.22)), heart)


def _cat(canvas: Canvas, frame: Frame, colour: Rgb) -> None:
    dark = shade(colour, 0.8) if sum(colour) > 160 else shade(colour, 1.2)
    tail = frame.at([(0.4, 0.75), (0.82, 0.55), (0.86, 0.05)])
    canvas.limb(tail[0], tail[1], 0.18 * frame.r, dark)
    canvas.limb(tail[1], tail[2], 0.18 * frame.r, dark)
    canvas.polygon(frame.at(disc(0, 0.5, 0.52, 0.48)), colour)
    canvas.polygon(frame.at([(-0.52, -0.4), (-0.46, -0.98), (-0.08, -0.7)]), dark)
    canvas.polygon(frame.at([(0.52, -0.4), (0.46, -0.98), (0.08, -0.7)]), dark)
    canvas.polygon(frame.at(disc(0, -0.32, 0.56, 0.48)), colour)
    for x in (-0.22, 0.22):
        canvas.polygon(frame.at(disc(x, -0.4, 0.12, 0.13)), (240, 240, 190))
        canvas.polygon(frame.at(disc(x, -0.4, 0.05, 0.11)), DARK)
    canvas.polygon(frame.at([(-0.08, -0.2), (0.08, -0.2), (0, -0.1)]), (240, 130, 140))


THINGS: dict[str, Callable[[Canvas, Frame, Rgb], None]] = {
    "house": _house,
    "tree": _tree,
    "boat": _boat,
    "car": _car,
    "fish": _fish,
    "flower": _flower,
    "cat": _cat,
}
"""Painters of the simple things."""

SHAPES = tuple(OUTLINES)
KINDS = (*SHAPES, *THINGS)
"""Everything that an `Item` can be; its place + 1 is its class in the class map."""


def draw_object(canvas: Canvas, kind: str, frame: Frame, colour: Rgb) -> None:
    """Draws a shape or thing of this colour into the frame."""
    if kind in OUTLINES:
        canvas.polygon(frame.at(OUTLINES[kind]), colour)
    else:
        THINGS[kind](canvas, frame, colour)
