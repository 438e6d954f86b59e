"""Flags inside a prompt ("a cat --ar 16:9 --no dogs"), as people know them from other bots."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from cogs import _options, _text
from cogs._options import Options, Quality
from engine.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class _Flag:
    """What a flag sets.

    Attributes:
        field: Of `Options`; "private" is none of them.
        example: A value to show to somebody who forgot it; "" when the flag takes none.
        value: What a flag without a value sets.
        takes_all: Its value goes up to the next flag, and is not just one word.
    """

    field: str
    example: str = ""
    value: object = None
    takes_all: bool = False


FLAGS = {
    "ar": _Flag("aspect", "16:9"),
    "aspect": _Flag("aspect", "16:9"),
    "no": _Flag("negative", "text, people", takes_all=True),
    "seed": _Flag("seed", "123"),
    "iw": _Flag("image_weight", "1.5"),
    "repeat": _Flag("count", "4"),
    "style": _Flag("style", "neon:0.7"),
    "model": _Flag("model", "name"),
    "draft": _Flag("quality", value=Quality.DRAFT),
    "hd": _Flag("quality", value=Quality.HD),
    "private": _Flag("private", value=True),
}

# Phones make one dash of two; such a dash is prose unless a flag's name follows.
_START = re.compile(
    rf"(?:^|(?<=\s))(?:--([A-Za-z]\w*)|[\u2013\u2014]({'|'.join(FLAGS)}))(?=[\s=:]|$)[=:]?"
)


def read(options: Options, *, private: bool | None = None) -> tuple[Options, bool | None]:
    """Returns the options with those that stand in the prompt, and whether the result is private.

    None is "not said". An option that was given beside the prompt wins over a flag.

    Raises:
        InvalidRequestError: There is no such flag, or its value is missing.
    """
    if not isinstance(options.prompt, str):
        return options, private
    starts = list(_START.finditer(options.prompt))
    if not starts:
        return options, private
    words = [options.prompt[: starts[0].start()]]
    ends = [start.start() for start in starts[1:]] + [len(options.prompt)]
    found: dict[str, Any] = {}
    for start, end in zip(starts, ends, strict=True):
        name = (start[1] or start[2]).casefold()
        flag = FLAGS.get(name)
        if flag is None:
            raise _unknown(name)
        value, rest = _split(flag, options.prompt[start.end() : end].strip())
        if value == "":
            raise InvalidRequestError(
                "The flag --{name} needs a value, like --{name} {example}.",
                name=name,
                example=flag.example,
            )
        found[flag.field] = value
        words.append(rest)
    flag_private = bool(found.pop("private", False))
    if private is None and flag_private:
        private = True
    changes = {f: value for f, value in found.items() if getattr(options, f) is None}
    prompt = " ".join(" ".join(words).split())
    return dataclasses.replace(options, prompt=prompt, **changes), private


def _split(flag: _Flag, text: str) -> tuple[object, str]:
    """Returns the flag's value and the words behind it, which belong to the prompt."""
    if not flag.example:
        return flag.value, text
    if flag.takes_all:
        return text, ""
    value, _, rest = text.partition(" ")
    while value.endswith(",") and rest:  # "--style neon:0.7, sepia:0.4"
        more, _, rest = rest.lstrip().partition(" ")
        value += more
    return value, rest


def _unknown(name: str) -> InvalidRequestError:
    nearest = _options.closest(name, FLAGS)
    known = ", ".join(f"--{flag}" for flag in FLAGS)
    shown = _text.plain(name, 40)
    if nearest:
        return InvalidRequestError(
            "There is no flag --{name}. Did you mean --{nearest}? Known are {known}; everything "
            "else has an option of /imagine.",
            name=shown,
            nearest=nearest,
            known=known,
        )
    return InvalidRequestError(
        "There is no flag --{name}. Known are {known}; everything else has an option of /imagine.",
        name=shown,
        known=known,
    )
