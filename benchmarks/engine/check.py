"""Are the pictures the same? Before any figure of speed counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.engine.contender import Contender
from benchmarks.engine.load import burst, run
from benchmarks.engine.row_batch import levels
from benchmarks.engine.trace import Job


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a picture may be from the stock one, on [-1, 1].

    In float32 the largest difference of any pixel decides. In half precision the stock pipeline itself
    rounds at each step and this engine keeps the latents in float32, so the mean decides.

    Attributes:
        largest: Of any pixel of any picture.
        mean: Over the pixels of any picture.
    """

    largest: float
    mean: float


TOLERANCES = {
    "float32": Tolerance(largest=5e-4, mean=5e-5),
    "float16": Tolerance(largest=2.0, mean=2e-2),  # another seed's picture is twenty times as far
    "bfloat16": Tolerance(largest=2.0, mean=1e-1),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one contender's pictures are from the stock pipelines', one job at a time.

    Attributes:
        largest: Of any pixel of any picture, on [-1, 1].
        mean: The largest mean over a picture's pixels.
        wrong: The jobs beyond the tolerance.
    """

    contender: str
    largest: float
    mean: float
    wrong: tuple[str, ...]


def compare(
    reference: Contender, others: Sequence[Contender], jobs: Sequence[Job], tolerance: Tolerance
) -> list[Difference]:
    """Runs the jobs through all and returns how far each is from the reference."""
    expected = _pictures(reference, jobs)
    differences = []
    for contender in others:
        found = _pictures(contender, jobs)
        away = {job.id: (found[job.id] - expected[job.id]).abs() for job in jobs}
        differences.append(
            Difference(
                contender.name,
                max(float(pixels.max()) for pixels in away.values()),
                max(float(pixels.mean()) for pixels in away.values()),
                tuple(
                    job_id
                    for job_id, pixels in away.items()
                    if not (pixels.max() <= tolerance.largest and pixels.mean() <= tolerance.mean)
                ),
            )
        )
    return differences


def _pictures(contender: Contender, jobs: Sequence[Job]) -> dict[str, torch.Tensor]:
    """Returns the pictures (3, H, W) on [-1, 1] by job.

    Raises:
        RuntimeError: A PNG file does not show its picture.
    """
    contender.keep_pixels = True
    lives = run(contender, burst(jobs), "wall").lives
    contender.keep_pixels = False
    pictures = {job.id: contender.pixels(job.id) for job in jobs}
    for job_id, picture in pictures.items():
        shown = levels(lives[job_id].png).permute(2, 0, 1) / 127.5 - 1
        if (shown - picture).abs().max() > 1.01 / 127.5:
            raise RuntimeError(f"{contender.name}: the PNG of {job_id} is another picture")
    return pictures
