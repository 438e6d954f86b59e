"""How long the model takes on a CPU, text and VAE included."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median

import torch

from engine.pocket.scores.studio import Manner, Order, draw_batch, load

PROMPTS = (
    "a red circle on a blue background",
    "a woman in a green shirt and black trousers waving on a pink background",
    "a small yellow star in the top left corner on a black background",
    "a purple house in the mountains",
)


@dataclass(frozen=True)
class SpeedScore:
    """Medians of several runs after one to warm up."""

    cores: int  # of the machine
    threads: int  # that were used
    steps: int
    runs: int
    one_picture_seconds: float
    four_pictures_seconds: float
    load_at_start: float  # of the machine, by the operating system's one-minute average: 0 is idle


def evaluate(manner: Manner, threads: int = 2, runs: int = 5) -> SpeedScore:
    """Times pictures in a process of its own, so that its threads are no one else's."""
    spawn = multiprocessing.get_context("spawn")
    busy = os.getloadavg()[0]
    with ProcessPoolExecutor(1, spawn) as pool:
        one, four = pool.submit(measure, manner, threads, runs).result()
    return SpeedScore(os.cpu_count() or 1, threads, manner.steps, runs, one, four, busy)


def measure(manner: Manner, threads: int, runs: int) -> tuple[float, float]:
    """The median seconds of one picture and of four at once."""
    torch.set_num_threads(threads)
    pipe, _ = load(manner.model, manner.sampler)
    medians = []
    for count in (1, 4):
        orders = [Order(prompt, i) for i, prompt in enumerate(PROMPTS[:count])]
        times = []
        for _ in range(runs + 1):
            started = time.perf_counter()
            draw_batch(pipe, orders, manner.steps, manner.guidance)
            times.append(time.perf_counter() - started)
        medians.append(median(times[1:]))
    return medians[0], medians[1]
