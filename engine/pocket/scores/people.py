"""Whether people drawn from text wear what was asked for.

On a plain background the clothes are read from the pixels, see `read_clothes`; nobody tells it the person's pose.
In a setting, where nothing but the renderer's own pictures says what is background, the recogniser reads them. It
also says whether there is a person at all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from engine.pocket.captions import caption
from engine.pocket.people import Person
from engine.pocket.reading import (
    DIFFERENT,
    NAMES,
    PALETTE,
    Mask,
    Pixels,
    background_of,
    largest_area,
    nearest_colours,
)
from engine.pocket.scenes import SETTINGS, Scene, sample_scene
from engine.pocket.scores.examples import renderer_pictures
from engine.pocket.scores.objects import JudgeScore
from engine.pocket.scores.recogniser import Seen, recognise
from engine.pocket.scores.sheet import save_sheet
from engine.pocket.scores.studio import Order, Studio

CATEGORIES = ("person", "person in a setting")
SMALLEST = 250  # pixels of 128 x 128 that a person covers at least
HEAD, SHOES = 0.22, 0.05  # of the figure's height: what lies above the shirt and below the trousers
WAIST = (0.42, 0.70)  # where the shirt may end
PLAIN_SHARE = 0.35  # of its half of the figure that a garment covers at least


@dataclass(frozen=True)
class Clothes:
    """What a picture of a person shows; empty where nothing is clear."""

    background: str
    shirt: str
    trousers: str


@dataclass(frozen=True)
class PeopleScore:
    """Shares of pictures in which each thing was right."""

    category: str
    pictures: int
    person: float  # by the recogniser
    background: float
    shirt: float
    trousers: float
    clothes: float  # both
    all_right: float
    clothes_by_recogniser: float
    seconds_each: float
    weak: tuple[str, ...] = ()


def read_clothes(image: Image.Image) -> Clothes:
    """Reads background, shirt and trousers of one person before a plain background.

    The figure is the largest area that is not background. Its head and shoes are left out by its height, the rest
    is cut where the two parts are each most nearly of one palette colour: the waist. Skin, hair and hands count
    along, and the background's colour does not, since clothes are of another, but a garment is the larger area wherever it is one.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    base = background_of(pixels)
    background = NAMES[int(nearest_colours(base))]
    mask = _figure(pixels, base)
    if mask.sum() < SMALLEST * mask.size / 128**2:
        return Clothes(background, "", "")
    rows = np.flatnonzero(mask.any(axis=1))
    top, height = int(rows[0]), int(rows[-1] - rows[0] + 1)
    others = [i for i, name in enumerate(NAMES) if name != background]
    distance = np.square(pixels[:, :, None, :] - PALETTE[others]).sum(axis=-1)
    nearest = np.asarray(others)[distance.argmin(axis=-1)]
    counts = np.stack([((nearest == i) & mask).sum(axis=1) for i in range(len(NAMES))], axis=1)
    first, last = top + round(HEAD * height), top + round((1 - SHOES) * height)
    best, found = -1.0, Clothes(background, "", "")
    for waist in range(top + round(WAIST[0] * height), top + round(WAIST[1] * height)):
        upper, lower = counts[first:waist].sum(axis=0), counts[waist:last].sum(axis=0)
        shirt, trousers = int(upper.argmax()), int(lower.argmax())
        if shirt == trousers:
            continue
        shares = (
            upper[shirt] / max(mask[first:waist].sum(), 1),
            lower[trousers] / max(mask[waist:last].sum(), 1),
        )
        fit = float(upper[shirt] + lower[trousers])
        if fit > best:
            best = fit
            found = Clothes(
                background,
                NAMES[shirt] if shares[0] >= PLAIN_SHARE else "",
                NAMES[trousers] if shares[1] >= PLAIN_SHARE else "",
            )
    return found


def _figure(pixels: Pixels, base: Pixels) -> Mask:
    """The largest area that is not background, with seams closed.

    Where shirt and trousers meet, a pixel of both may be just the background's colour: black and orange make brown.
    """
    differs = np.sqrt(np.square(pixels - base).sum(axis=-1)) > DIFFERENT
    image = Image.fromarray(differs).convert("L")
    closed = image.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.MinFilter(3))
    return largest_area(np.asarray(closed) > 0)


