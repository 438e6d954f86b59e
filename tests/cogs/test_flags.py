"""Flags inside a prompt set options, and what is no flag stays in the prompt."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, strategies as st

from cogs import _flags, _options
from cogs._options import Options, Quality
from engine.errors import InvalidRequestError


def read(prompt: str, **given: object) -> Options:
    options, _ = _flags.read(Options(prompt, **given))
    return options


def test_flags_set_options_and_leave_the_prompt() -> None:
    options, private = _flags.read(
        Options("a cat --ar 16:9 --no dogs, red hats --seed 7 --repeat 3 --hd --private")
    )
    assert options == Options(
        "a cat",
        aspect="16:9",
        negative="dogs, red hats",
        seed="7",
        count="3",
        quality=Quality.HD,
    )
    assert private


def test_an_option_of_the_command_wins() -> None:
    options = read("a cat --seed 7 --ar 1:1", seed=3, aspect="16:9")
    assert (options.prompt, options.seed, options.aspect) == ("a cat", 3, "16:9")
    assert _flags.read(Options("a cat"), private=True)[1]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a cat --draft in the rain", "a cat in the rain"),
        ("a cat --ar 16:9 in the rain --hd", "a cat in the rain"),
        ("--ar 16:9 a cat", "a cat"),
    ],
)
def test_words_behind_a_flag_belong_to_the_prompt(prompt: str, words: str) -> None:
    assert read(prompt).prompt == words


def test_phones_and_other_habits() -> None:
    assert read("a cat —ar 16:9").aspect == "16:9"
    assert read("a cat \u2013no dogs").negative == "dogs"
    assert read("a cat --AR=16:9").aspect == "16:9"


@pytest.mark.parametrize(
    "prompt", ["a man —smiling, old", "a well-known cat", "10--20 cats", "a -- b", "x --", "a --3"]
)
def test_dashes_in_prose_are_left_alone(prompt: str) -> None:
    assert read(prompt) == Options(prompt)


def test_an_unknown_flag_names_the_nearest() -> None:
    with pytest.raises(InvalidRequestError, match=r"no flag --seeed. Did you mean --seed\?"):
        read("a cat --seeed 7")
    with pytest.raises(InvalidRequestError, match="--ar, "):
        read("a cat --v 6")


@pytest.mark.parametrize("prompt", ["a cat --ar", "a cat --ar --hd", "a cat --no"])
def test_a_missing_value_is_said_with_an_example(prompt: str) -> None:
    with pytest.raises(InvalidRequestError, match="needs a value, like --"):
        read(prompt)


@given(st.text())
def test_any_text_is_read_or_refused_with_words(prompt: str) -> None:
    with contextlib.suppress(InvalidRequestError):
        assert read(prompt).prompt is not None


@pytest.mark.parametrize(("said", "strength"), [("0", 1.0), ("1", 0.5), ("1.5", 0.25), ("2", 0.0)])
def test_image_weight_is_strength_the_other_way_round(said: str, strength: float) -> None:
    weight = read(f"a cat --iw {said}").image_weight
    assert _options.strength_of(None, has_picture=True, weight=weight) == strength
    assert _options.strength_of(0.9, has_picture=True, weight=weight) == 0.9  # the option wins


@pytest.mark.parametrize(
    ("said", "words"), [("3", "from 0 to 2"), ("much", "from 0 to 2"), ("1", "Attach one")]
)
def test_image_weight_needs_its_range_and_a_picture(said: str, words: str) -> None:
    weight = read(f"a cat --iw {said}").image_weight
    with pytest.raises(InvalidRequestError, match=words):
        _options.strength_of(None, has_picture=words != "Attach one", weight=weight)
