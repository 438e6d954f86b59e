"""Makes what people typed safe to show: no pings, no hidden characters, no disguised links.

Discord has no "plain text" mode, so everything that a person typed is cleaned (characters that
cannot be seen), escaped (characters that mean something) and cut (limits of Discord) before it
becomes part of a message of ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

MAX_CONTENT = 2000  # characters of a message
MAX_ALT_TEXT = 1024
ELLIPSIS = "…"

_MAX_MARKS = 4  # combining marks in a row; more is only used to draw over other lines
# Blank on screen although their category says letter or mark: Hangul fillers, the combining grapheme
# joiner, Khmer inherent vowels, Mongolian selectors, the Braille blank.
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800")
_JOINERS = "\u200c\u200d"  # part of Persian words and of joined emoji
_LOOSE_JOINERS = re.compile(
    rf"(?<![^\x00-\x7f\s])[{_JOINERS}]+|[{_JOINERS}]+(?![^\x00-\x7f\s{_JOINERS}])"
)
_SPACES = re.compile(r"\s+")
# Only what Discord would read as markup, since whoever copies the text gets the backslashes, too:
# "(close-up), 8:1" needs none.
_MARKDOWN = re.compile(
    r"""
      [\\*_~`|<\[]       # styles, code, spoilers, mentions, times, links with a text
    | ^[>#+-]           # quotes, headings and lists
    | @(?=everyone|here)
    | (?<=<)@           # for readers of "<@1>" that know no escapes
    | :(?=//|\S+:)      # links, and emoji by their name
    """,
    re.VERBOSE,
)
# Discord shows invitations and gifts as cards even without "https://".
_CARDS = re.compile(r"(?i)(discord(?:app)?|dis)\.(?=gg|gd|com|gift|new|co|me)")


def clean(text: str) -> str:
    """Returns the text as one line without control, direction-changing and invisible characters."""
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            marks += 1
            if marks > _MAX_MARKS:
                continue
        else:
            marks = 0
        if character.isspace() or category in ("Zl", "Zp"):
            kept.append(" ")
        elif (
            category in ("Cc", "Cs")
            or character in _INVISIBLE
            or (category == "Cf" and (character not in _JOINERS or kept[-1:] == [character]))
        ):
            continue
        else:
            kept.append(character)
    return _SPACES.sub(" ", _LOOSE_JOINERS.sub("", "".join(kept))).strip()


def escape(text: str) -> str:
    """Returns cleaned text that Discord shows letter by letter: no markup, mention, link or card."""
    return _CARDS.sub(r"\1\\.", _MARKDOWN.sub(r"\\\g<0>", clean(text)))


def length(text: str) -> int:
    """Returns the length as Discord's clients count it: UTF-16 code units."""
    return len(text) + sum(1 for character in text if ord(character) > 0xFFFF)


def shown(text: str, limit: int) -> str:
    """Returns `escape(text)` cut to at most `limit` characters, with an ellipsis when cut."""
    return _fit(clean(text), limit, escape)


def plain(text: str, limit: int) -> str:
    """Returns `clean(text)` cut to `limit`, for places without markup: alt texts, option names."""
    return _fit(clean(text), limit, lambda part: part)


def joined_within(texts: Iterable[str], limit: int) -> str:
    """Returns as many of the texts, one below the other, as fit into `limit` characters."""
    kept = ""
    for text in texts:
        longer = f"{kept}\n{text}" if kept else text
        if length(longer) > limit:
            break
        kept = longer
    return kept


def code(text: str) -> str:
    """Returns cleaned text for a code block, which knows no escapes but its own end."""
    return clean(text).replace("```", "'''")


def _fit(text: str, limit: int, render: Callable[[str], str]) -> str:
    if length(render(text)) <= limit:
        return render(text)
    low, high = 0, len(text)  # the longest prefix that fits lies in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if length(render(text[:middle])) + length(ELLIPSIS) <= limit:
            low = middle
        else:
            high = middle
    while low and (text[low - 1] in _JOINERS or unicodedata.combining(text[low])):
        low -= 1  # never between a letter and its accent, or inside a joined emoji
    return render(text[:low]).rstrip() + ELLIPSIS if limit >= length(ELLIPSIS) else ""
