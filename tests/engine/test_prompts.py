"""Prompts that stand for several: choices in braces and wildcard files."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InvalidRequestError
from engine.prompts import MAX_PROMPTS, has_wildcards, permutations, with_wildcards


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
