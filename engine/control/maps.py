"""What is asked of a control picture and what comes of it: plain data, for the bot and the engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.errors import InvalidRequestError
from engine.types import Control

AUTO = "auto"
OPENPOSE, CANNY, DEPTH, SEGMENTATION, LINEART, SCRIBBLE = KINDS = (
    "openpose", "canny", "depth", "segmentation", "lineart", "scribble",
)  # fmt: skip
"""The kinds of ControlNets that pictures can be read for, in the order in which `AUTO` prefers them."""

Skeleton = tuple[tuple[float, float] | None, ...]
"""One person: x and y of OpenPose's 18 points (`openpose.JOINTS`) in pixels; None where not known."""


class Fit(StrEnum):
    """How a picture comes onto a canvas of another shape."""

    CROP = "crop"  # fills it, and what sticks out is cut off
    PAD = "pad"  # is seen whole, with nothing beside it
    STRETCH = "stretch"


@dataclass(frozen=True, slots=True)
class ControlWish:
    """What somebody wants to be controlled by a picture.

    Attributes:
        kind: One of `KINDS`, or `AUTO`.
        scale: As in `Control`, like the next two.
        start: Share of the steps.
        end: Share of the steps.
        fit: How the picture comes to the new one's shape.
        mirror: Left and right are exchanged.
        picture: sha256 of the picture when it is stored already; None when it is still to be fetched.
        is_map: That picture is a finished map of `kind`.
    """

    kind: str = AUTO
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0
    fit: Fit = Fit.CROP
    mirror: bool = False
    picture: str | None = None
    is_map: bool = False

    def __post_init__(self) -> None:
        """Raises InvalidRequestError when a number is out of its range."""
        if self.kind != AUTO and self.kind not in KINDS:
            raise InvalidRequestError(
                "There is no control {kind}. Choose one of: {known}.",
                kind=self.kind,
                known=", ".join((AUTO, *KINDS)),
            )
        Control(self.kind, "", self.scale, self.start, self.end)

    def control(self, kind: str, image: str) -> Control:
        """Returns the control of a job whose map is the picture `image` (sha256)."""
        return Control(kind, image, self.scale, self.start, self.end)


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Asks for the control map of a picture.

    Attributes:
        kind: One of `KINDS`, or `AUTO`.
        width: Of the map, in pixels.
        height: Of the map, in pixels.
        fit: How the picture comes to that shape.
        mirror: Left and right are exchanged.
        thickness: Half the width of a skeleton's lines in pixels, see `geometry.line_width`; None is
            OpenPose's own.
    """

    kind: str
    width: int
    height: int
    fit: Fit = Fit.CROP
    mirror: bool = False
    thickness: int | None = None


@dataclass(frozen=True, slots=True)
class ControlMap:
    """A control map.

    Attributes:
        kind: What it is, one of `KINDS`.
        png: RGB, of the size that was asked for.
        people: Those of a skeleton map, in its pixels; () when they are not known one by one.
        was_map: The picture was such a map already and was used as it is.
    """

    kind: str
    png: bytes
    people: tuple[Skeleton, ...] = ()
    was_map: bool = False
