"""Finished maps are recognised, pictures are not taken for maps, and a drawn skeleton can be read."""

from __future__ import annotations

import io
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageFilter

from engine.control.edges import canny, lineart, scribble
from engine.control.openpose import draw_skeleton, draw_skeletons
from engine.control.recognition import read_skeleton, recognise
from engine.control.segmentation import ADE20K, PALETTE
from engine.pocket.hints import hint_of, skeleton_of
from engine.pocket.scenes import SIZE, render, sample_scene


def scene(category: str, number: int = 0):
    return sample_scene(Random(f"{category}/{number}"), category)


def as_jpeg(image: Image.Image, quality: int = 85) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def pictures() -> list[Image.Image]:
    rendered = [
        render(scene(category, number)).image
        for category in ("person", "single", "thing", "setting", "pair")
        for number in range(3)
    ]
    noise = np.random.default_rng(3).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((384, 256), Image.Resampling.BICUBIC)
    half = Image.new("RGB", (128, 128), "black")
    half.paste("white", (0, 0, 64, 128))
    return [
        *rendered,
        *(image.convert("L").convert("RGB") for image in rendered[::5]),
        photo,
        photo.convert("L"),
        half,
        Image.new("RGB", (50, 50)),
        Image.new("RGB", (50, 50), "white"),
        Image.new("RGB", (1, 1)),
    ]


def test_pictures_are_no_maps() -> None:
    found = [recognise(image) for image in pictures()]
    assert found == [None] * len(found)


def test_depth_maps_are_smooth_and_grey() -> None:
    y, x = np.mgrid[0:300, 0:400]
    floor = 40 + y * 0.4
    ball = np.sqrt(np.clip(90**2 - (x - 200) ** 2 - (y - 150) ** 2, 0, None))
    depth = np.maximum(floor, np.where(ball > 0, 120 + ball, 0))
    depth_map = Image.fromarray(depth.astype(np.uint8))
    assert recognise(depth_map) == recognise(as_jpeg(depth_map.convert("RGB"))) == "depth"
    rng = np.random.default_rng(2)
    textured = (depth + rng.normal(0, 8, depth.shape)).clip(0, 255).astype(np.uint8)
    assert recognise(Image.fromarray(textured)) is None


@pytest.mark.parametrize("kind", ["openpose", "canny", "segmentation"])
def test_maps_are_known_by_their_colours(kind: str) -> None:
    category = "person" if kind == "openpose" else "setting"
    hints = [hint_of(kind, scene(category, number)) for number in range(6)]
    assert [recognise(hint) for hint in hints] == [kind] * 6
    large = [hint.resize((640, 640), Image.Resampling.NEAREST) for hint in hints[:2]]
    if kind != "canny":  # edges of five pixels are none
        assert [recognise(hint) for hint in large] == [kind] * 2


@pytest.mark.parametrize("kind", ["openpose", "canny"])
def test_jpeg_does_not_hide_a_map(kind: str) -> None:
    person = scene("person")
    hint = draw_skeleton([(x * 4, y * 4) for x, y in skeleton_of(person)], 512, 512)
    if kind == "canny":
        hint = canny(render(person).image.resize((512, 512), Image.Resampling.LANCZOS))
    assert recognise(as_jpeg(hint)) == kind


def test_joints_are_read_from_the_picture_of_a_skeleton() -> None:
    for number in range(2):
        points = [(x * 4, y * 4) for x, y in skeleton_of(scene("person", number))]
        for drawn in (draw_skeleton(points, 512, 512), as_jpeg(draw_skeleton(points, 512, 512))):
            read = read_skeleton(drawn)
            assert read is not None
            # A joint may be hidden below another one's disc.
            errors = [
                np.hypot(a[0] - b[0], a[1] - b[1])
                for a, b in zip(read, points, strict=True)
                if a is not None
            ]
            assert len(errors) >= 15
            assert max(errors) < 5


def test_of_two_people_no_single_skeleton_is_read() -> None:
    one = [
        (x * 200, y * 400)
        for x, y in [(p[0] / SIZE, p[1] / SIZE) for p in skeleton_of(scene("person"))]
    ]
    two = [(x + 210, y) for x, y in one]
    drawn = draw_skeletons([one, two], 512, 512)
    assert recognise(drawn) == "openpose"
    assert read_skeleton(drawn) is None
    assert read_skeleton(Image.new("RGB", (64, 64))) is None


def test_palette_is_that_of_the_named_colours() -> None:
    numbers = {"wall": 0, "building": 1, "sky": 2, "tree": 4, "road": 6, "grass": 9, "person": 12,
               "mountain": 16, "car": 20, "house": 25, "sea": 26, "signboard": 43, "sand": 46,
               "flower": 66, "boat": 76, "animal": 126}  # fmt: skip
    assert {name: tuple(PALETTE[number].tolist()) for name, number in numbers.items()} == ADE20K
    assert PALETTE.shape == (150, 3)


def test_lines_are_white_on_black_also_of_a_drawing_on_paper() -> None:
    paper = Image.new("RGB", (256, 256), "white")
    paper.paste((20, 20, 20), (40, 100, 216, 104))
    photo = Image.new("RGB", (256, 256), (60, 90, 160))
    photo.paste((230, 200, 60), (60, 60, 200, 200))
    for draw in (lineart, scribble):
        lines = np.asarray(draw(paper).convert("L"))
        assert lines[102, 120] > 200
        assert np.mean(lines > 128) < 0.1
        edge = np.asarray(draw(photo).convert("L"))
        assert edge[58:63, 120].max() > 100
        assert edge[130, 130] == edge[20, 20] == 0
    filled = Image.new("RGB", (256, 256), "white")
    filled.paste((20, 20, 20), (90, 60, 140, 200))  # not a line, however dark
    assert np.asarray(scribble(filled).convert("L"))[130, 115] == 0
    thin, thick = (
        np.mean(np.asarray(draw(photo).convert("L")) > 200) for draw in (lineart, scribble)
    )
    assert thick > 1.2 * thin


def test_noise_is_not_drawn() -> None:
    rng = np.random.default_rng(1)
    noisy = Image.fromarray(rng.normal(128, 6, (128, 128, 3)).clip(0, 255).astype(np.uint8))
    assert np.mean(np.asarray(lineart(noisy.filter(ImageFilter.GaussianBlur(1)))) > 60) < 0.01
