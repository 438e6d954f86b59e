"""Words and phrases that are not allowed, and the search for them in a text, however it is written.

All words together are one tree of letters; a text goes through it once, letter by letter, with every place
in the tree where it may be. No expression of anybody is ever compiled, so no word can make this slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidRequestError
from engine.folding import Folded, Gap, fold

MAX_LENGTH = 60  # characters of a word or phrase
_LEAST_LETTERS = 2  # of letters that make words
_LEAST_SPELLED = 3  # letters of a word that is found spelled out, "n u d e"

_END, _PREFIX, _SPACE = "end", "prefix", " "  # keys of a node beside its letters

_Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A word or phrase.

    Attributes:
        key: The same for every way to write it.
        forms: Letters with a space for each gap that has to be there; none when it has only signs.
        is_prefix: Words that begin with it count, too.
    """

    key: str
    forms: tuple[str, ...]
    is_prefix: bool

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Reads what somebody typed; `*` at the end stands for any ending.

        Raises:
            InvalidRequestError: It is empty, too long or too short.
        """
        text = " ".join(text.split())
        if len(text) > MAX_LENGTH:
            raise InvalidRequestError(
                "A blocked word or phrase takes at most {limit} characters, not {count}. Shorten it.",
                limit=MAX_LENGTH,
                count=len(text),
            )
        is_prefix = text.endswith("*")
        folded = fold(text.rstrip("* "))
        if not folded.letters and folded.visible and not is_prefix:
            return cls(folded.visible, (), is_prefix=False)
        forms = tuple(dict.fromkeys(_written(folded, tight) for tight in ("", _SPACE)))
        if len(folded.letters) < _LEAST_LETTERS and not _stands_alone(folded):
            raise InvalidRequestError(
                'A blocked word takes at least {limit} letters, and "{text}" has fewer. '
                "Write more of it.",
                limit=_LEAST_LETTERS,
                text=text,
            )
        return cls(forms[0] + "*" * is_prefix, forms, is_prefix)


class Matcher:
    """Finds patterns in folded texts."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        """Builds the tree; some milliseconds for a thousand patterns."""
        self._root: _Node = {}
        self._signs: list[str] = []
        for pattern in patterns:
            if not pattern.forms:
                self._signs.append(pattern.key)
            for form in pattern.forms:
                node = self._root
                for letter in form:
                    node = node.setdefault(letter, {})
                node[_PREFIX if pattern.is_prefix else _END] = True

    def finds(self, text: Folded) -> bool:
        """Returns whether one of the patterns stands in the text."""
        if any(sign in text.visible for sign in self._signs):
            return True
        # Where in the tree the text may be: (node, letters since the start, with a gap left out).
        places: list[tuple[_Node, int, bool]] = []
        for index, readings in enumerate(text.letters):
            if text.gaps[index] is not Gap.NONE:
                places = list(self._across(text, index, places))
            is_at_end = text.gaps[index + 1] is not Gap.NONE
            moved: list[tuple[_Node, int, bool]] = []
            for node, count, is_spelled in places:
                for letter in readings:
                    child = node.get(letter)
                    if child is None:
                        continue
                    ends = _PREFIX in child or (is_at_end and _END in child)
                    if ends and (not is_spelled or count + 1 >= _LEAST_SPELLED):
                        return True
                    moved.append((child, count + 1, is_spelled))
            places = moved
        return False

    def _across(
        self, text: Folded, index: int, places: Iterable[tuple[_Node, int, bool]]
    ) -> Iterator[tuple[_Node, int, bool]]:
        """Yields the places after the gap before a letter: a word begins, or goes on over it."""
        yield self._root, 0, False
        is_tight = text.gaps[index] is Gap.TIGHT
        is_spelled = text.is_spelled[index] and index > 0 and text.is_spelled[index - 1]
        for node, count, was_spelled in places:
            if is_tight:
                yield node, count, was_spelled
            elif is_spelled:
                yield node, count, True
            if (after := node.get(_SPACE)) is not None:
                yield after, count, was_spelled


def _written(folded: Folded, tight: str) -> str:
    joined = []
    for index, readings in enumerate(folded.letters):
        gap = folded.gaps[index] if index else Gap.NONE
        joined.append({Gap.NONE: "", Gap.TIGHT: tight, Gap.WIDE: _SPACE}[gap] + readings[0])
    return "".join(joined)


def _stands_alone(folded: Folded) -> bool:
    """True for one letter that is a word, as in Chinese; of the alphabets none is."""
    return len(folded.letters) == 1 and folded.letters[0][0] >= "\u3400"
