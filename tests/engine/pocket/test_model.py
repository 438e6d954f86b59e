"""The committed model draws what it is asked for, by the statistics of its pictures."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")
from engine.pocket import MODEL_DIR
from engine.pocket.evaluate import draw, load
from engine.pocket.objects import SHAPES
from engine.pocket.reading import read

PROMPTS = {
    "a red circle on a blue background": ("blue", "red", "circle"),
    "a yellow star on a black background": ("black", "yellow", "star"),
    "a green triangle on a white background": ("white", "green", "triangle"),
    "a purple heart on an orange background": ("orange", "purple", "heart"),
    "a gray cross on a white background": ("white", "gray", "cross"),
    "a white ring on a red background": ("red", "white", "ring"),
}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers
def test_model_draws_colours_and_shapes_that_were_asked_for() -> None:
    pipe, settings = load(MODEL_DIR)
    pictures = draw(
        pipe,
        list(PROMPTS),
        int(settings["default_steps"]),
        settings["default_guidance_scale"],
    )
    readings = [read(picture, SHAPES) for picture in pictures]
    expected = list(PROMPTS.values())
    assert [(r.background, r.colour) for r in readings] == [each[:2] for each in expected]
    right = [r.kind == kind for r, (_, _, kind) in zip(readings, expected, strict=True)]
    assert right[0]  # the circle that every example asks for
    assert sum(right) >= len(right) - 1


def test_model_folder_is_small_and_holds_no_code() -> None:
    files = [path for path in MODEL_DIR.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 20 * 2**20
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt"}


def test_package_imports_no_torch() -> None:
    code = "import sys, engine.pocket; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
