"""Scenes and their pictures: the same from the same seed, with joints and maps that fit."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from engine.control.openpose import JOINTS
from engine.pocket.data import CATEGORIES
from engine.pocket.drawing import COLOURS
from engine.pocket.objects import KINDS
from engine.pocket.people import PERSON_CLASSES
from engine.pocket.scenes import SETTINGS, Item, Scene, is_held_out, render, sample_scene


@pytest.mark.parametrize("category", CATEGORIES)
def test_same_seed_gives_same_picture(category: str) -> None:
    first, second = (render(sample_scene(Random("s"), category)).image for _ in range(2))
    other = render(sample_scene(Random("t"), category)).image
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != other.tobytes()
    assert first.size == (128, 128)
    assert first.mode == "RGB"


def test_training_never_shows_held_out_combinations() -> None:
    for i in range(400):
        scene = sample_scene(Random(i), "single")
        assert not is_held_out(scene.items[0].kind, scene.items[0].colour, scene.background)
        kept = sample_scene(Random(i), "single", held_out=True)
        assert is_held_out(kept.items[0].kind, kept.items[0].colour, kept.background)


def test_objects_and_backgrounds_differ_in_colour() -> None:
    for i in range(200):
        scene = sample_scene(Random(i), CATEGORIES[i % 4])
        colours = [item.colour for item in scene.items]
        assert len({*colours, scene.background}) == len(colours) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_covers_its_place_in_picture_and_maps(kind: str) -> None:
    scene = Scene("white", (Item(kind, "red", 0.5, 0.5, 0.3),))
    drawing = render(scene, maps=True)
    assert drawing.classes is not None
    assert drawing.depth is not None
    classes = np.asarray(drawing.classes)
    covered = classes == KINDS.index(kind) + 1
    assert 0.05 < covered.mean() < 0.4
    assert (np.asarray(drawing.depth)[covered] > 0).all()
    changed = np.abs(np.asarray(drawing.image, int) - COLOURS["white"]).sum(axis=-1) > 60
    assert (changed & covered).sum() > 0.5 * covered.sum()
    assert (changed & ~covered).sum() < 0.02 * changed.size


def test_joints_lie_on_the_person() -> None:
    for i in range(40):
        scene = sample_scene(Random(i), "person")
        drawing = render(scene, maps=True)
        assert drawing.joints is not None
        assert drawing.classes is not None
        classes = np.asarray(drawing.classes)
        points = dict(zip(JOINTS, drawing.joints, strict=True))
        for name in ("nose", "neck", "right_elbow", "left_elbow", "right_knee", "left_knee"):
            x, y = points[name]
            if 1 <= x < 127 and 1 <= y < 127:
                assert classes[round(y), round(x)] in PERSON_CLASSES.values(), (i, name)
        assert points["right_shoulder"][0] < points["left_shoulder"][0]


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_are_more_than_one_colour(setting: str) -> None:
    pixels = np.asarray(render(Scene(setting)).image)
    assert pixels.std(axis=(0, 1)).max() > 20
