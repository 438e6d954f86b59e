"""What `--control` means."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.controls import GivenControl
from engine.errors import InvalidRequestError
from engine.types import Control


@pytest.mark.parametrize(
    ("text", "file", "control"),
    [
        ("canny:house.jpg", "house.jpg", Control("canny", "")),
        ("canny:house.jpg:0.8", "house.jpg", Control("canny", "", 0.8)),
        ("openpose:a/b.png:1:0.2-0.75", "a/b.png", Control("openpose", "", 1.0, 0.2, 0.75)),
        ("auto:a:b.png", "a:b.png", Control("auto", "")),
        ("auto:a:b.png:.5", "a:b.png", Control("auto", "", 0.5)),
        ("depth:1.png:0-1", "1.png:0-1", Control("depth", "")),
    ],
)
def test_file_scale_and_window_are_told_apart(text: str, file: str, control: Control) -> None:
    assert GivenControl.parse(text) == GivenControl(Path(file), control)


@pytest.mark.parametrize("text", ["", "canny", "canny:", ":house.jpg", "a b:house.jpg"])
def test_what_is_not_understood_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="like canny:house"):
        GivenControl.parse(text)


@pytest.mark.parametrize(
    "text", ["canny:a.png:2.5", "canny:a.png:1:0.6-0.2", "canny:a.png:1:0-1.5"]
)
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="control"):
        GivenControl.parse(text)
