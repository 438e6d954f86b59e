"""The judges of objects give the renderer's own pictures full marks, and notice every wrong fact."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from PIL import Image

pytest.importorskip("torch")
from engine.pocket.scenes import Item, Scene, render, sample_scene
from engine.pocket.scores.objects import held_out_scenes, judge, score, weak_points

STAR = Scene("white", (Item("star", "red", 0.5, 0.5, 0.3),))
PAIR = Scene(
    "white",
    (Item("star", "red", 0.27, 0.5, 0.2), Item("house", "blue", 0.73, 0.5, 0.2)),
    relation="beside",
)


def _score(category: str, asked: Scene, drawn: Scene) -> tuple[float, float, float, float]:
    figures, _ = score(category, [asked], [render(drawn).image], 1.0)
    return figures.background, figures.colour, figures.kind, figures.all_right


@pytest.mark.parametrize("category", ["plain", "single", "thing", "setting", "pair"])
def test_renderers_own_pictures_score_full_marks(category: str) -> None:
    scenes = held_out_scenes(category, 12 if category == "setting" else 8)
    figures, _ = score(category, scenes, [render(scene).image for scene in scenes], 1.0)
    assert figures.background == 1
    assert figures.colour >= (0.9 if category == "setting" else 1)
    assert figures.kind >= 0.87
    assert figures.kind_by_other_judge is None or figures.kind_by_other_judge >= 0.87


def test_pictures_of_other_scenes_score_low() -> None:
    scenes = held_out_scenes("single", 24)
    others = [render(sample_scene(Random(f"other/{i}"), "single")).image for i in range(24)]
    figures, _ = score("single", scenes, others, 1.0)
    assert figures.all_right <= 0.1
    assert figures.kind < 0.4
    assert figures.kind_by_other_judge is not None
    assert figures.kind_by_other_judge < 0.4
    assert figures.weak


def test_each_wrong_fact_costs_its_own_figure() -> None:
    item = STAR.items[0]
    assert _score("single", STAR, STAR) == (1, 1, 1, 1)
    assert _score("single", STAR, replace(STAR, background="pink")) == (0, 1, 1, 0)
    assert _score("single", STAR, replace(STAR, items=(replace(item, colour="green"),))) == (
        1,
        0,
        1,
        0,
    )
    assert _score("single", STAR, replace(STAR, items=(replace(item, kind="heart"),))) == (
        1,
        1,
        0,
        0,
    )


def test_objects_of_a_pair_must_be_in_their_halves() -> None:
    first, second = PAIR.items
    swapped = replace(PAIR, items=(replace(second, x=first.x), replace(first, x=second.x)))
    assert _score("pair", PAIR, PAIR) == (1, 1, 1, 1)
    assert _score("pair", PAIR, swapped) == (1, 0, 0, 0)
    assert _score("pair", PAIR, replace(PAIR, items=(first,))) == (1, 0, 0, 0)


def test_plain_pictures_show_nothing() -> None:
    (verdict,) = judge("single", [STAR], [Image.new("RGB", (128, 128), (246, 246, 244))])
    assert verdict.background == "white"
    assert verdict.colours == verdict.kinds == ("",)


def test_weak_points_name_what_was_taken_for_what() -> None:
    heart = replace(STAR, items=(replace(STAR.items[0], kind="heart", size="small"),))
    asked = [replace(STAR, items=(replace(STAR.items[0], size="small"),))] * 3
    verdicts = judge("single", asked, [render(heart).image] * 3)
    points = weak_points(asked, verdicts)
    assert "star is heart (3x)" in points
    assert "size small: 0 of 3 right" in points
