"""Clothes are read from pixels, whatever the person does, and wrong ones are noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

pytest.importorskip("torch")
from engine.pocket.scenes import SETTINGS, Item, Scene, render
from engine.pocket.scores.people import CATEGORIES, Clothes, people_scenes, read_clothes, score

PLAIN, SETTING = CATEGORIES


def test_clothes_before_plain_backgrounds_are_read_rightly() -> None:
    scenes = people_scenes(PLAIN, 60)
    figures, _ = score(PLAIN, scenes, [render(scene).image for scene in scenes], 1.0)
    assert figures.background == 1
    assert figures.clothes >= 0.97
    assert figures.person >= 0.97


def test_recogniser_reads_clothes_in_settings() -> None:
    scenes = people_scenes(SETTING, 40)
    assert all(scene.background in SETTINGS for scene in scenes)
    figures, _ = score(SETTING, scenes, [render(scene).image for scene in scenes], 1.0)
    assert figures.background >= 0.95
    assert figures.clothes >= 0.85


def test_swapped_clothes_are_noticed() -> None:
    scenes = people_scenes(PLAIN, 12)
    swapped = [
        replace(s, person=replace(s.person, shirt=s.person.trousers, trousers=s.person.shirt))
        for s in scenes
        if s.person
    ]
    figures, _ = score(PLAIN, scenes, [render(scene).image for scene in swapped], 1.0)
    assert figures.shirt == figures.trousers == figures.all_right == 0
    assert figures.person > 0.9
    assert any(text.startswith("shirt and trousers swapped") for text in figures.weak)


def test_seam_of_the_backgrounds_colour_does_not_cut_a_person() -> None:
    """A pixel between black and orange is brown, as the background is."""
    scene = people_scenes(PLAIN, 1)[0]
    assert scene.person
    for shirt, trousers, background in (("black", "orange", "brown"), ("blue", "red", "purple")):
        person = replace(scene.person, shirt=shirt, trousers=trousers)
        picture = render(replace(scene, person=person, background=background)).image
        assert read_clothes(picture) == Clothes(background, shirt, trousers)


def test_things_are_not_taken_for_people() -> None:
    scenes = people_scenes(PLAIN, 8)
    others = [Scene(s.background, (Item("house", "red", 0.5, 0.5, 0.3),)) for s in scenes]
    figures, _ = score(PLAIN, scenes, [render(scene).image for scene in others], 1.0)
    assert figures.person == figures.all_right == 0
    blank = read_clothes(Image.new("RGB", (128, 128), (246, 246, 244)))
    assert blank == Clothes("white", "", "")
