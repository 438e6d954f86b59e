"""What the text of a reply to a picture asks for: an action by its keyword, an edit, another prompt."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from cogs import _buttons

_PICK = re.compile(r"#?(\d{1,2})\s*:(?!\d)\s*")  # "2: in snow", but not "16:9"
_NUMBERED = re.compile(r"([uv])\s?([1-9])")
_ZOOM = re.compile(r"zoom(?: out)?(?: ?(?:by )?(\d(?:\.\d+)?) ?x?)?|zoom(?: out)? ?x(\d(?:\.\d+)?)")
_PLAIN = {
    "up": _buttons.UPSCALE,
    "upscale": _buttons.UPSCALE,
    "vary": _buttons.VARY,
    "vary subtle": _buttons.VARY_SUBTLE,
    "vary strong": _buttons.VARY_STRONG,
    "reroll": _buttons.REROLL,
    "info": _buttons.INFO,
    "delete": _buttons.DELETE,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a text asks for.

    Attributes:
        text: What is left for the prompt, or for edits of it.
        index: 0-based picture of the result.
        action: The button's action that a keyword stands for, or None.
    """

    text: str = ""
    index: int = 0
    action: str | None = None


def read(text: str, own_id: int, actions: Container[str]) -> Wish:
    """Returns what a reply asks for; keywords count when they are all of it and there is an action."""
    text = re.sub(rf"<@!?{own_id}>", " ", text).strip()
    index = 0
    if (pick := _PICK.match(text)) is not None:
        index, text = int(pick[1]) - 1, text[pick.end() :]
    action, picked = _keyword(" ".join(text.casefold().strip(" .!").split()))
    if action is not None and action in actions:
        return Wish("", index if picked is None else picked, action)
    return Wish(text, index)


def _keyword(text: str) -> tuple[str | None, int | None]:
    """Returns the action, and the picture if the keyword names one."""
    if (numbered := _NUMBERED.fullmatch(text)) is not None:
        return {"u": _buttons.UPSCALE, "v": _buttons.VARY}[numbered[1]], int(numbered[2]) - 1
    if (zoom := _ZOOM.fullmatch(text)) is not None:
        factor = float(zoom[1] or zoom[2] or 2)
        return {1.5: _buttons.ZOOM_LESS, 2.0: _buttons.ZOOM}.get(factor), None
    return _PLAIN.get(text), None
