"""What the text of a reply to a picture asks for: an action by its keyword, an edit, another prompt, nothing."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from cogs import _buttons
from cogs._language import N_
from engine.errors import InvalidRequestError

NO_ZOOM = N_("I zoom out to twice or 1.5 times as much: reply zoom 2 or zoom 1.5.")

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
# What people say to a picture, and mean no other one. Longer texts with these words are prompts.
_CHAT = frozenset(
    [
        "thanks",
        "thank you",
        "thanks a lot",
        "thx",
        "ty",
        "nice",
        "nice one",
        "wow",
        "cool",
        "great",
        "awesome",
        "amazing",
        "perfect",
        "beautiful",
        "lovely",
        "love it",
        "lol",
        "haha",
        "yes",
        "no",
        "ok",
        "okay",
        "danke",
        "danke schön",
        "vielen dank",
        "super",
        "toll",
        "schön",
        "ja",
        "nein",
        "ありがとう",
        "ありがとうございます",
        "すごい",
        "かわいい",
        "素敵",
        "いいね",
    ]
)
_LONGEST_SMILEY = 20  # characters without a letter or digit; more of them are meant as a prompt


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


def read(text: str, own_id: int, actions: Container[str]) -> Wish | None:
    """Returns what a reply asks for; keywords count when they are all of it and there is an action.

    None for thanks, smileys and the like, which ask for nothing.

    Raises:
        InvalidRequestError: It asks for a zoom that there is not.
    """
    text = re.sub(rf"<@!?{own_id}>", " ", text).strip()
    index = 0
    if (pick := _PICK.match(text)) is not None:
        index, text = int(pick[1]) - 1, text[pick.end() :]
    said = " ".join(
        text.casefold().strip(" .!~\N{IDEOGRAPHIC FULL STOP}\N{FULLWIDTH EXCLAMATION MARK}").split()
    )
    action, picked = _keyword(said)
    if action is not None and action in actions:
        return Wish("", index if picked is None else picked, action)
    is_edit = text.startswith(("+", "-"))
    is_smiley = 0 < len(text) <= _LONGEST_SMILEY and not any(map(str.isalnum, text))
    if said in _CHAT or (is_smiley and not is_edit):
        return None
    return Wish(text, index)


def _keyword(text: str) -> tuple[str | None, int | None]:
    """Returns the action, and the picture if the keyword names one."""
    if (numbered := _NUMBERED.fullmatch(text)) is not None:
        return {"u": _buttons.UPSCALE, "v": _buttons.VARY}[numbered[1]], int(numbered[2]) - 1
    if (zoom := _ZOOM.fullmatch(text)) is not None:
        factor = float(zoom[1] or zoom[2] or 2)
        if factor not in (1.5, 2.0):
            raise InvalidRequestError(NO_ZOOM)
        return _buttons.ZOOM if factor == 2.0 else _buttons.ZOOM_LESS, None
    return _PLAIN.get(text), None
