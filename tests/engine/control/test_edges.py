"""Edge maps show outlines, white on black."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from engine.control.edges import canny


def test_edges_are_the_outline_white_on_black() -> None:
    picture = Image.new("RGB", (96, 64), (30, 60, 200))
    ImageDraw.Draw(picture).rectangle((20, 16, 75, 47), fill=(240, 220, 40))
    edges = canny(picture)
    assert (edges.mode, edges.size) == ("RGB", (96, 64))
    pixels = np.asarray(edges)
    assert set(np.unique(pixels).tolist()) == {0, 255}
    rows, columns = np.nonzero(pixels[..., 0])
    assert (abs(rows.min() - 16), abs(rows.max() - 47)) <= (1, 1)
    assert (abs(columns.min() - 20), abs(columns.max() - 75)) <= (1, 1)
    assert not pixels[22:42, 26:70].any()  # neither inside nor outside
    assert not pixels[:12].any()


def test_a_faint_change_is_no_edge() -> None:
    picture = Image.new("RGB", (64, 64), (100, 100, 100))
    ImageDraw.Draw(picture).rectangle((20, 20, 40, 40), fill=(108, 108, 108))
    assert not np.asarray(canny(picture)).any()


def test_other_modes_are_taken() -> None:
    picture = Image.new("LA", (32, 32), (0, 255))
    ImageDraw.Draw(picture).rectangle((8, 8, 24, 24), fill=(255, 255))
    assert np.asarray(canny(picture)).any()
