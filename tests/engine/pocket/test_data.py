"""Which pictures are trained on, and their recoloured twins."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from engine.pocket.data import CATEGORIES, CURRICULUM, phase_at, recoloured, scene_of
from engine.pocket.scenes import SETTINGS, Scene


def _colours(scene: Scene) -> list[str]:
    clothes = [scene.person.shirt, scene.person.trousers] if scene.person else []
    plain = [] if scene.background in SETTINGS else [scene.background]
    return [*(item.colour for item in scene.items), *clothes, *plain]


def _without_colours(scene: Scene) -> Scene:
    return replace(
        scene,
        background=scene.background if scene.background in SETTINGS else "",
        items=tuple(replace(item, colour="") for item in scene.items),
        person=scene.person and replace(scene.person, shirt="", trousers=""),
    )


@pytest.mark.parametrize("category", CATEGORIES)
def test_recoloured_scene_has_the_layout_and_none_of_the_colours(category: str) -> None:
    for i in range(60):
        scene = scene_of(1, category, i)
        other = recoloured(scene, Random(i))
        assert _without_colours(other) == _without_colours(scene)
        assert set(_colours(other)).isdisjoint(_colours(scene))
        assert len(set(_colours(other))) == len(set(_colours(scene)))


def test_every_number_of_samples_has_a_phase() -> None:
    ends = [phase.until for phase in CURRICULUM]
    assert ends == sorted(ends)
    assert phase_at(0) is CURRICULUM[0]
    assert phase_at(CURRICULUM[0].until) is CURRICULUM[1]
    assert phase_at(10**9) is CURRICULUM[-1]
