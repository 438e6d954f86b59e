"""Parts of a picture by name: the cells of a grid of 3 x 3, counted from 1 as one reads."""

from __future__ import annotations

import re

from cogs import _text
from engine.errors import InvalidRequestError

_ROWS = {"top": {1, 2, 3}, "upper": {1, 2, 3}, "bottom": {7, 8, 9}, "lower": {7, 8, 9}}
_COLUMNS = {"left": {1, 4, 7}, "right": {3, 6, 9}}
_MIDDLES = {"middle", "center", "centre"}
_SEPARATORS = re.compile(r"[,;+&/]|\band\b")
_RANGE = re.compile(r"([1-9])\s*-\s*([1-9])")
_WORDS = re.compile(r"[\s_-]+")


def read(text: str) -> tuple[int, ...]:
    """Returns the cells of "1,2,5", "4-6" or "top left, middle", in order.

    "top" is the whole upper row, "left" the whole left column, "top middle" one cell.

    Raises:
        InvalidRequestError: A part of it is neither.
    """
    cells: set[int] = set()
    for part in filter(None, (part.strip() for part in _SEPARATORS.split(text.casefold()))):
        if (ends := _RANGE.fullmatch(part)) is not None:
            found = set(range(int(ends[1]), int(ends[2]) + 1))
        elif re.fullmatch(r"[1-9](?:\s+[1-9])*", part):
            found = {int(number) for number in part.split()}
        else:
            found = _named(_WORDS.split(part))
        if not found:
            raise _unknown(part)
        cells |= found
    if not cells:
        raise _unknown(text)
    return tuple(sorted(cells))


def _named(words: list[str]) -> set[int]:
    """Returns the cells of "top left"; nothing when a word is unknown."""
    found = set(range(1, 10))
    has_row, has_column, has_middle = False, False, False
    for word in words:
        if word in _ROWS:
            found &= _ROWS[word]
            has_row = True
        elif word in _COLUMNS:
            found &= _COLUMNS[word]
            has_column = True
        elif word in _MIDDLES:
            has_middle = True
        else:
            return set()
    if has_middle and not has_row:
        found &= {4, 5, 6}
    if has_middle and not has_column:
        found &= {2, 5, 8}
    return found if has_row or has_column or has_middle else set()


def _unknown(part: str) -> InvalidRequestError:
    return InvalidRequestError(
        'There is no part "{part}" of a picture. Give numbers of a grid of 3 x 3, '
        "like 1,2,5 (1 is top left, 9 bottom right), or names like top left or right.",
        part=_text.plain(part, 40),
    )
