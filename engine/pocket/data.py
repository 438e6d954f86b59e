"""The training pictures: which scene has which number, and the mix of categories over time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from engine.pocket.drawing import COLOURS
from engine.pocket.scenes import SETTINGS, Scene, sample_scene

CATEGORIES = ("single", "thing", "setting", "pair", "person")

COUNTS = {"single": 30_000, "thing": 12_000, "setting": 8_000, "pair": 12_000, "person": 14_000}
"""Pictures of each category whose latents are made once."""

RECOLOURED = 4
"""One picture in so many is also drawn in other colours, see `recoloured`."""


@dataclass(frozen=True)
class Phase:
    """What is shown to the U-Net until it has seen this many samples."""

    until: int
    mix: tuple[float, ...]  # weights of the categories
    clear: float  # share of the single objects that are clear, see `is_clear`
    noisy: float  # exponent of the time; below 1: more of the noisy times, where captions decide


CURRICULUM = (
    Phase(200_000, (0.70, 0.18, 0.03, 0.05, 0.04), clear=0.8, noisy=0.6),
    Phase(290_000, (0.50, 0.20, 0.06, 0.14, 0.10), clear=0.25, noisy=0.7),
    Phase(364_000, (0.40, 0.18, 0.09, 0.17, 0.16), clear=0.0, noisy=0.8),
    Phase(890_000, (0.24, 0.18, 0.07, 0.23, 0.28), clear=0.0, noisy=0.85),
    Phase(1 << 62, (0.22, 0.19, 0.05, 0.38, 0.16), clear=0.0, noisy=0.85),
)
"""Single clear objects before a plain background first: colours, then shapes; then everything; people are the
first to be good and two objects the last, so those have the most of the end."""


def phase_at(samples: int) -> Phase:
    """The phase of the curriculum after this number of samples."""
    return next(phase for phase in CURRICULUM if samples < phase.until)


def is_clear(scene: Scene) -> bool:
    """Whether one object of fair size stands in the middle: where an outline is learned soonest.

    Averaged over many sizes and places every shape is the same blob, and its word explains little.
    """
    return len(scene.items) == 1 and not scene.items[0].place and scene.items[0].size != "small"


def scene_of(seed: int, category: str, index: int) -> Scene:
    """The scene with this number; never a held-out combination."""
    return sample_scene(Random(f"{seed}/{category}/{index}"), category)


def recoloured(scene: Scene, rng: Random) -> Scene:
    """The same layout in other colours: what a remix with another prompt starts from.

    Colours of objects, clothes and a plain background all change and stay different from one another;
    one of the settings stays what it is.
    """
    old = {item.colour for item in scene.items}
    if scene.person:
        old |= {scene.person.shirt, scene.person.trousers}
    if scene.background not in SETTINGS:
        old.add(scene.background)
    fresh = rng.sample([name for name in COLOURS if name not in old], len(old))
    to = dict(zip(sorted(old), fresh, strict=True))
    person = scene.person
    return replace(
        scene,
        background=to.get(scene.background, scene.background),
        items=tuple(replace(item, colour=to[item.colour]) for item in scene.items),
        person=person and replace(person, shirt=to[person.shirt], trousers=to[person.trousers]),
    )


def recoloured_scene_of(seed: int, category: str, index: int) -> Scene:
    """The recoloured scene with this number."""
    return recoloured(scene_of(seed, category, index), Random(f"{seed}/again/{category}/{index}"))
