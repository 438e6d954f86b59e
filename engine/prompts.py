"""Prompts that stand for several: `{a, b}` is one prompt with each, `__name__` a random line of a file.

Both are written out before anything else reads the prompt, so what is stored, shown and made again is
always one plain text.
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable
from pathlib import Path

from engine.errors import InvalidRequestError
from engine.types import MAX_PROMPT_LENGTH

MAX_PROMPTS = 12
_MAX_FILE_BYTES = 1 << 20
_MAX_WILDCARDS = 20  # in one prompt
_NOVEL = 10 * MAX_PROMPT_LENGTH
_NAMED = 10  # of them, to somebody who typed none of them
_SHOWN = 60  # characters of a name that is quoted
_CHOICE = re.compile(
    r"(?<!\\)\{([^{},]*,[^{}]*)(?<!\\)\}"
)  # without a comma, braces are just braces
_WILDCARD = re.compile(r"(?<![A-Za-z0-9_])__([A-Za-z0-9][A-Za-z0-9-]*(?:[_/][A-Za-z0-9-]+)*)__")

Pick = Callable[[list[str]], str]
_RANDOM = random.SystemRandom()


def permutations(prompt: str) -> list[str]:
    r"""Returns the prompts that one with `{a, b}` stands for, the innermost braces first.

    `\{` is a plain brace, and `\,` a plain comma. A prompt without choices is returned as it is.

    Raises:
        InvalidRequestError: It stands for more than `MAX_PROMPTS`.
    """
    found = [prompt]
    while any(_CHOICE.search(one) for one in found):
        longer: list[str] = []
        for one in found:
            match = _CHOICE.search(one)
            if match is None:
                longer.append(one)
                continue
            head, tail = one[: match.start()], one[match.end() :]
            options = re.split(r"(?<!\\),", match[1])
            longer += [f"{head}{option.strip()}{tail}" for option in options]
            if len(longer) > MAX_PROMPTS:
                raise InvalidRequestError(
                    "The choices in braces stand for more than {limit} prompts. Leave some out.",
                    limit=MAX_PROMPTS,
                )
        found = longer
    if found == [prompt]:
        return found
    plain = [re.sub(r"\\([{},])", r"\1", " ".join(one.split())) for one in found]
    return list(dict.fromkeys(plain))


def has_wildcards(prompt: str) -> bool:
    """True when there may be a file to read."""
    return _WILDCARD.search(prompt) is not None


def with_wildcards(prompt: str, folder: Path, pick: Pick = _RANDOM.choice) -> str:
    """Returns the prompt with a line of `<folder>/<name>.txt` for each `__name__`; reads files.

    Lines may name other wildcards; those that begin with `#` are comments. What has become longer than
    any prompt may be is returned as it is, to be refused for its length.

    Raises:
        InvalidRequestError: There is no such file, it has no lines, or the lines never end.
    """
    for _ in range(_MAX_WILDCARDS):
        match = _WILDCARD.search(prompt)
        if match is None or len(prompt) > _NOVEL:
            return prompt
        line = pick(_lines(folder, match[1]))
        prompt = prompt[: match.start()] + line + prompt[match.end() :]
    if not has_wildcards(prompt):
        return prompt
    raise InvalidRequestError(
        "The prompt has more than {limit} wildcards. Leave some out.", limit=_MAX_WILDCARDS
    )


def _lines(folder: Path, name: str) -> list[str]:
    known = {path.relative_to(folder).with_suffix("").as_posix(): path for path in _files(folder)}
    path = known.get(name)
    if path is None:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
        if nearest:
            raise InvalidRequestError(
                "There is no wildcard __{name}__. Did you mean __{nearest}__?",
                name=shown,
                nearest=nearest[0],
            )
        if known:
            names = ", ".join(f"__{one}__" for one in list(known)[:_NAMED])
            raise InvalidRequestError(
                "There is no wildcard __{name}__. There are: {names}.", name=shown, names=names
            )
        raise InvalidRequestError(
            "There is no wildcard __{name}__, nor any other here. Write the words themselves.",
            name=shown,
        )
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise InvalidRequestError(
            "The wildcard __{name}__ cannot be read now.", name=name
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise InvalidRequestError(
            "The wildcard __{name}__ has no lines. Use another one.", name=name
        )
    return lines


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.txt")) if folder.is_dir() else []
