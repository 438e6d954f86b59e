"""Sixty and more jobs of every kind in one batch: each is the stock pipelines' picture of it alone."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.types import Sampler
from engine.worker.jobs import JobRun
from tests.engine.worker import mixture
from tests.engine.worker.local import LocalEngine, Stock
from tests.engine.worker.mixture import Drawn
from tests.engine.worker.test_equality import final_latents

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
    "ignore:Already found a `peft_config`:UserWarning",
)

JOBS = 63
AT_ONCE = 16  # latents that are decoded together


def test_mixed_batch_of_all_kinds_stays_close_to_stock(tiny_sd15: Path, tmp_path: Path) -> None:
    engine, stock = LocalEngine(tiny_sd15), Stock(tiny_sd15)
    drawn = mixture.draw(JOBS, 11, mixture.write_styles(engine, tmp_path), max_steps=4)
    assert {job.kind for job in drawn} == set(mixture.KINDS)
    assert {job.changes["sampler"] for job in drawn} == set(Sampler)
    assert {len(job.styles) for job in drawn} == {0, 1, 2}
    assert {job.changes["clip_skip"] for job in drawn} == {0, 1}
    runs = run_together(engine, drawn)
    assert max(engine.unet.rows) > 32, "they shared calls"
    ours, theirs, names = [], [], []
    loaded: list[Path] = []
    for job, run in sorted(zip(drawn, runs, strict=True), key=lambda pair: paths_of(pair[0])):
        if paths_of(job) != loaded:
            loaded = paths_of(job)
            load_styles(stock, loaded)
        if loaded:
            weights = [weight for _, weight in job.styles]
            stock.txt2img.set_adapters([path.stem for path in loaded], weights)
        theirs.append(stock.latents(run.request, job.image, **texts(engine, run), **files(job)))
        ours.append(final_latents(run))
        names += [job.name] * len(run.pictures)
    distances = [
        distance
        for a, b in zip(
            torch.cat(ours).split(AT_ONCE), torch.cat(theirs).split(AT_ONCE), strict=True
        )
        for distance in (decode(engine, a) - decode(engine, b)).abs().amax(dim=(1, 2, 3)).tolist()
    ]
    wrong = {name: d for name, d in zip(names, distances, strict=True) if not d <= 5e-4}
    print(f"{len(names)} pictures of {JOBS} jobs, at most {max(distances):.1e} apart")  # noqa: T201
    assert not wrong


def run_together(engine: LocalEngine, drawn: list[Drawn]) -> list[JobRun]:
    """Lets all of them join, most before the first has ended, and returns their runs."""
    random = Random(1)
    runs = []
    for job in drawn:
        job.send(engine)
        while job.name in engine.loop.waiting_ids():
            engine.loop.handle(engine.inbox.get())
        runs.append(next(run for run in engine.loop.jobs() if run.job_id == job.name))
        if random.random() < 0.05:
            engine.loop.tick()
    engine.finish()
    return runs


def paths_of(job: Drawn) -> list[Path]:
    return [path for path, _ in job.styles]


def files(job: Drawn) -> dict[str, Any]:
    """Returns the pictures that stock reads besides the one to start from."""
    return {"maps": job.maps, "mask": job.mask}


def load_styles(stock: Stock, paths: list[Path]) -> None:
    stock.txt2img.unload_lora_weights()
    for path in paths:
        stock.txt2img.load_lora_weights(load_file(path), adapter_name=path.stem)


def texts(engine: LocalEngine, run: JobRun) -> dict[str, Any]:
    """Returns the texts' embeddings where stock cannot read them: long ones, and with layers left out.

    `test_text.py` proves these.
    """
    assert run.prompt is not None
    read = [prompt.embeds for prompt in (run.prompt, run.negative) if prompt is not None]
    tokens = math.lcm(*(embeds.shape[1] for embeds in read))
    if tokens == engine.model.tokenizer.model_max_length and not run.request.clip_skip:
        return {}
    embeds = [own.repeat(1, tokens // own.shape[1], 1) for own in read]
    return {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": embeds[0],
        "negative_prompt_embeds": embeds[1] if len(embeds) > 1 else None,
    }


def decode(engine: LocalEngine, latents: Any) -> Any:
    """Returns the pixels (B, 3, H, W) in about [-1, 1]."""
    return engine.model.vae.decode(latents / engine.model.scaling_factor, return_dict=False)[0]