def people_scenes(category: str, count: int) -> list[Scene]:
    """Persons whose clothes and plain background were never trained on together; or persons in settings."""
    scenes: list[Scene] = []
    number = 0
    while len(scenes) < count:
        scene = sample_scene(Random(f"evaluate/person/{number}"), "person", held_out=True)
        number += 1
        if (scene.background in SETTINGS) == (category == CATEGORIES[1]):
            scenes.append(scene)
    return scenes


def judge(scenes: Sequence[Scene], pictures: Sequence[Image.Image]) -> list[tuple[Clothes, Seen]]:
    """The clothes in each picture, and what the recogniser sees in it."""
    judged = []
    for scene, picture, seen in zip(scenes, pictures, recognise(pictures), strict=True):
        by_network = Clothes(seen.background, seen.colour, seen.trousers)
        plain = scene.background not in SETTINGS
        judged.append((read_clothes(picture) if plain else by_network, seen))
    return judged


def score(
    category: str, scenes: Sequence[Scene], pictures: Sequence[Image.Image], seconds: float
) -> tuple[PeopleScore, list[tuple[Clothes, Seen]]]:
    """Compares pictures with the persons that were asked for; `seconds` is the time of all pictures."""
    judged = judge(scenes, pictures)
    rows = []
    wrong: Counter[str] = Counter()
    for scene, (clothes, seen) in zip(scenes, judged, strict=True):
        person = _person(scene)
        facts = (
            seen.kind == "person",
            clothes.background == scene.background,
            clothes.shirt == person.shirt,
            clothes.trousers == person.trousers,
        )
        other = (seen.colour, seen.trousers) == (person.shirt, person.trousers)
        rows.append((*facts, facts[2] and facts[3], all(facts), other))
        if not facts[0]:
            wrong[f"{person.action or 'any pose'}: {seen.kind} instead of a person"] += 1
        if (clothes.shirt, clothes.trousers) == (person.trousers, person.shirt):
            wrong["shirt and trousers swapped"] += 1
        for garment, is_right in zip(("shirt", "trousers"), facts[2:], strict=True):
            if not is_right:
                asked, got = getattr(person, garment), getattr(clothes, garment)
                wrong[f"{garment} {asked} is {got or 'unclear'}"] += 1
    count = len(scenes)
    shares = [sum(column) / count for column in zip(*rows, strict=True)]
    weak = tuple(f"{text} ({n}x)" for text, n in wrong.most_common(12))
    figures = PeopleScore(
        category,
        count,
        person=shares[0],
        background=shares[1],
        shirt=shares[2],
        trousers=shares[3],
        clothes=shares[4],
        all_right=shares[5],
        clothes_by_recogniser=shares[6],
        seconds_each=seconds / count,
        weak=weak,
    )
    return figures, judged


def _person(scene: Scene) -> Person:
    if scene.person is None:
        raise ValueError("the scene has no person")
    return scene.person


def evaluate(studio: Studio, category: str, count: int, sheet: Path | None = None) -> PeopleScore:
    """Draws `count` persons from text and scores them; keeps a contact sheet if asked to."""
    scenes = people_scenes(category, count)
    prompts = [caption(scene, Random(f"words/{i}")) for i, scene in enumerate(scenes)]
    started = time.perf_counter()
    pictures = studio.draw([Order(prompt, i) for i, prompt in enumerate(prompts)])
    figures, judged = score(category, scenes, pictures, time.perf_counter() - started)
    if sheet:
        asked = [(s.background, _person(s).shirt, _person(s).trousers) for s in scenes]
        got = [(c.background, c.shirt, c.trousers) for c, _ in judged]
        right = [
            a == g and s.kind == "person" for a, g, (_, s) in zip(asked, got, judged, strict=True)
        ]
        notes = [
            f"{a[1]}, {a[2]} / {a[0]}\n{g[1]}, {g[2]} / {g[0]} ({s.kind})"
            for a, g, (_, s) in zip(asked, got, judged, strict=True)
        ]
        save_sheet(sheet / f"{category.replace(' ', '-')}.png", pictures, right, notes)
    return figures


def judge_scores(count: int, model: Path) -> Iterator[JudgeScore]:
    """How often clothes and persons are read rightly from the renderer's pictures, before and after the autoencoder."""
    for category in CATEGORIES:
        scenes = people_scenes(category, count)
        for source, pictures in renderer_pictures(model, scenes):
            figures, _ = score(category, scenes, pictures, 0.0)
            yield JudgeScore(
                category,
                source,
                count,
                figures.all_right,
                figures.person,
                figures.clothes_by_recogniser,
            )
