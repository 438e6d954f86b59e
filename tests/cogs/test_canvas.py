"""Canvases and masks: what is kept, what is new, and the soft border between them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cogs import _canvas
from engine.errors import InvalidRequestError

SIZE = (90, 60)


def picture(size: tuple[int, int] = SIZE) -> Image.Image:
    """A different colour at every place, so that one sees what moved where."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return Image.fromarray(np.stack([x * 2, y * 3, (x + y) % 200], axis=-1).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


@pytest.mark.parametrize(("factor", "kept"), [(2.0, (45, 30)), (1.5, (60, 40))])
def test_zoom_keeps_the_small_picture_in_the_middle_and_makes_the_rest_anew(
    factor: float, kept: tuple[int, int]
) -> None:
    canvas = _canvas.zoomed(png(picture()), SIZE, factor)
    made, mask = pixels(canvas.picture), pixels(canvas.mask)
    left, top = (SIZE[0] - kept[0]) // 2, (SIZE[1] - kept[1]) // 2
    small = np.asarray(picture().resize(kept, Image.Resampling.LANCZOS)).astype(int)
    inside = (slice(top, top + kept[1]), slice(left, left + kept[0]))
    assert (made[inside] == small).all()
    outside = np.ones(mask.shape, bool)
    outside[inside] = False
    assert (mask[outside] == 255).all()
    assert mask[SIZE[1] // 2, SIZE[0] // 2] == 0
    edge = mask[SIZE[1] // 2, left : left + 8]  # from the border inwards
    assert edge[0] > 200
    assert (np.diff(edge) <= 0).all()
    assert edge[-1] == 0


@pytest.mark.parametrize(
    ("direction", "kept", "came_from", "new"),
    [
        ((-1, 0), np.s_[:, 36:], np.s_[:, :54], np.s_[:, :36]),
        ((1, 0), np.s_[:, :54], np.s_[:, 36:], np.s_[:, 54:]),
        ((0, -1), np.s_[24:, :], np.s_[:36, :], np.s_[:24, :]),
        ((0, 1), np.s_[:36, :], np.s_[24:, :], np.s_[36:, :]),
    ],
)
def test_pan_moves_the_picture_the_other_way(
    direction: tuple[int, int],
    kept: tuple[slice, slice],
    came_from: tuple[slice, slice],
    new: tuple[slice, slice],
) -> None:
    canvas = _canvas.panned(png(picture()), SIZE, *direction)
    made, mask = pixels(canvas.picture), pixels(canvas.mask)
    assert (made[kept] == np.asarray(picture())[came_from]).all()
    assert (mask[new] == 255).all()
    assert mask[kept].max() < 255
    assert (mask[kept] == 0).mean() > 0.7
    corners = [mask[kept][y, x] for y in (0, -1) for x in (0, -1)]
    assert sorted(corners)[:2] == [0, 0]  # no border where the picture meets the canvas's edge


def test_the_first_guess_has_the_colours_of_the_edge() -> None:
    canvas = _canvas.zoomed(png(picture()), SIZE, 2.0)
    made = pixels(canvas.picture)
    assert abs(made[13, 45] - made[16, 45]).max() < 60  # just above the kept part
    assert made[30, 68, 0] > made[30, 21, 0] + 60  # right and left of it


def test_cells_are_counted_as_one_reads_and_can_be_inverted() -> None:
    mask = pixels(_canvas.cells_mask(SIZE, {1, 6}))
    assert mask.shape == (60, 90)
    middles = [
        [int(mask[10 + 20 * row, 15 + 30 * column]) for column in range(3)] for row in range(3)
    ]
    assert middles == [[255, 0, 0], [0, 0, 255], [0, 0, 0]]
    assert 0 < mask[10, 29] < 255  # soft
    assert (pixels(_canvas.cells_mask(SIZE, {1, 6}, invert=True)) == 255 - mask).all()


def test_painted_mask_takes_the_pictures_size_and_one_without_white_is_refused() -> None:
    painted = Image.new("RGB", (9, 6), "black")
    painted.paste("white", (0, 0, 4, 6))
    mask = pixels(_canvas.drawn_mask(png(painted), SIZE))
    assert mask.shape == (60, 90)
    assert (mask[30, 10], mask[30, 80]) == (255, 0)
    with pytest.raises(InvalidRequestError, match=r"no part of it is white.*invert"):
        _canvas.drawn_mask(png(Image.new("RGB", (9, 6), "black")), SIZE)
    inverted = pixels(_canvas.drawn_mask(png(Image.new("RGB", (9, 6), "black")), SIZE, invert=True))
    assert inverted.min() == 255
