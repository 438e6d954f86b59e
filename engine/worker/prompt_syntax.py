r"""A1111's prompt syntax: brackets that weigh words, and BREAK.

`(word)` weighs 1.1, `((word))` 1.21, `[word]` 1/1.1, `(word:1.3)` 1.3; what is nested is multiplied.
`\(`, `\)`, `\[`, `\]` and `\\` are the plain characters, and so is a bracket without its partner.
Every text is a prompt: nothing here raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_WEIGHT = 3.0  # more is noise, less than 0 is 0; also at each level of nested brackets
BRACKET_FACTOR = 1.1

_TOKEN = re.compile(
    r"""
    \\ (?P<escaped> [()\[\]\\] )
    | : \s* (?P<number> [+-]? (?: [0-9]+ (?: \. [0-9]* )? | \. [0-9]+ ) ) \s* \)
    | \b (?P<break> BREAK ) \b
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text of one weight, 0 to `MAX_WEIGHT`."""

    text: str
    weight: float = 1.0


def parse(prompt: str) -> list[list[Segment]]:
    """Returns the parts of `prompt` between its BREAKs, at least one; an empty part has no segment."""
    tokens = list(_TOKEN.finditer(prompt))
    opening, closing = _pairs(tokens)
    parts: list[list[Segment]] = [[]]
    weights = [1.0]
    for place, token in enumerate(tokens):
        if place in opening:
            weights.append(min(max(weights[-1] * opening[place], 0.0), MAX_WEIGHT))
        elif place in closing:
            weights.pop()
        elif token["break"]:
            parts.append([])
        else:
            text = token["escaped"] or token[0]
            part = parts[-1]
            if part and part[-1].weight == weights[-1]:
                text = part.pop().text + text
            part.append(Segment(text, weights[-1]))
    return parts


def _pairs(tokens: list[re.Match[str]]) -> tuple[dict[int, float], set[int]]:
    """Returns the factor of each opening bracket that has a partner, and the partners' places."""
    opening: dict[int, float] = {}
    closing: set[int] = set()
    unpaired: dict[str, list[int]] = {"(": [], "[": []}
    for place, token in enumerate(tokens):
        if token[0] in unpaired:
            unpaired[token[0]].append(place)
            continue
        match token[0][-1]:
            case ")" if not token["escaped"]:
                factor = float(token["number"]) if token["number"] else BRACKET_FACTOR
                own, other = unpaired["("], unpaired["["]
            case "]" if not token["escaped"]:
                factor = 1 / BRACKET_FACTOR
                own, other = unpaired["["], unpaired["("]
            case _:
                continue
        if own:
            start = own.pop()
            opening[start] = min(max(factor, 0.0), MAX_WEIGHT)  # a number may be too long: inf
            closing.add(place)
            while other and other[-1] > start:  # opened inside and not closed: plain text
                other.pop()
    return opening, closing
