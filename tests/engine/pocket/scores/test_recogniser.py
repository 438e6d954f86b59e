"""The committed recogniser knows the renderer's pictures, and what is no picture of anything."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from PIL import ImageFilter

pytest.importorskip("torch")
from engine.pocket.scenes import SETTINGS, render, sample_scene
from engine.pocket.scores.examples import SIDE, crop_of, example, sample_picture
from engine.pocket.scores.recogniser import WEIGHTS, Recogniser, recognise, train


def test_kinds_of_fresh_pictures_are_recognised_even_when_blurred() -> None:
    scenes = [
        sample_scene(Random(f"fresh/{i}"), ("single", "thing")[i % 2], held_out=True)
        for i in range(96)
    ]
    pictures = [render(scene).image for scene in scenes]
    blurred = [picture.filter(ImageFilter.GaussianBlur(1.2)) for picture in pictures]
    for shown, least in ((pictures, 0.97), (blurred, 0.95)):
        seen = recognise([crop_of(picture) for picture in shown])
        right = [s.kind == scene.items[0].kind for s, scene in zip(seen, scenes, strict=True)]
        assert sum(right) / len(right) >= least


def test_settings_are_recognised() -> None:
    scenes = [sample_scene(Random(f"fresh/{i}"), "setting") for i in range(40)]
    seen = recognise([render(scene).image for scene in scenes])
    assert {scene.background for scene in scenes} == set(SETTINGS)
    assert all(s.background == scene.background for s, scene in zip(seen, scenes, strict=True))


def test_blobs_and_ghosts_are_seldom_taken_for_something() -> None:
    rng = Random("blobs")
    pictures = []
    while len(pictures) < 40:
        scene, picture = sample_picture(rng)
        if scene is None:
            pictures.append(crop_of(picture))
    assert sum(seen.kind == "none" for seen in recognise(pictures)) >= 30


def test_crops_hold_the_whole_object() -> None:
    scene, picture = None, None
    rng = Random("crops")
    while scene is None or len(scene.items) != 1 or scene.background in SETTINGS:
        scene, picture = sample_picture(rng)
    assert picture is not None
    assert crop_of(picture).size == (SIDE, SIDE)
    assert example(rng, scene, picture).pixels.shape == (SIDE, SIDE, 3)


def test_training_runs_and_weights_are_small(tiny_model: Path) -> None:
    recogniser = train(2, 4, tiny_model, pictures=20)
    assert isinstance(recogniser, Recogniser)
    assert WEIGHTS.stat().st_size < 300_000
