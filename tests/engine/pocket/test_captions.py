"""Captions tell what the scene holds."""

from __future__ import annotations

from random import Random

import pytest

pytest.importorskip("torch")
from engine.pocket.captions import (
    COLOUR_WORDS,
    KIND_WORDS,
    PLACE_WORDS,
    canonical_caption,
    caption,
    forgetful_caption,
    junk,
    words,
)
from engine.pocket.data import CATEGORIES
from engine.pocket.scenes import SETTINGS, Item, Scene, sample_scene


def _says(text: str, options: tuple[str, ...]) -> bool:
    return any(f" {option} " in f" {text.replace(',', ' ')} " for option in options)


@pytest.mark.parametrize("category", CATEGORIES)
def test_caption_names_every_colour_and_kind(category: str) -> None:
    for i in range(150):
        scene = sample_scene(Random(i), category)
        colours = [item.colour for item in scene.items]
        if scene.person:
            colours += [scene.person.shirt, scene.person.trousers]
        if scene.background not in SETTINGS:
            colours.append(scene.background)
        for text in (caption(scene, Random(i)), canonical_caption(scene)):
            for colour in colours:
                assert _says(text, COLOUR_WORDS.get(colour, (colour,))), (text, scene)
            for item in scene.items:
                assert _says(text, KIND_WORDS.get(item.kind, (item.kind,))), (text, scene)
            assert " a orange" not in text
            assert "  " not in text


def test_canonical_caption_tells_size_and_place() -> None:
    item = Item("circle", "orange", 0.3, 0.3, 0.15, size="small", place="top left")
    text = canonical_caption(Scene("blue", (item,)))
    assert text == "a small orange circle in the top left corner on a blue background"
    assert PLACE_WORDS["top left"][0] in text


def test_order_in_caption_follows_the_picture() -> None:
    red, blue = Item("star", "red", 0.27, 0.5, 0.2), Item("ring", "blue", 0.73, 0.5, 0.2)
    scene = Scene("white", (red, blue), "beside")
    for i in range(60):
        text = caption(scene, Random(i))
        star, ring = text.find("star"), max(text.find("ring"), text.find("donut"))
        assert (star < ring) == ("right of" not in text), text


def test_captions_vary() -> None:
    scene = sample_scene(Random(1), "single")
    assert len({caption(scene, Random(i)) for i in range(60)}) > 15


def test_every_word_of_a_caption_is_known() -> None:
    known = set(words())
    for i in range(300):
        scene = sample_scene(Random(i), CATEGORIES[i % len(CATEGORIES)])
        used = caption(scene, Random(i)).replace(",", " ").split()
        assert set(used) <= known


@pytest.mark.parametrize("category", CATEGORIES)
def test_forgetful_caption_says_nothing_wrong(category: str) -> None:
    full, without_background = 0, 0
    for i in range(200):
        scene = sample_scene(Random(i), category)
        text = forgetful_caption(scene, Random(i)).split(",")[0]
        colours = {item.colour for item in scene.items} | {scene.background}
        if scene.person:
            colours |= {scene.person.shirt, scene.person.trousers}
        named = {
            colour
            for colour in COLOUR_WORDS.keys() | {"red", "blue", "black", "white"}
            if colour in text.split()
        }
        if not (scene.person and scene.person.hair in named):
            assert named <= colours, (text, scene)
        full += "background" in text
        without_background += "background" not in text
    assert without_background > 20
    assert full + without_background == 200


def test_junk_never_names_what_can_be_drawn() -> None:
    known = {*KIND_WORDS, *COLOUR_WORDS, "red", "blue", "man", "woman", "meadow"}
    for i in range(300):
        assert known.isdisjoint(junk(Random(i)).replace(",", " ").split())
