"""From runs to figures: a line for each contender under each load."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.engine.load import Pace, Run


@dataclass(frozen=True, slots=True)
class Line:
    """One contender under one load, over all rounds.

    Throughput is the median round's, latencies are of all jobs. Seconds are of the clock `pace`.

    Attributes:
        faster_cpu: Jobs for the same CPU time, as a multiple of the naive bot's in the same round;
            the median round's.
        faster_wall: The same of wall time.
        peak_share: Of the measured matmul peak, by the arithmetic of the U-Net's row-steps alone.
        memory_mb: Taken beyond the weights.
    """

    load: str
    contender: str
    rounds: int
    jobs: int
    pace: Pace
    images_per_s: float
    images_per_cpu_s: float
    faster_wall: float
    faster_cpu: float
    row_steps_per_s: float
    peak_share: float
    mean_s: float
    picture_p50_s: float
    picture_p95_s: float
    preview_p50_s: float
    preview_p95_s: float
    memory_mb: float


def summarise(
    runs: Sequence[Run], naive: Sequence[Run], *, pace: Pace, unet_flops: int, peak: float,
    memory_bytes: int,
) -> Line:  # fmt: skip
    """Returns the figures of one contender; `naive` are the same rounds of the naive bot."""
    pictures = [seconds for run in runs for seconds in run.to_picture(pace)]
    previews = [seconds for run in runs for seconds in run.to_preview(pace)]
    pairs = list(zip(runs, naive, strict=False))
    row_steps = statistics.median(run.row_steps / run.seconds.wall for run in runs)
    return Line(
        load=runs[0].load,
        contender=runs[0].contender,
        rounds=len(runs),
        jobs=len(runs[0].lives),
        pace=pace,
        images_per_s=statistics.median(len(run.lives) / run.seconds.wall for run in runs),
        images_per_cpu_s=statistics.median(len(run.lives) / run.seconds.cpu for run in runs),
        faster_wall=statistics.median(n.seconds.wall / r.seconds.wall for r, n in pairs),
        faster_cpu=statistics.median(n.seconds.cpu / r.seconds.cpu for r, n in pairs),
        row_steps_per_s=row_steps,
        peak_share=row_steps * unet_flops / peak,
        mean_s=statistics.mean(pictures),
        picture_p50_s=quantile(pictures, 0.5),
        picture_p95_s=quantile(pictures, 0.95),
        preview_p50_s=quantile(previews, 0.5),
        preview_p95_s=quantile(previews, 0.95),
        memory_mb=memory_bytes / 1e6,
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Returns the value that `share` of the others are at or below (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
