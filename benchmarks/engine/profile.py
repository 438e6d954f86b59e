"""How much of the time a GPU computes, and on what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

_KERNELS = 30  # lines of the table


def gpu_busy_share(work: Callable[[], Any], table: Path) -> float:
    """Runs `work` under the profiler; returns the share of its time in which a kernel ran.

    The profiler itself slows the CPU down, so the true share is a little higher. Writes the longest
    kernels to `table`.
    """
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA
    ]
    text = profiler.key_averages().table(sort_by="self_cuda_time_total", row_limit=_KERNELS)
    table.write_text(text)
    return busy_share(spans)


def busy_share(spans: Iterable[tuple[float, float]]) -> float:
    """Returns the share of the time from the first span's start to the last one's end that is covered."""
    ordered = sorted(spans)
    if not ordered:
        return 0.0
    covered, reached = 0.0, ordered[0][0]
    for start, end in ordered:
        covered += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return covered / max(reached - ordered[0][0], 1e-9)
