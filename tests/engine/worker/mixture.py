"""Jobs of every kind, drawn by seed: what tests put into one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from engine.types import Control, Sampler
from tests.engine.worker import loras
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.test_controls import a_map
from tests.engine.worker.test_equality import a_picture
from tests.engine.worker.test_inpaint import a_mask

KINDS = ("text", "image", "mask", "pose", "edges", "both", "pose on image")
STYLES = ((), ("layers",), (), ("attention", "words"), ("words",), (), ("layers", "attention"))
PROMPTS = ("a red cat", "cat", "a long dark corridor with a red cat at its end, " * 2)
NEGATIVES = ("", "blurry", "ugly, " * 8)


@dataclass(frozen=True)
class Drawn:
    """One job: what `LocalEngine.send` takes.

    Attributes:
        kind: One of `KINDS`.
        maps: The pictures of its controls.
        styles: LoRA files and weights.
        changes: The request's other fields.
    """

    name: str
    kind: str
    image: Image.Image | None = None
    mask: Image.Image | None = None
    maps: tuple[Image.Image, ...] = ()
    controls: tuple[Control, ...] = ()
    styles: tuple[tuple[Path, float], ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)

    def send(self, engine: LocalEngine) -> None:
        engine.send(
            self.name,
            self.image,
            controls=list(zip(self.maps, self.controls, strict=True)),
            mask=self.mask,
            styles=self.styles,
            **self.changes,
        )


def write_styles(engine: LocalEngine, folder: Path) -> dict[str, Path]:
    """Writes LoRAs of different layers, ranks and layouts for the engine's model."""
    unet, text = engine.unet.unet, engine.model.text_encoder
    every = loras.pairs(unet, loras.LINEAR + loras.CONV, 4, seed=1)
    attention = loras.pairs(unet, ("to_q", "to_k", "to_v", "to_out.0"), 11, seed=2)
    words = loras.pairs(text, loras.TEXT, 2, seed=3)
    return {
        "layers": loras.kohya(folder / "layers.safetensors", every, {}),
        "attention": loras.peft(folder / "attention.safetensors", attention),
        "words": loras.kohya(folder / "words.safetensors", {}, words, alpha=4.0),
    }


def draw(number: int, seed: int, styles: Mapping[str, Path], max_steps: int = 5) -> list[Drawn]:
    """Returns so many jobs; in each fourteen is every sampler, in each seven every kind."""
    random = Random(seed)
    return [_draw(k, random, styles, max_steps) for k in range(number)]


def _draw(k: int, random: Random, styles: Mapping[str, Path], max_steps: int) -> Drawn:
    kind = KINDS[k % len(KINDS)]
    names = STYLES[random.randrange(len(STYLES))]
    start = random.choice([0.0, 0.3])
    pose = Control("openpose", "", random.choice([0.5, 1.0, 1.7]), start, random.choice([0.6, 1.0]))
    edges = Control("canny", "", random.choice([0.4, 1.2]), 0.0, random.choice([0.5, 1.0]))
    nets = {
        "pose": (pose,),
        "pose on image": (pose,),
        "edges": (edges,),
        "both": random.choice([(pose, edges), (edges, pose)]),
    }.get(kind, ())
    starts_from = a_picture() if kind in ("image", "mask", "pose on image") else None
    changes = {
        "prompt": random.choice(PROMPTS),
        "negative_prompt": random.choice(NEGATIVES),
        "seed": random.randrange(2**32),
        "sampler": list(Sampler)[k % len(Sampler)],
        "guidance_scale": random.choice([1.0, 3.0, 7.5]),
        "num_inference_steps": random.randint(2, max_steps),
        "num_images": random.choice([1, 1, 2]),
        "clip_skip": random.choice([0, 0, 1]),
    }
    if starts_from is not None:
        changes["strength"] = random.choice([0.5, 0.8, 1.0])
    return Drawn(
        f"{k}: {kind} {changes['sampler']}",
        kind,
        starts_from,
        a_mask(random.choice([40, 64])) if kind == "mask" else None,
        tuple(a_map() if net.kind == "openpose" else a_picture() for net in nets),
        nets,
        tuple((styles[name], random.choice([0.4, 0.8, -0.5])) for name in names),
        changes,
    )
