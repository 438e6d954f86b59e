"""How img2img treats a picture of one object when the prompt changes every colour.

The source is the renderer's picture of a held-out combination; the prompt names the same kind in two other colours
and says nothing of size and place, so the layout can only come from the source. Two areas are compared by
intersection over union: what is not background before and after. The figure of a picture drawn from the prompt
alone stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from PIL import Image

from engine.pocket.captions import canonical_caption
from engine.pocket.drawing import COLOURS
from engine.pocket.objects import SHAPES
from engine.pocket.reading import Mask, mask_of, read
from engine.pocket.scenes import Item, Scene, render
from engine.pocket.scores.objects import held_out_scenes
from engine.pocket.scores.sheet import save_sheet
from engine.pocket.scores.studio import Order, Studio

LAYOUTS = {"single": "any size and place", "plain": "fair size, in the middle"}
KEPT = 0.5  # overlap from which a contact sheet calls the place kept


@dataclass(frozen=True)
class RemixScore:
    """Means and shares over the pictures of one layout at one strength."""

    layout: str
    pictures: int
    strength: float
    overlap: float  # mean intersection over union of the old and the new object's area
    overlap_of_prompt_alone: float
    new_background: float
    new_object_colour: float
    new_colours: float  # both
    kind: float  # the shape is still the one asked for


def recoloured(scene: Scene, rng: Random) -> Scene:
    """The same object in another colour on another background, both unlike both old ones; size and place untold."""
    item = scene.items[0]
    others = [name for name in COLOURS if name not in (item.colour, scene.background)]
    colour, background = rng.sample(others, 2)
    return Scene(background, (Item(item.kind, colour, item.x, item.y, item.r, item.angle),))


def overlap(first: Mask, second: Mask) -> float:
    """Intersection over union of two areas; 0 where both are empty."""
    return float((first & second).sum() / max((first | second).sum(), 1))


def evaluate(
    studio: Studio,
    layout: str,
    strengths: Sequence[float],
    count: int,
    sheet: Path | None = None,
) -> list[RemixScore]:
    """Remixes `count` pictures of a layout at each strength; the pictures of the prompt alone are drawn once."""
    scenes = _scenes(layout, count)
    wanted = [recoloured(scene, Random(f"remix/{i}")) for i, scene in enumerate(scenes)]
    prompts = [canonical_caption(want) for want in wanted]
    sources = [render(scene).image for scene in scenes]
    places = [mask_of(source) for source in sources]
    alone = studio.draw([Order(prompt, i) for i, prompt in enumerate(prompts)])
    by_chance = sum(map(overlap, places, map(mask_of, alone))) / count
    scores = []
    for strength in strengths:
        orders = [
            Order(prompt, i, source, strength)
            for i, (prompt, source) in enumerate(zip(prompts, sources, strict=True))
        ]
        pictures = studio.draw(orders)
        kept = [overlap(place, mask_of(p)) for place, p in zip(places, pictures, strict=True)]
        facts = [_facts(want, p) for want, p in zip(wanted, pictures, strict=True)]
        background, colour, kind = (sum(column) / count for column in zip(*facts, strict=True))
        both = sum(f[0] and f[1] for f in facts) / count
        mean = sum(kept) / count
        figures = (mean, by_chance, background, colour, both, kind)
        scores.append(RemixScore(LAYOUTS[layout], count, strength, *figures))
        if sheet:
            _save(sheet / f"remix-{layout}-{strength}.png", sources, pictures, prompts, kept, facts)
    return scores


def _scenes(layout: str, count: int) -> list[Scene]:
    """Scenes of the layout; of "plain" the object also lies in the middle, whatever was drawn for it."""
    scenes = held_out_scenes("single", count)
    if layout == "single":
        return scenes
    return [
        replace(s, items=(replace(s.items[0], x=0.5, y=0.5, r=0.28, size="", place=""),))
        for s in scenes
    ]


def _facts(want: Scene, picture: Image.Image) -> tuple[bool, bool, bool]:
    reading, item = read(picture, SHAPES), want.items[0]
    return (
        reading.background == want.background,
        reading.colour == item.colour,
        reading.kind == item.kind,
    )


def _save(
    path: Path,
    sources: Sequence[Image.Image],
    pictures: Sequence[Image.Image],
    prompts: Sequence[str],
    kept: Sequence[float],
    facts: Sequence[tuple[bool, bool, bool]],
) -> None:
    """Source and remix side by side."""
    cells, right, notes = [], [], []
    for source, picture, prompt, share, fact in zip(
        sources, pictures, prompts, kept, facts, strict=True
    ):
        good = fact[0] and fact[1] and share >= KEPT
        said = f"background {fact[0]}, colour {fact[1]}"
        cells += [source, picture]
        right += [good, good]
        notes += [prompt.replace(" on ", "\non ", 1), f"overlap {share:.2f}\n{said}"]
    save_sheet(path, cells, right, notes)
