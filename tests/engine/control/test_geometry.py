"""Pictures and skeletons come onto a canvas in the same way, and mirrors keep a person's sides."""

from __future__ import annotations

import pytest
from PIL import Image

from engine.control.geometry import (
    OTHER_SIDE,
    Placement,
    line_width,
    mirror_people,
    place_people,
    place_picture,
    placement,
)
from engine.control.maps import Fit, Skeleton
from engine.control.openpose import JOINTS


def skeleton(**points: tuple[float, float]) -> Skeleton:
    return tuple(points.get(name) for name in JOINTS)


@pytest.mark.parametrize(
    ("fit", "where"),
    [
        (Fit.CROP, Placement(-50, 0, 200, 100)),
        (Fit.PAD, Placement(0, 25, 100, 50)),
        (Fit.STRETCH, Placement(0, 0, 100, 100)),
    ],
)
def test_fit_says_where_a_picture_lies(fit: Fit, where: Placement) -> None:
    assert placement((40, 20), (100, 100), fit) == where


@pytest.mark.parametrize("fit", Fit)
def test_a_joint_stays_on_the_spot_of_the_picture_that_it_marks(fit: Fit) -> None:
    picture = Image.new("RGB", (120, 60), "navy")
    picture.paste("red", (66, 18, 75, 27))
    ((moved, *_),) = place_people([skeleton(nose=(70.5, 22.5))], (120, 60), (96, 128), fit)
    assert moved is not None
    placed = place_picture(picture, (96, 128), fit)
    assert placed.size == (96, 128)
    red, _, blue = placed.getpixel((int(moved[0]), int(moved[1])))
    assert (red > 200, blue < 60) == (True, True)


def test_what_is_drawn_of_a_padded_picture_has_no_border() -> None:
    sizes = []

    def draw(resized: Image.Image) -> Image.Image:
        sizes.append(resized.size)
        return Image.new("RGB", resized.size, "white")

    placed = place_picture(Image.new("RGB", (40, 20)), (64, 64), Fit.PAD, draw=draw)
    assert sizes == [(64, 32)]
    assert [placed.getpixel((32, y))[0] for y in (0, 15, 16, 47, 48)] == [0, 0, 255, 255, 0]


def test_who_waves_with_the_right_hand_waves_with_the_left_one_in_a_mirror() -> None:
    (mirrored,) = mirror_people([skeleton(right_wrist=(10, 5), nose=(30, 8))], 100)
    assert mirrored == skeleton(left_wrist=(90, 5), nose=(70, 8))
    assert mirror_people([mirrored], 100) == (skeleton(right_wrist=(10, 5), nose=(30, 8)),)


def test_sides_are_exchanged_by_their_names() -> None:
    for place, other in enumerate(OTHER_SIDE):
        name = JOINTS[place]
        for side, opposite in (("left_", "right_"), ("right_", "left_")):
            if name.startswith(side):
                assert JOINTS[other] == name.replace(side, opposite)


@pytest.mark.parametrize(
    ("family", "size", "width"),
    [
        ("sd15", (1024, 1024), None),
        ("pocket", (128, 128), None),
        ("sdxl", (448, 320), 4),
        ("sdxl", (768, 512), 8),
        ("sdxl", (832, 1216), 12),
        ("sdxl", (2048, 1024), 16),
    ],
)
def test_pose_nets_for_sdxl_get_thicker_lines(
    family: str, size: tuple[int, int], width: int | None
) -> None:
    assert line_width(family, *size) == width
