"""Poses by name: what one is, and the twelve that come with Easel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.control.maps import Skeleton

_FILE = Path(__file__).parent / "poses.json"


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the joints of one or more people are.

    Attributes:
        name: For people.
        people: In pixels of a canvas of `width` x `height`.
        width: Of the picture that it was read from.
        height: The same.
    """

    name: str
    people: tuple[Skeleton, ...]
    width: int
    height: int


@cache
def built_in() -> tuple[Pose, ...]:
    """Returns the poses that come with Easel."""
    read = json.loads(_FILE.read_text("utf-8"))
    width, height = read["canvas"]
    return tuple(
        Pose(
            name,
            (tuple(None if point is None else (point[0], point[1]) for point in points),),
            width,
            height,
        )
        for name, points in read["poses"].items()
    )
