"""Prompts that stand for several: choices in braces and wildcard files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.errors import InvalidRequestError
from engine.prompts import MAX_PROMPTS, has_wildcards, permutations, with_wildcards
from engine.types import MAX_PROMPT_LENGTH


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a cat", ["a cat"]),
        ("a {word} and {} stay", ["a {word} and {} stay"]),
        ("a {red, blue} cat", ["a red cat", "a blue cat"]),
        ("{a,b} {1,2}", ["a 1", "a 2", "b 1", "b 2"]),
        ("a {red, {light, dark} blue} cat", ["a red cat", "a light blue cat", "a dark blue cat"]),
        ("a cat {, in snow}", ["a cat", "a cat in snow"]),
        ("a cat --ar {1:1, 16:9}", ["a cat --ar 1:1", "a cat --ar 16:9"]),
        (r"{a\, b, c} \{d, e\}", ["a, b {d, e}", "c {d, e}"]),
        ("{a, a} cat", ["a cat"]),
    ],
)
def test_choices_in_braces_are_written_out(prompt: str, wanted: list[str]) -> None:
    assert permutations(prompt) == wanted


def test_too_many_choices_are_refused_before_they_are_made() -> None:
    assert len(permutations("{" + ",".join(map(str, range(MAX_PROMPTS))) + "}")) == MAX_PROMPTS
    with pytest.raises(InvalidRequestError, match=f"more than {MAX_PROMPTS} prompts"):
        permutations("{a, b, c, d}" * 300)


LONGEST = 6000  # characters that Discord lets through
CPU_S = 2.0  # processor time, which does not depend on what else the machine does


def nested(depth: int) -> str:
    return "{a," * depth + "b" + "}" * depth


@pytest.mark.parametrize(
    "bomb",
    [
        "{a,b}" * (LONGEST // 5),
        nested(LONGEST // 4),
        "{" + nested(500) + "," + nested(500) + "}",
        "{a,a}" * 1000,  # the same words each time
        "{" + "," * (LONGEST - 2) + "}",
        "".join("{" + "a," * 11 + "b}" for _ in range(200)),
    ],
    ids=["many", "nested", "two nested", "equal", "commas", "both"],
)
def test_bomb_of_choices_is_refused_in_a_moment(bomb: str) -> None:
    began = time.thread_time()
    with pytest.raises(InvalidRequestError, match=f"more than {MAX_PROMPTS} prompts"):
        permutations(bomb)
    assert time.thread_time() - began < CPU_S


@pytest.mark.parametrize(
    "prompt",
    [
        "{" * LONGEST,
        "{" + "," * (LONGEST - 1),
        "{," * (LONGEST // 2),
        "{" * (LONGEST // 2) + "a,b" + "}" * (LONGEST // 2),
        "\\{" * (LONGEST // 2),
        "{" + "\\," * (LONGEST // 2 - 1) + "}",
    ],
    ids=["open", "open with commas", "open each", "braces in braces", "escaped", "plain commas"],
)
def test_braces_that_mean_little_take_no_time(prompt: str) -> None:
    began = time.thread_time()
    assert len(permutations(prompt)) <= 2
    assert time.thread_time() - began < CPU_S


@pytest.mark.parametrize(
    "lines",
    [
        {"a": "__a__"},
        {"a": "__a__ __a__"},
        {"a": "__b__", "b": "__c__", "c": "__a__"},
    ],
    ids=["itself", "itself twice", "in a circle"],
)
def test_wildcards_that_name_themselves_are_refused_in_a_moment(
    tmp_path: Path, lines: dict[str, str]
) -> None:
    for name, line in lines.items():
        (tmp_path / f"{name}.txt").write_text(f"{line}\n")
    began = time.thread_time()
    with pytest.raises(InvalidRequestError, match="more than 20 wildcards"):
        with_wildcards("__a__", tmp_path)
    assert time.thread_time() - began < CPU_S


def test_wildcards_with_long_lines_are_given_up_for_their_length(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x " * 250_000 + "__a__\n")
    began = time.thread_time()
    assert len(with_wildcards("__a__", tmp_path)) > 10 * MAX_PROMPT_LENGTH
    assert time.thread_time() - began < CPU_S


def test_wildcards_are_lines_of_files(tmp_path: Path) -> None:
    (tmp_path / "animal.txt").write_text("# comment\n\n cat \ndog\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "big_one.txt").write_text("big __animal__\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "loop.txt").write_text("__loop__\n")
    (tmp_path.parent / "secret.txt").write_text("secret\n")

    def pick(lines: list[str]) -> str:
        return lines[-1]

    assert with_wildcards("a __animal__, __deep/big_one__", tmp_path, pick) == "a dog, big dog"
    assert with_wildcards("a __animal__", tmp_path) in ("a cat", "a dog")
    assert not has_wildcards("snake_case __ and ____ and __init")
    for prompt, words in (
        ("__animals__", r"no wildcard __animals__\. Did you mean __animal__\?"),
        ("__empty__", "has no lines"),
        ("__loop__", "more than 20 wildcards"),
        ("__secret__", "There is no wildcard"),
    ):
        with pytest.raises(InvalidRequestError, match=words):
            with_wildcards(prompt, tmp_path, pick)
    assert not has_wildcards("__../secret__")
