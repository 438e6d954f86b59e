"""The training pictures: which scene has which number, and the mix of categories over time."""

from __future__ import annotations

from random import Random

from engine.pocket.scenes import Scene, sample_scene

CATEGORIES = ("single", "thing", "setting", "pair", "person")

COUNTS = {"single": 30_000, "thing": 12_000, "setting": 8_000, "pair": 12_000, "person": 14_000}
"""Pictures of each category whose latents are made once."""

PLAIN_MIX = (0.55, 0.2, 0.06, 0.09, 0.1)
"""Three of four are single objects before a plain background: colours and shapes come first."""

FULL_MIX = (0.24, 0.16, 0.12, 0.2, 0.28)


def scene_of(seed: int, category: str, index: int) -> Scene:
    """The scene with this number; never a held-out combination."""
    return sample_scene(Random(f"{seed}/{category}/{index}"), category)
