"""Skeletons are drawn as OpenPose draws them: points, colours and widths."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from engine.control.openpose import (
    COLOURS,
    FROM_COCO,
    JOINTS,
    LIMBS,
    Point,
    draw_skeleton,
    draw_skeletons,
    from_coco,
    half_width,
)

COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

# A person who faces us in a picture of 512 x 512, points far enough apart to be told by colour.
PERSON: dict[str, Point] = {
    "nose": (256, 90), "neck": (256, 150), "right_shoulder": (206, 150), "right_elbow": (160, 200),
    "right_wrist": (110, 160), "left_shoulder": (306, 150), "left_elbow": (350, 210),
    "left_wrist": (350, 280), "right_hip": (226, 280), "right_knee": (216, 370),
    "right_ankle": (206, 470), "left_hip": (286, 280), "left_knee": (306, 370),
    "left_ankle": (326, 470), "right_eye": (236, 70), "left_eye": (276, 70),
    "right_ear": (206, 80), "left_ear": (306, 80),
}  # fmt: skip
POINTS = tuple(PERSON[name] for name in JOINTS)


@pytest.mark.parametrize("place", range(18), ids=JOINTS)
def test_each_joint_is_a_disc_of_radius_four_in_its_colour(place: int) -> None:
    only: list[Point | None] = [None] * 18
    only[place] = POINTS[place]
    pixels = np.asarray(draw_skeleton(only, 512, 512))
    lit = np.argwhere(pixels.any(axis=-1))
    assert (pixels[tuple(lit.T)] == COLOURS[place]).all()
    x, y = POINTS[place]
    assert lit.min(axis=0).tolist() == [y - 4, x - 4]
    assert lit.max(axis=0).tolist() == [y + 4, x + 4]


@pytest.mark.parametrize("place", range(17))
def test_each_limb_is_an_ellipse_in_three_fifths_of_its_colour(place: int) -> None:
    first, second = LIMBS[place]
    only: list[Point | None] = [None] * 18
    only[first], only[second] = POINTS[first], POINTS[second]
    pixels = np.asarray(draw_skeleton(only, 512, 512))
    (ax, ay), (bx, by) = POINTS[first], POINTS[second]
    middle = pixels[int((ay + by) / 2), int((ax + bx) / 2)]
    assert middle.tolist() == [int(value * 0.6) for value in COLOURS[place]]
    along = np.array([bx - ax, by - ay]) / np.hypot(bx - ax, by - ay)
    across = np.array([-along[1], along[0]])
    for away, inside in ((3, True), (6, False)):
        x, y = np.array([(ax + bx) / 2, (ay + by) / 2]) + away * across
        assert pixels[int(y), int(x)].any() == inside


def test_the_eighteen_colours_go_round_the_hues() -> None:
    hues = [colorsys.rgb_to_hsv(*(value / 255 for value in colour))[0] for colour in COLOURS]
    assert hues == sorted(hues)
    assert len(set(hues)) == 18
    assert COLOURS[0] == (255, 0, 0)
    assert COLOURS[-1] == (255, 0, 85)


def test_joints_lie_over_limbs_and_the_rest_is_black() -> None:
    pixels = np.asarray(draw_skeleton(POINTS, 512, 512))
    for (x, y), colour in zip(POINTS, COLOURS, strict=True):
        assert pixels[int(y), int(x)].tolist() == list(colour)
    assert (pixels.any(axis=-1)).mean() < 0.06


def test_a_missing_point_takes_its_limbs_along() -> None:
    points: list[Point | None] = list(POINTS)
    points[JOINTS.index("right_elbow")] = None
    pixels = np.asarray(draw_skeleton(points, 512, 512))
    assert not pixels[175, 183].any()  # the middle of the upper arm
    assert not pixels[180, 135].any()  # and of the forearm
    assert pixels[160, 110].tolist() == list(COLOURS[JOINTS.index("right_wrist")])


def test_no_points_give_black_and_a_wrong_number_is_refused() -> None:
    assert draw_skeleton([None] * 18, 64, 96).size == (64, 96)
    assert not np.asarray(draw_skeleton([None] * 18, 64, 96)).any()
    with pytest.raises(ValueError, match="18 points, not 17"):
        draw_skeleton([None] * 17, 64, 64)


def test_two_people_are_both_drawn() -> None:
    other = tuple((x / 2, y / 2) for x, y in POINTS)
    pixels = np.asarray(draw_skeletons([POINTS, other], 512, 512))
    for points in (POINTS, other):
        x, y = points[JOINTS.index("left_wrist")]
        assert pixels[int(y), int(x)].tolist() == list(COLOURS[JOINTS.index("left_wrist")])


@pytest.mark.parametrize(("side", "width"), [(128, 2), (256, 2), (384, 3), (512, 4), (1024, 4)])
def test_lines_get_thinner_only_in_small_pictures(side: int, width: int) -> None:
    assert half_width(side, side + 64) == width


def test_thicker_lines_on_request() -> None:
    thin, thick = (np.asarray(draw_skeleton(POINTS, 512, 512, n)).any(axis=-1) for n in (4, 8))
    assert thick.sum() > 1.7 * thin.sum()


@pytest.mark.parametrize("place", [i for i in range(18) if i != 1], ids=lambda i: JOINTS[i])
def test_coco_points_keep_their_names(place: int) -> None:
    assert COCO[FROM_COCO[place]] == JOINTS[place]
    keypoints = np.stack([np.arange(17.0), 10 * np.arange(17.0)], axis=1)
    points = from_coco(keypoints, np.ones(17), 0.5)
    where = COCO.index(JOINTS[place])
    assert points[place] == (where, 10 * where)


def test_the_neck_is_between_two_known_shoulders() -> None:
    keypoints, scores = np.zeros((17, 2)), np.ones(17)
    keypoints[COCO.index("left_shoulder")] = (30, 20)
    keypoints[COCO.index("right_shoulder")] = (10, 24)
    assert from_coco(keypoints, scores, 0.3)[1] == (20, 22)
    scores[COCO.index("left_shoulder")] = 0.2
    points = from_coco(keypoints, scores, 0.3)
    assert points[1] is None
    assert points[JOINTS.index("left_shoulder")] is None
    assert points[JOINTS.index("right_shoulder")] == (10, 24)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="17 points"):
        from_coco(np.zeros((18, 2)), np.zeros(18), 0.3)
