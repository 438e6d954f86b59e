"""Where the evaluation's pictures are drawn: the stock pipelines, shared over processes of one thread."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image

SCHEDULERS = {
    "ddim": (DDIMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
}
BATCH = 8


@dataclass(frozen=True)
class Order:
    """One picture to draw.

    With `source` it is a remix of that picture at this strength, with `control`, the folder of a ControlNet, it
    follows the control picture `hint`.
    """

    prompt: str
    seed: int
    source: Image.Image | None = None
    strength: float = 1.0
    control: Path | None = None
    hint: Image.Image | None = None


@dataclass(frozen=True)
class Manner:
    """How a model draws."""

    model: Path
    sampler: str
    steps: int
    guidance: float


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


def draw(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    steps: int,
    guidance: float,
    batch: int = BATCH,
) -> Iterator[Image.Image]:
    """One picture for each prompt, seeded by its place."""
    for start in range(0, len(prompts), batch):
        part = list(prompts[start : start + batch])
        orders = [Order(prompt, start + i) for i, prompt in enumerate(part)]
        yield from draw_batch(pipe, orders, steps, guidance)


def draw_batch(
    pipe: StableDiffusionPipeline, orders: Sequence[Order], steps: int, guidance: float
) -> list[Image.Image]:
    """Draws orders that are all of one kind, strength and control."""
    common = {
        "prompt": [order.prompt for order in orders],
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "generator": [torch.Generator().manual_seed(order.seed) for order in orders],
    }
    if orders[0].control:
        controlled = StableDiffusionControlNetPipeline(
            **pipe.components,
            controlnet=_controlnet(orders[0].control),
            requires_safety_checker=False,
        )
        controlled.set_progress_bar_config(disable=True)
        return list(controlled(image=[order.hint for order in orders], **common).images)
    if orders[0].source is None:
        return list(pipe(**common).images)
    remix = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    remix.set_progress_bar_config(disable=True)
    sources = [order.source for order in orders]
    return list(remix(image=sources, strength=orders[0].strength, **common).images)


def _kind_of(order: Order) -> tuple[bool, float, Path | None]:
    return order.source is None, order.strength, order.control


@lru_cache(maxsize=4)
def _controlnet(folder: Path) -> ControlNetModel:
    return ControlNetModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


class Studio:
    """Draws orders with one model, in this process or shared over several; use it in a `with`."""

    def __init__(
        self,
        model: Path,
        *,
        processes: int = 1,
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> None:
        """With the folder's own sampler, steps and guidance unless others are given."""
        settings = json.loads((model / "easel.json").read_text())
        self.manner = Manner(
            model,
            sampler or settings["default_sampler"],
            steps or int(settings["default_steps"]),
            settings["default_guidance_scale"] if guidance is None else guidance,
        )
        self._pool: ProcessPoolExecutor | None = None
        if processes > 1:
            self._pool = ProcessPoolExecutor(
                processes, multiprocessing.get_context("spawn"), _open, (self.manner,)
            )
        else:
            _open_here(self.manner)

    def draw(self, orders: Sequence[Order]) -> list[Image.Image]:
        """The pictures in the order of the orders, which are drawn in batches of neighbours."""
        batches: list[list[Order]] = []
        for order in orders:
            last = batches[-1] if batches else []
            alike = bool(last) and _kind_of(last[0]) == _kind_of(order)
            if alike and len(last) < BATCH:
                last.append(order)
            else:
                batches.append([order])
        drawn = self._pool.map(_work, batches) if self._pool else map(_work, batches)
        return [picture for pictures in drawn for picture in pictures]

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


_opened: list[tuple[StableDiffusionPipeline, Manner]] = []  # the one pipeline of this process


def _open(manner: Manner) -> None:
    torch.set_num_threads(1)  # two processes of one thread beat one of two by far
    _open_here(manner)


def _open_here(manner: Manner) -> None:
    _opened[:] = [(load(manner.model, manner.sampler)[0], manner)]


def _work(orders: list[Order]) -> list[Image.Image]:
    pipe, manner = _opened[0]
    return draw_batch(pipe, orders, manner.steps, manner.guidance)
