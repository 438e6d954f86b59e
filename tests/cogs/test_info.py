"""The card with everything that decided a picture fits, however much that is."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from cogs import _info, _options
from cogs._recipe import COPY, Recipe
from engine.types import AdapterWeight, Control, Generation
from tests.e2e.manners import length
from tests.storage.samples import a_request, a_submission

SMILES = "\N{GRINNING FACE}"


@pytest.mark.parametrize("letters", range(0, 1500, 150))
def test_long_words_in_every_field_fit_together(letters: int) -> None:
    request = a_request(
        prompt="a" + SMILES * letters,
        negative_prompt="*" * letters,
        model="m" * 100,
        adapters=tuple(AdapterWeight(f"{n:064x}", 0.5, "*" * 60) for n in range(5)),
        num_images=4,
    )
    style = ", ".join(f"{n}{'*' * 49}:0.5" for n in range(5))
    generation = Generation(
        id="a" * 13,
        submission=dataclasses.replace(
            a_submission(request=request, parent_id="b" * 13), action="upscale_creative_4"
        ),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        seconds=1234.5,
        pictures=("c" * 64,) * 4,
        seeds=(4294967295,) * 4,
        warnings=("Some words were not read. *" * 40,),
    )
    line = _options.command_line(request, style)
    embed, text = _info.card(generation, Recipe(COPY, line), style)
    texts = [embed.title or "", embed.description or ""]
    texts += [part for field in embed.fields for part in (str(field.name), str(field.value))]
    assert sum(map(length, texts)) <= 6000
    assert text == line or line in (embed.description or "")


def test_every_control_is_on_the_card() -> None:
    controls = (Control("openpose", "a" * 64, scale=0.8), Control("canny", "b" * 64, end=0.5))
    generation = Generation(
        id="a" * 13,
        submission=a_submission(request=a_request(controls=controls)),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        seconds=1.0,
        pictures=("c" * 64,),
        seeds=(7,),
    )
    embed, _ = _info.card(generation, Recipe(COPY, "/pose"), "")
    (told,) = (field.value for field in embed.fields if field.name == "Control")
    assert told == (
        "openpose, strength 0.8, from 0 to 1 of the steps; canny, strength 1, from 0 to 0.5 of the steps"
    )
