"""A1111's prompt syntax: examples worked out by hand, and what holds for every text."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from engine.worker.prompt_syntax import MAX_WEIGHT, Segment, parse

PIECES = st.sampled_from([*"()[]\\:.+-0123456789 ab\n", "BREAK", ":1.5)", "word"])
SYNTAX = st.lists(PIECES, min_size=1, max_size=60).map("".join)


def pairs(prompt: str) -> list[tuple[str, float]]:
    """Returns the segments of a prompt without BREAK, weights to 6 digits."""
    (part,) = parse(prompt)
    return [(segment.text, round(segment.weight, 6)) for segment in part]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        ("a ((very)) red", [("a ", 1), ("very", 1.21), (" red", 1)]),
        ("a [quiet] sea", [("a ", 1), ("quiet", 0.909091), (" sea", 1)]),
        ("[[dim]]", [("dim", 0.826446)]),
        ("(a)(b)", [("ab", 1.1)]),
        ("(word:1.2)", [("word", 1.2)]),
        ("(two words: 0.5 )", [("two words", 0.5)]),
        ("(word:.5)(more:2.)(plus:+1.5)", [("word", 0.5), ("more", 2), ("plus", 1.5)]),
        ("((nested:1.2) here)", [("nested", 1.32), (" here", 1.1)]),
        ("(a (b:1.5):0.5)", [("a ", 0.5), ("b", 0.75)]),
        ("[(even)]", [("even", 1)]),
        ("plain (even:1.0) text", [("plain even text", 1)]),
        (
            "a ((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [("a ", 1), ("house", 1.43), (" ", 1), ("on", 0.909091), (" a ", 1), ("hill", 0.5),
             (", sun, ", 1), ("sky", 1.331), (".", 1)],
        ),
        (r"\(literal\] \[x\)", [("(literal] [x)", 1)]),
        (r"a \\(b) c\d \ ", [("a \\", 1), ("b", 1.1), (" c\\d \\ ", 1)]),
        (r"(saber \(fate\):1.3)", [("saber (fate)", 1.3)]),
        ("[no:1.5]", [("no:1.5", 0.909091)]),
        ("(ratio 16:9)", [("ratio 16", 9)]),
        ("(a:)", [("a:", 1.1)]),
        ("(a:1.2.3)(b:x)(c:1e3)(d:٣)", [("a:1.2.3b:xc:1e3d:٣", 1.1)]),
        ("()[](:2)", []),
        ("", []),
    ],
)  # fmt: skip
def test_examples(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert pairs(prompt) == [(text, min(weight, MAX_WEIGHT)) for text, weight in expected]


@pytest.mark.parametrize(
    "prompt",
    [":)", ":(", "(open", "close)", "a [b", "a] b", "([", "])", "(x:1.2", "x:1.2)", ")(", "8-]"],
)
def test_bracket_without_a_partner_is_text(prompt: str) -> None:
    assert pairs(prompt) == [(prompt, 1)]


def test_bracket_without_a_partner_leaves_the_others_alone() -> None:
    assert pairs("(a [b) c]") == [("a [b", 1.1), (" c]", 1)]
    assert pairs("((a) b") == [("(", 1), ("a", 1.1), (" b", 1)]
    assert pairs("(happy :) face)") == [("happy :", 1.1), (" face)", 1)]


def test_break_parts_the_prompt_even_within_brackets() -> None:
    assert parse("a BREAK b") == [[Segment("a ")], [Segment(" b")]]
    assert parse("(a BREAK b:1.5) c") == [
        [Segment("a ", 1.5)],
        [Segment(" b", 1.5), Segment(" c", 1.0)],
    ]
    assert parse("BREAK") == [[], []]
    assert parse("a,BREAK,b") == [[Segment("a,")], [Segment(",b")]]
    for text in ("OUTBREAK", "BREAKFAST", "break", "BREAK_1"):
        assert parse(text) == [[Segment(text)]]


def test_weights_are_bounded_at_each_level() -> None:
    assert MAX_WEIGHT == 3
    huge = "9" * 400  # as a float this is infinite
    assert pairs(f"(a:{huge})(b:-1)(c:0)") == [("a", 3), ("bc", 0)]
    assert pairs(f"((a:{huge}):0)") == [("a", 0)]
    assert pairs(f"((a:0):{huge})") == [("a", 0)]
    assert pairs("(" * 200 + "a" + ")" * 200) == [("a", 3)]
    assert 0 < pairs("[" * 100 + "a" + "]" * 100)[0][1] < 1e-3


@given(st.text() | SYNTAX)
def test_every_text_is_a_prompt(prompt: str) -> None:
    parts = parse(prompt)
    assert len(parts) == 1 + len(re.findall(r"\bBREAK\b", prompt))
    segments = [segment for part in parts for segment in part]
    assert all(math.isfinite(s.weight) and 0 <= s.weight <= MAX_WEIGHT for s in segments)
    assert all(s.text for s in segments)
    left = iter(prompt)
    assert all(letter in left for s in segments for letter in s.text), "nothing is added or moved"
    for part in parts:
        assert all(a.weight != b.weight for a, b in pairwise(part))


@given(st.text(st.characters(exclude_characters="()[]\\"), min_size=1))
def test_text_without_brackets_stays_as_it_is(text: str) -> None:
    if re.search(r"\bBREAK\b", text) is None:
        assert parse(text) == [[Segment(text)]]


@given(st.text(min_size=1) | SYNTAX)
def test_escaped_text_stays_as_it_is(text: str) -> None:
    escaped = re.sub(r"([()\[\]\\])", r"\\\1", text)
    if re.search(r"\bBREAK\b", escaped) is None:
        assert parse(escaped) == [[Segment(text)]]


@pytest.mark.timeout(60)  # milliseconds each; minutes where a pattern goes back and forth
def test_longest_prompts_are_read_to_their_end() -> None:
    for unit in ("(", "[", ")", "(a", "[(", "([)]", ": ", ":1", ":9" * 700, " ", "\\", "(a:1.1)"):
        prompt = (unit * 1500)[:1500]
        parse(prompt)
        parse("(" + prompt + ")")
