"""How well the styles show: how far each moves a picture, whether it is told from the others, what stays right.

All pictures are of combinations never trained on; a style's picture and the base's have the same words (apart
from the trigger) and the same seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from engine.lora.metadata import read_lora_info
from engine.pocket.captions import canonical_caption
from engine.pocket.filters import STYLES, pixels_of
from engine.pocket.objects import SHAPES
from engine.pocket.scenes import Scene, render, sample_scene
from engine.pocket.scores.examples import through_autoencoder
from engine.pocket.scores.studio import draw, load
from engine.pocket.scores.style_judge import BASE, StyleJudge, colour_of, kind_of, shares_of

LEARNED_FROM = 80  # rendered pictures of each style that the judge sees
MIXES = (("sepia", "comic"), ("noir", "neon"), ("blueprint", "pencil"))
MIX_WEIGHT = 0.6
VISIBLE = 0.15  # share of a style's own change from which a mix shows that style


@dataclass(frozen=True)
class StyleScore:
    """What one style does; shares of its pictures, 0 to 1.

    Attributes:
        moved: Mean absolute difference to the base's pictures, in grey levels of 255.
        told_apart: Judged to be in this style, among the base and all styles.
        taken_for: The wrong judgement made most often, or nothing.
        kind: The right shape.
        kind_of_base: The same of the base's own pictures, by the same judge.
        colour: The object's colour right; None where the style keeps no colour.
    """

    style: str
    pictures: int
    moved: float
    told_apart: float
    taken_for: str
    kind: float
    kind_of_base: float
    colour: float | None


@dataclass(frozen=True)
class MixScore:
    """Two styles at `MIX_WEIGHT` each.

    A picture's change from the base's picture is written as a sum of the two styles' mean changes (least
    squares in the judge's units); it shows a style where that style's share is at least `VISIBLE`.

    Attributes:
        first_share: Mean share of the first style's change.
        second_share: Of the second's.
        both: Pictures that show both.
        both_of_one: The same of pictures in only one of the two styles: what chance would give.
    """

    first: str
    second: str
    pictures: int
    first_share: float
    second_share: float
    both: float
    both_of_one: float


@dataclass(frozen=True)
class StylesReport:
    """All styles in a folder.

    Attributes:
        told_apart: Of all pictures, those of the base among them.
        base_told_apart: Of the base's pictures.
    """

    styles: tuple[StyleScore, ...]
    mixes: tuple[MixScore, ...]
    told_apart: float
    base_told_apart: float


def scenes_for(count: int) -> list[Scene]:
    """Held-out single shapes before plain backgrounds; always the same ones."""
    return [sample_scene(Random(f"styles/{i}"), "single", held_out=True) for i in range(count)]


def train_judge(model: Path, names: Sequence[str], pictures: int = LEARNED_FROM) -> StyleJudge:
    """A judge that saw rendered pictures in each style, as the model's autoencoder gives them back."""
    rng = Random("style judge")
    plain = [render(sample_scene(rng, "single")).image for _ in range(pictures)]
    examples = {BASE: plain} | {name: [STYLES[name].look(p) for p in plain] for name in names}
    return StyleJudge.learn({
        name: through_autoencoder(model, some) for name, some in examples.items()
    })  # fmt: skip


