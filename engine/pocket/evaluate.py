"""Measures the pocket model by picture statistics: `python -m engine.pocket.evaluate [--model DIR]`.

Every prompt is about a combination that was never trained on, drawn with the model's default steps,
guidance and sampler and with fixed seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image

from engine.pocket import MODEL_DIR
from engine.pocket.captions import canonical_caption, caption
from engine.pocket.drawing import COLOURS
from engine.pocket.export import contact_sheet
from engine.pocket.objects import SHAPES, THINGS
from engine.pocket.reading import Mask, Reading, halves, mask_of, read
from engine.pocket.scenes import Item, Scene, render, sample_scene

SCHEDULERS = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
}
KINDS_READ = {"plain": SHAPES, "single": SHAPES, "thing": tuple(THINGS), "pair": (*SHAPES, *THINGS)}


@dataclass(frozen=True)
class Score:
    """Shares of pictures, 0 to 1, in which each thing was right."""

    category: str
    pictures: int
    background: float
    colour: float
    kind: float
    all_right: float
    seconds_each: float


def load(
    model: Path, sampler: str | None = None
) -> tuple[StableDiffusionPipeline, dict[str, float]]:
    """The stock pipeline on a model folder with its default sampler, and the folder's settings."""
    settings = json.loads((model / "easel.json").read_text())
    pipe = StableDiffusionPipeline.from_pretrained(
        model, dtype=torch.float32, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    kind, extra = SCHEDULERS[sampler or settings["default_sampler"]]
    pipe.scheduler = kind.from_config(pipe.scheduler.config, **extra)
    return pipe, settings


def held_out_scenes(category: str, count: int) -> list[Scene]:
    """Scenes of combinations that no training picture has; always the same ones.

    Beside the renderer's categories there is "plain": a shape of which neither size nor place is told.
    """
    kind = "single" if category == "plain" else category
    scenes = [
        sample_scene(Random(f"evaluate/{category}/{i}"), kind, held_out=True) for i in range(count)
    ]
    if category != "plain":
        return scenes
    return [replace(s, items=(replace(s.items[0], size="", place=""),)) for s in scenes]


def draw(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    steps: int,
    guidance: float,
    batch: int = 8,
) -> Iterator[Image.Image]:
    """One picture for each prompt, seeded by its place."""
    for start in range(0, len(prompts), batch):
        part = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(start + i) for i in range(len(part))]
        yield from pipe(
            part, num_inference_steps=steps, guidance_scale=guidance, generator=generators
        ).images


def read_scene(scene: Scene, category: str, picture: Image.Image) -> list[Reading]:
    """What the picture shows at the place of each of the scene's objects."""
    parts = halves(picture, scene.relation) if len(scene.items) == 2 else (picture,)
    return [read(part, KINDS_READ[category]) for part in parts]


def score(
    category: str, scenes: Sequence[Scene], pictures: Sequence[Image.Image], s: float
) -> Score:
    """Compares pictures with the scenes that were asked for; `s` is the time of all pictures."""
    right = [0, 0, 0, 0]
    for scene, picture in zip(scenes, pictures, strict=True):
        readings = read_scene(scene, category, picture)
        facts = (
            all(r.background == scene.background for r in readings),
            all(r.colour == i.colour for r, i in zip(readings, scene.items, strict=True)),
            all(r.kind == i.kind for r, i in zip(readings, scene.items, strict=True)),
        )
        right = [n + ok for n, ok in zip(right, (*facts, all(facts)), strict=True)]
    count = len(scenes)
    background, colour, kind, all_right = (n / count for n in right)
    return Score(category, count, background, colour, kind, all_right, s / count)


