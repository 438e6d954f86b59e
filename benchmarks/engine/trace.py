"""The jobs of the benchmark: what people on a Discord server ask for, seeded.

60 % text-to-image, 25 % remixes, 15 % with a pose; 65 % with LoRAs, a sixth of these with two; five
samplers, four numbers of steps, three of guidance. Equal settings are the exception, as with people.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.engine.models import CONTROL, Studio
from engine.types import AdapterWeight, Control, GenerationRequest, Sampler

KINDS = {"txt2img": 0.60, "remix": 0.25, "pose": 0.15}
LORA_SHARE = 0.65
TWO_LORAS_SHARE = 1 / 6
SAMPLERS = (
    Sampler.DPMPP_2M_KARRAS,
    Sampler.EULER_A,
    Sampler.EULER,
    Sampler.DDIM,
    Sampler.UNIPC,
)
_STEPS = (20, 24, 28, 32)
_GUIDANCE = (5.0, 7.0, 7.5)
_STRENGTHS = (0.5, 0.6, 0.75)
_WEIGHTS = (0.6, 0.8, 1.0)
_NEGATIVE = ("", "blurry, low quality", "text, watermark")
_SUBJECTS = (
    "cat",
    "lighthouse",
    "robot",
    "mountain lake",
    "red car",
    "old house",
    "dragon",
    "face",
)
_PLACES = ("at night", "in the rain", "under the sea", "on the moon", "in a forest", "by a window")
_MANNERS = ("oil painting", "pencil drawing", "photo", "pixel art", "poster", "watercolour")


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        kind: "txt2img", "remix" or "pose".
        request: What is asked, as the engine gets it.
        images: The request's pictures by sha256, PNG.
    """

    id: str
    kind: str
    request: GenerationRequest
    images: Mapping[str, bytes]

    @property
    def row_steps(self) -> int:
        """U-Net rows that the job needs, over all its steps."""
        return self.request.rows * self.request.steps_to_run


def make_trace(studio: Studio, model: str, count: int, seed: int) -> list[Job]:
    """Returns `count` jobs in the order in which they are asked; other seeds have other prompts.

    The shares hold as nearly as `count` allows, in each trace, so that rounds are alike.
    """
    rng = random.Random(seed)
    kinds = _shares(rng, count, KINDS)
    with_lora = _shares(rng, count, {"yes": LORA_SHARE, "no": 1 - LORA_SHARE})
    samplers = [SAMPLERS[number % len(SAMPLERS)] for number in range(count)]
    steps = [_STEPS[number % len(_STEPS)] for number in range(count)]
    rng.shuffle(samplers)
    rng.shuffle(steps)
    jobs = []
    for number in range(count):
        kind = kinds[number]
        picture = rng.choice(list(studio.pictures))
        loras: list[str] = []
        if with_lora[number] == "yes":
            loras = rng.sample(list(studio.loras), 2 if rng.random() < TWO_LORAS_SHARE else 1)
        request = GenerationRequest(
            prompt=f"{rng.choice(_SUBJECTS)} {rng.choice(_PLACES)}, {rng.choice(_MANNERS)} "
            f"number {seed}-{number}",
            negative_prompt=rng.choice(_NEGATIVE),
            width=studio.size.native,
            height=studio.size.native,
            seed=rng.getrandbits(32),
            num_inference_steps=max(round(steps[number] * studio.size.step_share), 4),
            guidance_scale=rng.choice(_GUIDANCE),
            sampler=samplers[number],
            model=model,
            init_image=picture if kind == "remix" else None,
            strength=rng.choice(_STRENGTHS) if kind == "remix" else None,
            controls=(Control(CONTROL, picture),) if kind == "pose" else (),
            adapters=tuple(AdapterWeight(sha256, rng.choice(_WEIGHTS)) for sha256 in loras),
        )
        images = {name: studio.pictures[name] for name in request.images}
        jobs.append(Job(f"job-{seed}-{number}", kind, request, images))
    return jobs


def _shares(rng: random.Random, count: int, shares: Mapping[str, float]) -> list[str]:
    """Returns `count` names in random order, each as often as its share says, rounded."""
    names: list[str] = []
    total = 0.0
    for name, share in shares.items():
        total += share
        names += [name] * (round(total * count) - len(names))
    rng.shuffle(names)
    return names
