"""The tokenizer knows the captions' words and takes any other text as bytes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("torch")
from transformers import CLIPTokenizer

from engine.pocket.captions import caption, words
from engine.pocket.data import CATEGORIES
from engine.pocket.diffusion import SHORT_TOKENS
from engine.pocket.scenes import sample_scene
from engine.pocket.tokenizer import MAX_TOKENS, build_tokenizer

TOKENIZER = build_tokenizer()


def test_every_known_word_is_one_token() -> None:
    for word in words():
        assert len(TOKENIZER(word).input_ids) == 3, word
        assert len(TOKENIZER(word.upper()).input_ids) == 3, word


def test_captions_fit_the_short_context() -> None:
    longest = max(
        len(TOKENIZER(caption(sample_scene(Random(i), CATEGORIES[i % 5]), Random(i))).input_ids)
        for i in range(500)
    )
    assert longest <= SHORT_TOKENS


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_accepted(text: str) -> None:
    ids = TOKENIZER(text, padding="max_length", truncation=True, max_length=MAX_TOKENS).input_ids
    assert len(ids) == MAX_TOKENS
    assert ids[0] == TOKENIZER.bos_token_id
    assert TOKENIZER.eos_token_id in ids
    assert max(ids) < len(TOKENIZER)


@pytest.mark.parametrize(
    "text", ["a red circle", "ein großer öltanker", "火山 & 🌋", "ñandú's 1234"]
)
def test_text_round_trips(text: str) -> None:
    decoded = TOKENIZER.decode(TOKENIZER(text).input_ids, skip_special_tokens=True)
    assert decoded.replace(" ", "") == text.replace(" ", "")


def test_special_tokens_come_last_as_in_clip() -> None:
    assert TOKENIZER.eos_token_id == len(TOKENIZER) - 1
    assert TOKENIZER.pad_token_id == TOKENIZER.eos_token_id
    assert TOKENIZER.bos_token_id == len(TOKENIZER) - 2


def test_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded.model_max_length == MAX_TOKENS
    for text in ("a red circle on a blue background", "grün, 東京 !?"):
        assert loaded(text).input_ids == TOKENIZER(text).input_ids