def measure(
    model: Path, loras: Path, count: int, *, learned_from: int = LEARNED_FROM
) -> StylesReport:
    """Draws `count` pictures in each style of the folder and of the base, and as many of each mix.

    The judge learns from `learned_from` rendered pictures of each style.

    Raises:
        FileNotFoundError: The folder holds no style that is known.
    """
    names = [name for name in STYLES if (loras / f"{name}.safetensors").exists()]
    if not names:
        raise FileNotFoundError(f"{loras} holds no <style>.safetensors of {', '.join(STYLES)}.")
    pipe, settings = load(model)
    steps, guidance = int(settings["default_steps"]), settings["default_guidance_scale"]
    phrases = {}
    for name in names:
        path = loras / f"{name}.safetensors"
        phrases[name] = ", ".join(read_lora_info(path).triggers)
        with warnings.catch_warnings():  # several adapters are what is wanted here
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            pipe.load_lora_weights(path, adapter_name=name)
    scenes = scenes_for(count)

    def draw_in(*styles: str, weight: float = 1.0) -> list[Image.Image]:
        _choose(pipe, styles, weight)
        words = "".join(f"{phrases[style]}, " for style in styles)
        prompts = [words + canonical_caption(scene) for scene in scenes]
        return list(draw(pipe, prompts, steps, guidance))

    drawn = {BASE: draw_in()} | {name: draw_in(name) for name in names}
    judge = train_judge(model, names, learned_from)
    verdicts = {name: [judge.judge(p) for p in some] for name, some in drawn.items()}
    right = {name: sum(v == name for v in some) / count for name, some in verdicts.items()}
    base_kinds = _kinds_right(drawn[BASE], BASE, scenes)
    mixes = [
        score_mix(judge, drawn, draw_in(first, second, weight=MIX_WEIGHT), first, second)
        for first, second in MIXES
        if first in drawn and second in drawn
    ]
    styles = tuple(
        StyleScore(
            name,
            count,
            difference(drawn[name], drawn[BASE]),
            right[name],
            max({v for v in verdicts[name] if v != name}, key=verdicts[name].count, default=""),
            _kinds_right(drawn[name], name, scenes),
            base_kinds,
            _colours_right(drawn[name], name, scenes) if STYLES[name].keeps_colour else None,
        )
        for name in names
    )
    return StylesReport(styles, tuple(mixes), sum(right.values()) / len(right), right[BASE])


def difference(first: Sequence[Image.Image], second: Sequence[Image.Image]) -> float:
    """Mean absolute difference of pictures pair by pair, in levels of 255."""
    pairs = zip(first, second, strict=True)
    return float(np.mean([np.abs(pixels_of(a) - pixels_of(b)).mean() for a, b in pairs]))


def score_mix(
    judge: StyleJudge,
    drawn: dict[str, list[Image.Image]],
    mixed: Sequence[Image.Image],
    first: str,
    second: str,
) -> MixScore:
    """Compares pictures of two styles at once with the pictures `drawn` in each and in none."""
    base = np.stack([judge.whitened(picture) for picture in drawn[BASE]])

    def changes(pictures: Sequence[Image.Image]) -> NDArray[np.float64]:
        return np.stack([judge.whitened(picture) for picture in pictures]) - base

    own = {name: changes(drawn[name]) for name in (first, second)}
    directions = own[first].mean(0), own[second].mean(0)

    def shares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([shares_of(row, *directions) for row in rows])

    of_mix = shares(changes(mixed))
    alone = np.concatenate([shares(own[first]), shares(own[second])])
    return MixScore(
        first,
        second,
        len(mixed),
        float(of_mix[:, 0].mean()),
        float(of_mix[:, 1].mean()),
        float((of_mix >= VISIBLE).all(axis=1).mean()),
        float((alone >= VISIBLE).all(axis=1).mean()),
    )


def _choose(pipe: StableDiffusionPipeline, styles: Sequence[str], weight: float) -> None:
    """Draw with these styles from here on; with none, as if no LoRA had been loaded."""
    if not styles:
        pipe.disable_lora()
        return
    pipe.enable_lora()
    pipe.set_adapters(list(styles), [weight] * len(styles))


def _kinds_right(pictures: Sequence[Image.Image], style: str, scenes: Sequence[Scene]) -> float:
    right = 0
    for picture, scene in zip(pictures, scenes, strict=True):
        item = scene.items[0]
        right += kind_of(picture, style, item.colour, scene.background, SHAPES) == item.kind
    return right / len(pictures)


def _colours_right(pictures: Sequence[Image.Image], style: str, scenes: Sequence[Scene]) -> float:
    right = 0
    for picture, scene in zip(pictures, scenes, strict=True):
        item = scene.items[0]
        right += colour_of(picture, style, item.kind, scene.background) == item.colour
    return right / len(pictures)
