"""Filters change pictures as their styles say, a short training writes a LoRA that works, styles are told apart."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

pytest.importorskip("torch")
import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from engine.lora.metadata import read_lora_info
from engine.pocket.captions import caption
from engine.pocket.drawing import COLOURS, Canvas, disc
from engine.pocket.filters import STYLES, luminance, pixels_of
from engine.pocket.scenes import SIZE, Scene, render, sample_scene
from engine.pocket.scores.studio import load
from engine.pocket.scores.style_judge import BASE, StyleJudge, colour_of, kind_of, shares_of
from engine.pocket.scores.styles import measure
from engine.pocket.styles import (
    TOKENS,
    Lesson,
    phrase_of,
    styled_caption,
    train_style,
    write_style,
)
from engine.pocket.tokenizer import build_tokenizer

# in diffusers' DPM++ scheduler
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def pictures(seed: str, count: int) -> list:
    rng = Random(seed)
    return [render(sample_scene(rng, "single")).image for _ in range(count)]


def circle(colour: str, background: str) -> np.ndarray:
    """A circle in the middle, as pixels behind every filter, by style."""
    canvas = Canvas(SIZE, COLOURS[background])
    canvas.polygon(disc(0.5, 0.5, 0.3), COLOURS[colour])
    return {name: pixels_of(style.look(canvas.picture())) for name, style in STYLES.items()}


def test_every_style_changes_every_picture_plainly() -> None:
    for picture in pictures("plain", 6):
        for name, style in STYLES.items():
            look = style.look(picture)
            assert look.size == picture.size
            moved = np.abs(pixels_of(look) - pixels_of(picture)).mean()
            assert moved > 8, name


def test_styles_look_as_they_are_described() -> None:
    seen = circle("red", "cyan")
    for name in ("noir", "pencil"):
        assert (seen[name].max(-1) - seen[name].min(-1)).max() < 16, f"{name} has colours"
    assert luminance(seen["neon"][:8]).max() < 0.05  # black around
    rim = seen["neon"][SIZE // 2, int(SIZE * 0.2) + 2]
    assert rim[0] > 150
    assert rim[0] > 2 * rim[2]  # and red where the circle ends
    red, green, blue = seen["sepia"].reshape(-1, 3).mean(0)
    assert red > green > blue
    assert luminance(seen["noir"])[64, 4] < luminance(seen["noir"])[64, 20]  # darker corners
    assert luminance(seen["pencil"]).mean() > 0.6
    assert luminance(seen["comic"]).min() < 0.06  # the outline
    assert seen["comic"][64, 64, 0] > seen["comic"][64, 64, 1] + 120  # still red
    assert seen["blueprint"][4, 4].argmax() == 2


def test_captions_name_the_style_mostly_and_fit_the_tokens() -> None:
    tokenizer = build_tokenizer()
    for style in STYLES.values():
        rng = Random(style.name)
        said = []
        for _ in range(150):
            scene: Scene = sample_scene(rng, "pair")
            said.append(styled_caption(scene, style, rng))
        named = sum(style.trigger in text for text in said)
        assert 0.55 * len(said) < named < 0.9 * len(said)
        assert any(text.startswith(style.trigger) for text in said)
        assert any(text.endswith(phrase_of(style)) for text in said)
        plain = [f"{caption(sample_scene(rng, 'person'), rng)} in {phrase_of(style)}" for _ in said]
        assert max(len(ids) for ids in tokenizer(plain).input_ids) <= TOKENS


def test_judge_tells_filters_apart_on_new_pictures() -> None:
    def in_all(seed: str, count: int) -> dict:
        plain = pictures(seed, count)
        return {BASE: plain} | {n: [s.look(p) for p in plain] for n, s in STYLES.items()}

    judge = StyleJudge.learn(in_all("learned", 40))
    verdicts = [judge.judge(p) == name for name, some in in_all("new", 8).items() for p in some]
    assert sum(verdicts) / len(verdicts) >= 0.9


def test_judge_reads_kind_and_colour_in_a_style() -> None:
    canvas = Canvas(SIZE, COLOURS["blue"])
    canvas.polygon(disc(0.45, 0.55, 0.26), COLOURS["orange"])
    kinds = ("square", "circle", "star")
    for name in ("neon", "comic", "blueprint"):
        look = STYLES[name].look(canvas.picture())
        assert kind_of(look, name, "orange", "blue", kinds) == "circle"
    for name in ("neon", "comic"):
        assert colour_of(STYLES[name].look(canvas.picture()), name, "circle", "blue") == "orange"
    empty = STYLES["neon"].look(Canvas(SIZE, COLOURS["blue"]).picture())
    assert kind_of(empty, "neon", "orange", "blue", kinds) == ""


def test_shares_of_two_styles_count_what_both_have_once() -> None:
    first, second = np.array([2.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0])
    assert shares_of(0.6 * first + 0.3 * second, first, second) == pytest.approx((0.6, 0.3))
    assert shares_of(first, first, second) == pytest.approx((1, 0))


def test_short_training_writes_a_lora_that_loads_and_moves_the_picture(
    tiny_model: Path, tmp_path: Path
) -> None:
    def draw(pipe: StableDiffusionPipeline) -> np.ndarray:
        generator = torch.Generator().manual_seed(2)
        return pipe(
            "a red circle", num_inference_steps=2, generator=generator, output_type="np"
        ).images

    (pipe, _), (stock, _) = load(tiny_model), load(tiny_model)
    plain = draw(stock)
    lesson = Lesson(STYLES["neon"], samples=64, pictures=8, rank=2)
    train_style(pipe, lesson, tmp_path)
    write_style(pipe, lesson, tmp_path / "loras", steps=1)
    path = tmp_path / "loras" / "neon.safetensors"
    info = read_lora_info(path)
    assert (info.title, info.triggers, info.family) == ("Neon", ("neon style",), "pocket")
    assert info.thumbnail.startswith(b"RIFF")
    assert (tmp_path / "loras" / "neon.webp").exists()
    assert path.stat().st_size < 1 << 20
    stock.load_lora_weights(path)
    moved = draw(stock)
    assert np.abs(moved - plain).max() > 1e-3
    assert np.abs(moved - draw(pipe)).max() < 2e-2  # float16 weights


def test_measuring_tells_what_each_style_and_mix_does(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("sepia", "comic"):
        pipe, _ = load(tiny_model)
        lesson = Lesson(STYLES[name], samples=16, pictures=4, rank=2)
        train_style(pipe, lesson, tmp_path)
        write_style(pipe, lesson, tmp_path / "loras", steps=1)
    report = measure(tiny_model, tmp_path / "loras", 2, learned_from=6)
    assert [score.style for score in report.styles] == ["sepia", "comic"]
    assert all(score.moved > 0 and score.pictures == 2 for score in report.styles)
    assert [score.colour is None for score in report.styles] == [True, False]
    assert [(mix.first, mix.second) for mix in report.mixes] == [("sepia", "comic")]
    with pytest.raises(FileNotFoundError, match=r"no <style>\.safetensors"):
        measure(tiny_model, tmp_path / "none", 2)
