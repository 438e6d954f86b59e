"""Emoji that are drawn here, since not every machine has a font with them."""

from __future__ import annotations

import html
import re

_PATHS = {
    "\N{WHITE MEDIUM STAR}": (
        "M12 2.2l3 6.6 7.2.8-5.4 4.8 1.6 7.1L12 17.8l-6.4 3.7 1.6-7.1L1.8 9.6 9 8.8z",
        "#ffac33",
    ),
    "\N{ANTICLOCKWISE DOWNWARDS AND UPWARDS OPEN CIRCLE ARROWS}": (
        "M4 11a8 8 0 0 1 14-4l2-2v6h-6l2-2a5 5 0 0 0-9 2zm16 2a8 8 0 0 1-14 4l-2 2v-6h6l-2 2a5 5 0 0 0 "
        "9-2z",
        "currentColor",
    ),
    "\N{LEFTWARDS BLACK ARROW}": ("M11 4v5h10v6H11v5l-8-8z", "currentColor"),
    "\N{BLACK RIGHTWARDS ARROW}": ("M13 4v5H3v6h10v5l8-8z", "currentColor"),
    "\N{UPWARDS BLACK ARROW}": ("M4 11h5v10h6V11h5l-8-8z", "currentColor"),
    "\N{DOWNWARDS BLACK ARROW}": ("M4 13h5V3h6v10h5l-8 8z", "currentColor"),
}
_KNOWN = re.compile("([" + "".join(_PATHS) + "])\N{VARIATION SELECTOR-16}?")


def escaped(text: str) -> str:
    """HTML of a text, in which the emoji of `_PATHS` are pictures."""
    return _KNOWN.sub(lambda found: _drawn(found[1]), html.escape(text))


def _drawn(emoji: str) -> str:
    path, colour = _PATHS[emoji]
    return (
        f'<svg viewBox="0 0 24 24" role="img" aria-label="{emoji}" style="fill:{colour}">'
        f'<path d="{path}"/></svg>'
    )
