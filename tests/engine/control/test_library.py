"""The poses that come with Easel are whole people inside of their canvas, and no two are alike."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from engine.control.library import Pose, built_in
from engine.control.making import skeleton_map
from engine.control.maps import MapRequest
from engine.control.openpose import JOINTS
from engine.control.recognition import recognise

POSES = {pose.name: pose for pose in built_in()}


def at(name: str, joint: str) -> tuple[float, float]:
    point = POSES[name].people[0][JOINTS.index(joint)]
    assert point is not None
    return point


def test_there_are_twelve_with_names_that_people_type() -> None:
    assert len(POSES) == 12
    assert {"standing", "waving", "sitting", "running", "T pose"} <= POSES.keys()


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES.keys())
def test_each_is_a_skeleton_inside_of_its_canvas(pose: Pose) -> None:
    (skeleton,) = pose.people
    assert len(skeleton) == len(JOINTS)
    assert sum(point is not None for point in skeleton) >= 17
    for point in skeleton:
        assert point is None or (0 < point[0] < pose.width and 0 < point[1] < pose.height)
    made = skeleton_map(pose.people, (pose.width, pose.height), MapRequest("openpose", 256, 256))
    assert recognise(Image.open(io.BytesIO(made.png))) == "openpose"


def test_they_do_what_they_are_called() -> None:
    assert at("waving", "right_wrist")[1] < at("waving", "nose")[1]
    assert at("arms up", "left_wrist")[1] < at("arms up", "nose")[1]
    assert at("sitting", "left_knee")[1] - at("sitting", "left_hip")[1] < 120
    assert abs(at("T pose", "left_wrist")[1] - at("T pose", "neck")[1]) < 20
    assert abs(at("lying", "nose")[1] - at("lying", "left_ankle")[1]) < 100
    # They face the viewer: their right is on the picture's left, or runs would be seen from behind.
    assert all(at(name, "right_shoulder")[0] <= at(name, "left_shoulder")[0] for name in POSES)


def test_no_two_are_alike() -> None:
    joints = [np.array([p or (0, 0) for p in pose.people[0]]) for pose in POSES.values()]
    for number, one in enumerate(joints):
        assert all(np.abs(one - other).max() > 70 for other in joints[:number])
