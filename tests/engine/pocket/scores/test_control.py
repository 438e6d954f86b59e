"""The judges of control on the renderer's own pictures: a perfect one scores high, another one low."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from engine.pocket.hints import skeleton_of
from engine.pocket.people import sleeve_colour
from engine.pocket.scenes import SETTINGS, Item, Scene, is_held_out, render
from engine.pocket.scores.control import (
    edge_overlap,
    foreground,
    judge_overlaps,
    judge_poses,
    mask_overlap,
    mixed_scenes,
    prompt_of,
    unseen_scenes,
)
from engine.pocket.scores.limbs import joints_near, limbs_dressed

PEOPLE = unseen_scenes("person", 12)


def test_people_in_their_poses_score_high_and_the_wrong_skeleton_low() -> None:
    pictures = [render(scene).image for scene in PEOPLE]
    score = judge_poses(PEOPLE, pictures, [skeleton_of(scene) for scene in PEOPLE])
    assert score.pictures == 12
    assert score.limbs > 0.97
    assert score.limbs_of_wrong < 0.6
    assert score.joints == 1
    assert score.joints_of_wrong is not None
    assert score.joints_of_wrong < 0.5
    assert judge_poses(PEOPLE, pictures).joints is None


def test_other_clothes_are_not_the_ones_asked_for() -> None:
    scene = PEOPLE[0]
    assert scene.person is not None
    swapped = replace(
        scene,
        person=replace(scene.person, shirt=scene.person.trousers, trousers=scene.person.shirt),
    )
    right, asked = limbs_dressed(render(swapped).image, scene, skeleton_of(scene))
    assert right < 0.1 * asked
    empty = Image.new("RGB", (128, 128), sleeve_colour(scene.background))
    right, asked = limbs_dressed(empty, scene, skeleton_of(scene))
    assert (right, asked > 70) == (0, True)


def test_only_limbs_and_joints_inside_of_the_picture_count() -> None:
    scene = PEOPLE[0]
    points = skeleton_of(scene)
    outside = [(x + 500, y) for x, y in filter(None, points)]
    assert limbs_dressed(render(scene).image, scene, outside) == (0, 0)
    assert joints_near(points, outside) == (0, 0)
    assert joints_near([None] * 18, points) == (0, 18)
    near, far = ([(x + away, y) for x, y in filter(None, points)] for away in (10, 11))
    assert joints_near(near, points) == (18, 18)
    assert joints_near(far, points) == (0, 18)


def test_overlaps_of_perfect_pictures_are_high_and_of_others_low() -> None:
    scenes = mixed_scenes(12, edges=True)
    pictures = [render(scene).image for scene in scenes]
    others = [*pictures[4:], *pictures[:4]]  # of the same categories
    edges = judge_overlaps("canny", scenes, pictures, others)
    assert edges.overlap == 1
    assert edges.prompt_alone < 0.3
    assert edges.gain > 3
    assert dict(edges.by_category) == dict.fromkeys(("person", "thing", "single", "pair"), 1)
    areas = judge_overlaps("depth", scenes, pictures, others)
    assert areas.overlap > 0.9
    assert areas.prompt_alone < 0.6


def test_an_edge_may_be_off_by_a_pixel() -> None:
    lines = np.zeros((3, 40, 40), dtype=bool)
    for line, column in zip(lines, (10, 11, 12), strict=True):
        line[:, column] = True
    assert edge_overlap(lines[0], lines[1]) == 1
    assert edge_overlap(lines[0], lines[2]) == 0
    assert edge_overlap(lines[0], lines[0] | lines[2]) == pytest.approx(1 / 2, abs=0.2)
    assert edge_overlap(np.zeros_like(lines[0]), lines[0]) == 0


def test_areas_are_compared_by_intersection_over_union() -> None:
    left, right = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    left[:, :2], right[:, 1:3] = True, True
    assert mask_overlap(left, right) == pytest.approx(1 / 3)
    picture = render(Scene("white", (Item("square", "blue", 0.5, 0.5, 0.25),))).image
    assert 0.15 < foreground(picture).mean() < 0.4


def test_scenes_and_prompts_are_unseen_and_tell_no_pose() -> None:
    for scene in PEOPLE:
        assert scene.person is not None
        assert scene.background not in SETTINGS
        assert is_held_out(scene.person.shirt, scene.person.trousers, scene.background)
        end = f"in a {scene.person.shirt} shirt and {scene.person.trousers} trousers on a "
        assert end in prompt_of(scene).replace(" an ", " a ")
    assert mixed_scenes(6) == mixed_scenes(6)
    assert [scene.person is not None for scene in mixed_scenes(5)] == [
        True,
        False,
        False,
        False,
        True,
    ]
