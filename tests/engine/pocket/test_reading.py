"""Objects are read from pixels alone, by comparison with what the renderer would draw."""

from __future__ import annotations

from PIL import Image

from engine.pocket.reading import halves, read
from engine.pocket.scenes import Item, Scene, render


def test_plain_picture_reads_as_background_alone() -> None:
    reading = read(Image.new("RGB", (128, 128), (36, 76, 208)))
    assert (reading.background, reading.colour, reading.kind) == ("blue", "", "")


def test_halves_follow_the_relation() -> None:
    items = (Item("star", "red", 0.5, 0.27, 0.2), Item("ring", "blue", 0.5, 0.73, 0.2))
    picture = render(Scene("white", items, "above")).image
    upper, lower = (read(half) for half in halves(picture, "above"))
    assert (upper.kind, upper.colour) == ("star", "red")
    assert (lower.kind, lower.colour) == ("ring", "blue")
