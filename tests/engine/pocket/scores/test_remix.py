"""What a remix keeps and changes is measured from the pictures."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

pytest.importorskip("torch")
from engine.pocket.reading import mask_of
from engine.pocket.scenes import render
from engine.pocket.scores.objects import held_out_scenes
from engine.pocket.scores.remix import overlap, recoloured


def test_recoloured_scene_keeps_the_layout_and_changes_every_colour() -> None:
    for i, scene in enumerate(held_out_scenes("single", 20)):
        want = recoloured(scene, Random(i))
        old, new = scene.items[0], want.items[0]
        assert len({old.colour, scene.background, new.colour, want.background}) == 4
        assert not new.size
        assert not new.place
        assert overlap(mask_of(render(scene).image), mask_of(render(want).image)) > 0.85


def test_overlap_falls_with_distance() -> None:
    scene = held_out_scenes("single", 1)[0]
    item = replace(scene.items[0], x=0.4, r=0.2)
    here = mask_of(render(replace(scene, items=(item,))).image)
    near, far = (
        mask_of(render(replace(scene, items=(replace(item, x=x),))).image) for x in (0.5, 0.79)
    )
    assert overlap(here, here) == 1
    assert 0.2 < overlap(here, near) < 0.9
    assert overlap(here, far) < 0.1
    assert overlap(np.zeros_like(here), np.zeros_like(here)) == 0
