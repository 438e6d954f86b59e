"""Maps are made in the size that is asked for, from what is found, once for each picture."""

from __future__ import annotations

import io
from random import Random

import numpy as np
import pytest
from PIL import Image

from engine.control.edges import canny
from engine.control.making import MapMaker, encode, mirrored, skeleton_map
from engine.control.maps import AUTO, KINDS, ControlWish, Fit, MapRequest, Skeleton
from engine.control.openpose import draw_skeleton, draw_skeletons
from engine.errors import InvalidRequestError
from engine.pocket.hints import hint_of, skeleton_of
from engine.pocket.scenes import SIZE, Scene, render, sample_scene

PERSON = sample_scene(Random(5), "person")
POINTS: Skeleton = tuple(skeleton_of(PERSON))
PHOTO = encode(render(PERSON).image)
MEADOW = encode(render(Scene("meadow", decor=3)).image)


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def close(one: Image.Image, other: Image.Image) -> bool:
    return bool(np.mean(np.abs(np.asarray(one, int) - np.asarray(other, int)) > 40) < 0.02)


class Finder:
    """Finds the person of `PHOTO` there and nobody elsewhere."""

    def __init__(self) -> None:
        self.asked = 0

    def people(self, image: Image.Image) -> list[Skeleton]:
        self.asked += 1
        return [POINTS] if encode(image) == PHOTO else []

    def depth(self, image: Image.Image) -> Image.Image:
        self.asked += 1
        return Image.linear_gradient("L").rotate(90).resize(image.size).convert("RGB")


def maker(*kinds: str, **options) -> MapMaker:
    return MapMaker("tiny", kinds or KINDS, **options)


def test_a_person_becomes_a_skeleton_with_lines_for_the_new_size() -> None:
    finder = Finder()
    made = maker(find_people=finder.people).make(PHOTO, MapRequest(AUTO, 512, 512))
    assert (made.kind, made.was_map) == ("openpose", False)
    factor = 512 / SIZE
    expected = [(x * factor, y * factor) for x, y in skeleton_of(PERSON)]
    assert np.allclose(made.people, [expected])
    assert opened(made.png).tobytes() == draw_skeleton(expected, 512, 512).tobytes()


def test_without_a_person_the_next_kind_is_taken() -> None:
    finder = Finder()
    made = maker("canny", "openpose", find_people=finder.people).make(
        MEADOW, MapRequest(AUTO, 96, 96)
    )
    resized = opened(MEADOW).resize((96, 96), Image.Resampling.LANCZOS)
    assert made.kind == "canny"
    assert opened(made.png).tobytes() == canny(resized).tobytes()


def test_nobody_there_is_said_with_the_next_step() -> None:
    finder = Finder()
    with pytest.raises(InvalidRequestError, match=r"no person in this picture.*like canny"):
        maker("canny", "openpose", find_people=finder.people).make(
            MEADOW, MapRequest("openpose", 64, 64)
        )
    for kind in ("openpose", AUTO):
        with pytest.raises(InvalidRequestError, match="or take a pose of the library"):
            maker("openpose", find_people=finder.people).make(MEADOW, MapRequest(kind, 64, 64))
    with pytest.raises(InvalidRequestError, match="no model here that reads depth"):
        maker().make(MEADOW, MapRequest("depth", 64, 64))
    with pytest.raises(InvalidRequestError, match="for any control of tiny"):
        maker("depth", "segmentation").make(MEADOW, MapRequest(AUTO, 64, 64))
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        maker().make(b"no picture", MapRequest("canny", 64, 64))


def test_a_finished_map_is_used_as_it_is_and_a_skeleton_is_drawn_anew() -> None:
    edges = canny(render(PERSON).image)
    made = maker("canny", "openpose").make(encode(edges), MapRequest(AUTO, SIZE, SIZE))
    assert (made.kind, made.was_map) == ("canny", True)
    assert opened(made.png).tobytes() == edges.tobytes()

    large = draw_skeleton([(x * 6, y * 6) for x, y in skeleton_of(PERSON)], 768, 768)
    made = maker("openpose").make(encode(large), MapRequest("openpose", SIZE, SIZE))
    assert made.was_map
    assert close(opened(made.png), draw_skeleton(POINTS, SIZE, SIZE))

    pair = [[(x * s + d, y * 4) for x, y in skeleton_of(PERSON)] for s, d in ((2, 0), (2, 256))]
    several = draw_skeletons(pair, 512, 512)
    made = maker("openpose").make(encode(several), MapRequest(AUTO, 512, 512))
    assert (made.people, made.was_map) == ((), True)
    assert opened(made.png).tobytes() == several.tobytes()


def test_a_grey_picture_is_a_depth_map_for_who_says_so() -> None:
    layers = hint_of("depth", PERSON)
    made = maker("canny", "depth").make(encode(layers), MapRequest("depth", SIZE, SIZE))
    assert (made.kind, made.was_map) == ("depth", True)
    assert opened(made.png).tobytes() == layers.tobytes()
    assert maker("canny", "depth").make(encode(layers), MapRequest(AUTO, 64, 64)).kind == "canny"


@pytest.mark.parametrize("kind", ["openpose", "canny", "depth"])
def test_mirrors_are_the_same_before_and_after(kind: str) -> None:
    finder = Finder()
    own = maker(find_people=finder.people, find_depth=finder.depth)
    wish = MapRequest(kind, 128, 96, Fit.CROP)
    plain = own.make(PHOTO, wish)
    turned = own.make(PHOTO, MapRequest(kind, 128, 96, Fit.CROP, mirror=True))
    assert mirrored(plain).png == turned.png
    assert mirrored(turned).png == plain.png
    assert plain.png != turned.png
    assert finder.asked == (0 if kind == "canny" else 1), "what was found is kept"


def test_what_is_kept_is_bounded_in_bytes() -> None:
    finder = Finder()
    own = maker(find_depth=finder.depth, cache_bytes=120_000)
    others = [encode(Image.new("RGB", (SIZE, SIZE), (level, 0, 0))) for level in range(5)]
    for png in others:
        own.make(png, MapRequest("depth", 64, 64))
        assert own.kept_bytes <= 120_000
    own.make(others[-1], MapRequest("depth", 96, 96))
    assert finder.asked == 5
    own.make(others[0], MapRequest("depth", 64, 64))
    assert finder.asked == 6


def test_a_pose_with_known_joints_needs_no_picture() -> None:
    pose = tuple((x / SIZE, y / SIZE) for x, y in skeleton_of(PERSON))
    made = skeleton_map([pose], (1, 1), MapRequest("openpose", 192, 128, Fit.PAD))
    expected = [(32 + x * 128, y * 128) for x, y in pose]
    assert opened(made.png).tobytes() == draw_skeleton(expected, 192, 128).tobytes()


@pytest.mark.parametrize(
    "wrong", [{"kind": "hands"}, {"scale": 3}, {"start": 0.8, "end": 0.2}, {"end": 1.2}]
)
def test_wishes_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidRequestError):
        ControlWish(**wrong)
