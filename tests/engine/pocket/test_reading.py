"""The evaluation reads the renderer's own pictures rightly, and notices wrong ones."""

from __future__ import annotations

from random import Random

import pytest
from PIL import Image

pytest.importorskip("torch")
from engine.pocket.evaluate import held_out_scenes, score
from engine.pocket.reading import halves, read
from engine.pocket.scenes import Item, Scene, render, sample_scene


@pytest.mark.parametrize("category", ["single", "thing", "pair"])
def test_renderers_own_pictures_score_full_marks(category: str) -> None:
    scenes = held_out_scenes(category, 12)
    result = score(category, scenes, [render(scene).image for scene in scenes], 1.0)
    assert result.background == 1
    assert result.colour == 1
    assert result.kind >= 0.95


def test_pictures_of_other_scenes_score_low() -> None:
    scenes = held_out_scenes("single", 24)
    others = [render(sample_scene(Random(f"other/{i}"), "single")).image for i in range(24)]
    result = score("single", scenes, others, 1.0)
    assert result.all_right <= 0.1
    assert result.kind < 0.4


def test_plain_picture_reads_as_background_alone() -> None:
    reading = read(Image.new("RGB", (128, 128), (36, 76, 208)))
    assert (reading.background, reading.colour, reading.kind) == ("blue", "", "")


def test_halves_follow_the_relation() -> None:
    items = (Item("star", "red", 0.5, 0.27, 0.2), Item("ring", "blue", 0.5, 0.73, 0.2))
    picture = render(Scene("white", items, "above")).image
    upper, lower = (read(half) for half in halves(picture, "above"))
    assert (upper.kind, upper.colour) == ("star", "red")
    assert (lower.kind, lower.colour) == ("ring", "blue")
