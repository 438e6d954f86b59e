"""What people typed, made safe to show."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings, strategies as st

from cogs import _counts, _text

PIECES = st.one_of(
    st.characters(),
    st.sampled_from("@<>*_~`|[]()#:\\-/\u200b\u202e\u2066\u200d\ufeff\u0301\n\t\ud800"),
    st.sampled_from(
        ["@everyone", "<@1>", "https://a.b", "discord.gg/x", "</a:1>", "\U0001f469\u200d\U0001f3a8"]
    ),
)
HOSTILE = st.lists(PIECES, max_size=120).map("".join)


def unescaped(text: str) -> str:
    """The text as Discord shows it."""
    return re.sub(r"\\([^0-9A-Za-z\s])", r"\1", text)


@given(HOSTILE)
def test_clean_text_is_one_visible_line(text: str) -> None:
    cleaned = _text.clean(text)
    assert "\n" not in cleaned
    assert cleaned == cleaned.strip()
    for character in cleaned:
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert character in "\u200c\u200d" or unicodedata.category(character) != "Cf"
    assert _text.clean(cleaned) == cleaned
    cleaned.encode()


@given(HOSTILE)
@example("::0:")
def test_escaped_text_has_no_markup_of_its_own(text: str) -> None:
    escaped = _text.escape(text)
    # An escaped character means nothing; a letter takes its place, so that nothing moves together.
    bare = re.sub(r"\\[^0-9A-Za-z\s]", "x", escaped)
    assert not set(bare) & set("*_~`|<[\\")
    assert not re.search(r"^[>#+-]|@everyone|@here|://|:[^\s:]+:", bare)
    assert "discord.gg" not in escaped.lower()
    assert unescaped(escaped) == _text.clean(text)


@given(HOSTILE, st.integers(1, 120))
def test_cut_text_fits_and_is_a_beginning(text: str, limit: int) -> None:
    shown = _text.shown(text, limit)
    assert _text.length(shown) <= limit
    begun = unescaped(shown).removesuffix("…").rstrip()
    assert _text.clean(text).startswith(begun) or shown == ""
    kept = shown.removesuffix("…")
    assert (len(kept) - len(kept.rstrip("\\"))) % 2 == 0  # no escape is cut in half


@given(HOSTILE)
def test_code_cannot_leave_its_block(text: str) -> None:
    assert "```" not in _text.code(text)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("a red circle", "a red circle"),
        ("@everyone", r"\@everyone"),
        ("<@&5>", r"\<\@&5>"),
        (
            "red-haired (close-up), 8:1, #1 @ home, a@b.c",
            "red-haired (close-up), 8:1, #1 @ home, a@b.c",
        ),
        ("> a", r"\> a"),
        ("# a", r"\# a"),
        ("-# a", r"\-# a"),
        (":smile: a:b: 1:2", r"\:smile: a\:b: 1:2"),
        ("**bold** __x__", r"\*\*bold\*\* \_\_x\_\_"),
        ("[safe](https://bad.example)", r"\[safe](https\://bad.example)"),
        ("join discord.gg/abc", r"join discord\.gg/abc"),
        ("a\nb\r\n c", "a b c"),
        ("gnp\u202eexe", "gnpexe"),
        ("ev\u200beryone", "everyone"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("\U0001f469\u200d\U0001f3a8", "\U0001f469\u200d\U0001f3a8"),
        ("a\u200db", "ab"),
        ("z" + "\u0301" * 50, "z" + "\u0301" * 4),
        ("\u3164\u2800", ""),
    ],
)
def test_escape(typed: str, shown: str) -> None:
    assert _text.escape(typed) == shown


@settings(max_examples=20)
@given(st.integers(1, 2000))
def test_emoji_count_as_clients_count_them(number: int) -> None:
    assert _text.length(_text.shown("😀" * number, 100)) <= 100


def test_numbers_and_lists_read_well() -> None:
    assert [_counts.jobs(n) for n in (0, 1, 1200)] == ["0 jobs", "1 job", "1,200 jobs"]
    assert _text.joined_within(["one", "two", "three"], 7) == "one\ntwo"
    assert _text.joined_within(["longer than that"], 7) == ""
