"""Whether objects come out as asked: kind, colour and background, one or two, on combinations never trained on.

What is right, on a plain background:
- background: the palette colour nearest to the median of the border is the one asked for;
- colour and kind of a flat shape: of the renderer's templates the one of this shape, in the object's most frequent
  palette colour, fits best;
- colour and kind where there may be things, which show several colours: the recogniser's word;
- of two objects each half must hold its own: the first left or above, as captions and training order them.
In a setting (meadow, beach, ...) no pixel of the border tells the background, so the recogniser judges all three.
The other judge's opinion of the kinds stands beside the figures.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from PIL import Image

from engine.pocket.captions import caption
from engine.pocket.objects import KINDS, SHAPES, THINGS
from engine.pocket.reading import halves, read
from engine.pocket.scenes import SETTINGS, Scene, sample_scene
from engine.pocket.scores.examples import crop_of, renderer_pictures
from engine.pocket.scores.recogniser import Seen, recognise
from engine.pocket.scores.sheet import save_sheet
from engine.pocket.scores.studio import Order, Studio

CATEGORIES = ("plain", "single", "thing", "setting", "pair")
MINIMUM = 3  # of pictures from which a share by size, place or kind is a fact


@dataclass(frozen=True)
class ObjectScore:
    """Shares of pictures in which each thing was right."""

    category: str
    pictures: int
    background: float
    colour: float
    kind: float
    all_right: float
    kind_by_other_judge: float | None  # there is none in settings
    seconds_each: float
    weak: tuple[str, ...] = ()  # what goes wrong most


@dataclass(frozen=True)
class JudgeScore:
    """How often the judges are right about pictures whose content is known.

    Those that went through the autoencoder are the best that a model with it can draw: its figures' ceiling.
    """

    category: str
    source: str  # renderer, or autoencoder: the same pictures after it
    pictures: int
    all_right: float
    kind: float
    by_other_judge: float | None  # kinds; of people the clothes


@dataclass(frozen=True)
class Verdict:
    """What one picture shows in the place of each object that was asked for."""

    background: str
    colours: tuple[str, ...]
    kinds: tuple[str, ...]
    other_kinds: tuple[str, ...]  # the second opinion

    def facts(self, scene: Scene) -> tuple[bool, bool, bool, bool]:
        """Whether background, colours, kinds and kinds by the other judge are those of the scene."""
        kinds = tuple(item.kind for item in scene.items)
        return (
            self.background == scene.background,
            self.colours == tuple(item.colour for item in scene.items),
            self.kinds == kinds,
            self.other_kinds == kinds,
        )


def held_out_scenes(category: str, count: int) -> list[Scene]:
    """Scenes of combinations that no training picture has; always the same ones.

    "plain" is a shape of which neither size nor place is told, "single" one of any size and place. Settings have
    no held-out combinations, there the layouts and the words are new; and they hold things alone, for of small flat
    shapes before a landscape the recogniser itself misses one in three.
    """
    kind = "single" if category == "plain" else category
    scenes: list[Scene] = []
    number = 0
    while len(scenes) < count:
        scene = sample_scene(Random(f"evaluate/{category}/{number}"), kind, held_out=True)
        number += 1
        if category == "plain":
            scene = replace(scene, items=(replace(scene.items[0], size="", place=""),))
        if category != "setting" or scene.items[0].kind in THINGS:
            scenes.append(scene)
    return scenes


def prompts_for(scenes: Sequence[Scene]) -> list[str]:
    """Varied wording by fixed seeds; every fact that is judged is told (only size and place may be left out)."""
    return [caption(scene, Random(f"words/{i}")) for i, scene in enumerate(scenes)]


def judge(category: str, scenes: Sequence[Scene], pictures: Sequence[Image.Image]) -> list[Verdict]:
    """What each picture shows, without being told more of the scene than how its objects are arranged."""
    parts = [
        list(halves(picture, scene.relation)) if len(scene.items) == 2 else [picture]
        for scene, picture in zip(scenes, pictures, strict=True)
    ]
    in_setting = [scene.background in SETTINGS for scene in scenes]
    views = [
        part if whole else crop_of(part)
        for each, whole in zip(parts, in_setting, strict=True)
        for part in each
    ]
    seen = iter(recognise(views))
    verdicts = []
    for each, whole in zip(parts, in_setting, strict=True):
        found = [next(seen) for _ in each]
        verdicts.append(_of_setting(found) if whole else _of_plain(category, each, found))
    return verdicts


def _of_setting(found: Sequence[Seen]) -> Verdict:
    kinds = tuple(each.kind for each in found)
    return Verdict(found[0].background, tuple(each.colour for each in found), kinds, kinds)


def _of_plain(category: str, parts: Sequence[Image.Image], found: Sequence[Seen]) -> Verdict:
    flat = category in ("plain", "single")
    readings = [read(part, SHAPES if flat else KINDS) for part in parts]
    backgrounds = {reading.background for reading in readings}
    by_template = tuple(reading.kind for reading in readings)
    by_network = tuple(each.kind for each in found)
    return Verdict(
        backgrounds.pop() if len(backgrounds) == 1 else "",
        tuple(each.colour for each in (readings if flat else found)),
        by_template if flat else by_network,
        by_network if flat else by_template,
    )


def score(
    category: str, scenes: Sequence[Scene], pictures: Sequence[Image.Image], seconds: float
) -> tuple[ObjectScore, list[Verdict]]:
    """Compares pictures with the scenes that were asked for; `seconds` is the time of all pictures."""
    verdicts = judge(category, scenes, pictures)
    facts = [v.facts(scene) for v, scene in zip(verdicts, scenes, strict=True)]
    count = len(scenes)
    background, colour, kind, other = (sum(column) / count for column in zip(*facts, strict=True))
    figures = ObjectScore(
        category,
        count,
        background,
        colour,
        kind,
        sum(all(each[:3]) for each in facts) / count,
        None if category == "setting" else other,
        seconds / count,
        weak_points(scenes, verdicts),
    )
    return figures, verdicts


def weak_points(
    scenes: Sequence[Scene], verdicts: Sequence[Verdict], most: int = 12
) -> tuple[str, ...]:
    """What goes wrong most: kinds and colours taken for others, and shares by size and place."""
    confused: Counter[str] = Counter()
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for scene, verdict in zip(scenes, verdicts, strict=True):
        background = verdict.background == scene.background
        if not background:
            confused[f"background {scene.background} is {verdict.background or 'uneven'}"] += 1
        for item, seen, shade in zip(scene.items, verdict.kinds, verdict.colours, strict=True):
            if seen != item.kind:
                confused[f"{item.kind} is {seen or 'nothing'}"] += 1
            if shade != item.colour:
                confused[f"{item.colour} is {shade or 'nothing'}"] += 1
            for group in (
                item.kind,
                item.size and f"size {item.size}",
                item.place and f"at {item.place}",
            ):
                if group:
                    asked[group] += 1
                    right[group] += seen == item.kind and shade == item.colour and background
    poor = sorted(
        (right[group] / n, f"{group}: {right[group]} of {n} right")
        for group, n in asked.items()
        if n >= MINIMUM and right[group] < n
    )
    listed = [
        f"{text} ({n}x)" for text, n in confused.most_common(most) if n > 1 or len(scenes) < 60
    ]
    return (*listed, *(text for _, text in poor[:most]))


def evaluate(studio: Studio, category: str, count: int, sheet: Path | None = None) -> ObjectScore:
    """Draws `count` pictures of a category and scores them; keeps a contact sheet if asked to."""
    scenes = held_out_scenes(category, count)
    prompts = prompts_for(scenes)
    started = time.perf_counter()
    pictures = studio.draw([Order(prompt, i) for i, prompt in enumerate(prompts)])
    figures, verdicts = score(category, scenes, pictures, time.perf_counter() - started)
    if sheet:
        right = [all(v.facts(s)[:3]) for v, s in zip(verdicts, scenes, strict=True)]
        notes = [
            f"{' + '.join(f'{i.colour} {i.kind}' for i in s.items)} / {s.background}\n"
            f"{' + '.join(map(' '.join, zip(v.colours, v.kinds, strict=True)))} / {v.background}"
            for v, s in zip(verdicts, scenes, strict=True)
        ]
        save_sheet(sheet / f"{category}.png", pictures, right, notes)
    return figures


def judge_scores(count: int, model: Path) -> Iterator[JudgeScore]:
    """How often the judges are right about the renderer's own pictures, before and after the autoencoder."""
    for category in CATEGORIES:
        scenes = held_out_scenes(category, count)
        for source, pictures in renderer_pictures(model, scenes):
            figures, _ = score(category, scenes, pictures, 0.0)
            yield JudgeScore(
                category,
                source,
                count,
                figures.all_right,
                figures.kind,
                figures.kind_by_other_judge,
            )
