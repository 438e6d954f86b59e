"""`--control KIND:FILE[:SCALE[:START-END]]`: from a picture of the operator's to a control map."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.files import read_image
from cli.parts import Parts
from engine.control.maps import AUTO, KINDS, MapRequest
from engine.errors import InvalidRequestError
from engine.types import Control

_NUMBER = r"\d*\.?\d+"
_FORM = re.compile(
    rf"(?P<kind>\w+):(?P<file>.+?)"
    rf"(?::(?P<scale>{_NUMBER})(?::(?P<start>{_NUMBER})-(?P<end>{_NUMBER}))?)?"
)


@dataclass(frozen=True, slots=True)
class GivenControl:
    """What one `--control` says; the control's `image` is still to be filled in."""

    file: Path
    control: Control

    @classmethod
    def parse(cls, text: str) -> GivenControl:
        """Returns what the text says. Raises InvalidRequestError when it is not understood."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidRequestError(
                f"The control {text!r} is not understood. Write it as KIND:FILE, KIND:FILE:SCALE or "
                "KIND:FILE:SCALE:START-END, like canny:house.jpg:0.8:0-0.6."
            )
        numbers = {
            name: float(match[name])
            for name in ("scale", "start", "end")
            if match[name] is not None
        }
        return cls(Path(match["file"]), Control(match["kind"], "", **numbers))


async def make_maps(
    parts: Parts, given: Sequence[GivenControl], size: tuple[int, int]
) -> list[Control]:
    """Returns the controls with their maps, which the engine has read from the pictures.

    A picture that is such a map already is used as it is, and so is one of a kind that nothing is
    read for.

    Raises:
        InvalidRequestError: There is no picture, or nothing of the kind in it.
    """
    controls = []
    for one in given:
        kind, png = one.control.kind, read_image(one.file)
        if kind == AUTO or kind in KINDS:
            made = await parts.engine.detect(png, MapRequest(kind, *size))
            kind, png = made.kind, made.png
            how = "taken as the map that it is" if made.was_map else "read for it"
            print(f"{kind}: {one.file.name} was {how}", file=sys.stderr)
        sha256 = await parts.pictures.put(png)
        own = one.control
        controls.append(Control(kind, sha256, own.scale, own.start, own.end))
    return controls
