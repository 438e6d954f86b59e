"""The training pictures: which scene has which number, and the mix of categories over time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from engine.pocket.scenes import Scene, sample_scene

CATEGORIES = ("single", "thing", "setting", "pair", "person")

COUNTS = {"single": 30_000, "thing": 12_000, "setting": 8_000, "pair": 12_000, "person": 14_000}
"""Pictures of each category whose latents are made once."""


@dataclass(frozen=True)
class Phase:
    """What is shown to the U-Net until this share of its samples."""

    until: float
    mix: tuple[float, ...]  # weights of the categories
    clear: float  # share of the single objects that are clear, see `is_clear`
    noisy: float  # exponent of the time; below 1: more of the noisy times, where captions decide


CURRICULUM = (
    Phase(0.55, (0.70, 0.18, 0.03, 0.05, 0.04), clear=0.8, noisy=0.6),
    Phase(0.80, (0.50, 0.20, 0.06, 0.14, 0.10), clear=0.25, noisy=0.7),
    Phase(1.00, (0.40, 0.18, 0.09, 0.17, 0.16), clear=0.0, noisy=0.8),
)
"""Single clear objects before a plain background first: colours, then shapes; then everything."""


def phase_at(share: float) -> Phase:
    """The phase of the curriculum after this share of the samples."""
    return next((phase for phase in CURRICULUM if share < phase.until), CURRICULUM[-1])


def is_clear(scene: Scene) -> bool:
    """Whether one object of fair size stands in the middle: where an outline is learned soonest.

    Averaged over many sizes and places every shape is the same blob, and its word explains little.
    """
    return len(scene.items) == 1 and not scene.items[0].place and scene.items[0].size != "small"


def scene_of(seed: int, category: str, index: int) -> Scene:
    """The scene with this number; never a held-out combination."""
    return sample_scene(Random(f"{seed}/{category}/{index}"), category)