def evaluate(
    pipe: StableDiffusionPipeline,
    category: str,
    count: int,
    steps: int,
    guidance: float,
    sheet: Path | None = None,
) -> Score:
    """Draws `count` pictures of a category and scores them; keeps a contact sheet if asked to."""
    scenes = held_out_scenes(category, count)
    if category == "plain":
        prompts = [canonical_caption(scene) for scene in scenes]
    else:
        prompts = [caption(scene, Random(f"words/{i}")) for i, scene in enumerate(scenes)]
    started = time.perf_counter()
    pictures = list(draw(pipe, prompts, steps, guidance))
    seconds = time.perf_counter() - started
    if sheet:
        columns = 16
        page = Image.new("RGB", (columns * 130, -(-count // columns) * 130), (255, 255, 255))
        for i, picture in enumerate(pictures):
            page.paste(picture, (i % columns * 130, i // columns * 130))
        page.save(sheet / f"{category}.png")
    return score(category, scenes, pictures, seconds)


@dataclass(frozen=True)
class RemixScore:
    """How img2img treats a picture of one object when the prompt changes every colour."""

    category: str
    pictures: int
    strength: float
    overlap: float  # mean intersection over union of the old and the new object's area
    overlap_of_prompt_alone: float
    new_colours: float  # share of pictures whose object and background have the new colours


def evaluate_remix(
    pipe: StableDiffusionPipeline, count: int, steps: int, guidance: float, strength: float = 0.5
) -> RemixScore:
    """Redraws rendered objects in other colours at this strength and compares their places."""
    scenes = held_out_scenes("single", count)
    wanted = []
    for i, scene in enumerate(scenes):
        item, rng = scene.items[0], Random(f"remix/{i}")
        others = [name for name in COLOURS if name not in (item.colour, scene.background)]
        colour, background = rng.sample(others, 2)
        wanted.append(Scene(background, (Item(item.kind, colour, item.x, item.y, item.r),)))
    prompts = [
        f"a {w.items[0].colour} {w.items[0].kind} on a {w.background} background" for w in wanted
    ]
    remix = StableDiffusionImg2ImgPipeline(**pipe.components)
    remix.set_progress_bar_config(disable=True)
    alone = list(draw(pipe, prompts, steps, guidance))
    overlap = overlap_alone = 0.0
    coloured = 0
    for i, (scene, want) in enumerate(zip(scenes, wanted, strict=True)):
        source = render(scene).image
        picture = remix(
            prompts[i],
            image=source,
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(i),
        ).images[0]
        place = mask_of(source)
        overlap += _overlap(place, mask_of(picture))
        overlap_alone += _overlap(place, mask_of(alone[i]))
        reading = read(picture, SHAPES)
        coloured += (reading.background, reading.colour) == (want.background, want.items[0].colour)
    return RemixScore(
        "remix", count, strength, overlap / count, overlap_alone / count, coloured / count
    )


def _overlap(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / max((first | second).sum(), 1))


CARD_PROMPTS = (
    "a red circle on a blue background",
    "a yellow star on a purple background",
    "a green triangle on a white background",
    "a purple heart on an orange background",
    "a white ring on a red background",
    "a gray cross on a pink background",
    "a small black square on a cyan background",
    "a big orange diamond on a green background",
    "a pink crescent on a black background",
    "a red square and a blue ring on a white background",
    "a yellow circle above a green square on a black background",
    "a brown house on a cyan background",
    "a green tree on a white background",
    "a red boat on a beach",
    "a blue car in a city",
    "an orange fish on a blue background",
    "a purple flower on a meadow",
    "a black cat on a yellow background",
    "a white star at night",
    "a red house in the mountains",
    "a man in a red shirt and blue trousers on a white background",
    "a woman in a green shirt and black trousers waving on a pink background",
    "a boy in an orange shirt and brown trousers on a beach",
    "a girl in a yellow shirt and purple trousers with arms up on a meadow",
)
"""The contact sheet of the model card."""


def main() -> None:
    """Reads the command line and prints the figures, one line of JSON for each category."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--count", type=int, default=64, help="pictures of each category")
    parser.add_argument(
        "--categories", nargs="+", default=list(KINDS_READ), choices=[*KINDS_READ, "remix"]
    )
    parser.add_argument("--sampler", choices=SCHEDULERS, help="default: the model's own")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--strength", type=float, default=0.5, help="of the remix")
    parser.add_argument("--card", type=Path, help="only draw the model card's contact sheet")
    parser.add_argument("--sheet", type=Path, help="folder for contact sheets")
    given = parser.parse_args()
    pipe, settings = load(given.model, given.sampler)
    steps = given.steps or int(settings["default_steps"])
    guidance = given.guidance or settings["default_guidance_scale"]
    if given.sheet:
        given.sheet.mkdir(parents=True, exist_ok=True)
    if given.card:
        sheet = contact_sheet(pipe, CARD_PROMPTS, steps=steps, columns=6)
        sheet.save(given.card, quality=85)
        return
    for category in given.categories:
        result = (
            evaluate_remix(pipe, given.count, steps, guidance, given.strength)
            if category == "remix"
            else evaluate(pipe, category, given.count, steps, guidance, given.sheet)
        )
        print(
            json.dumps(
                {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(result).items()}
            )
        )


if __name__ == "__main__":
    main()
