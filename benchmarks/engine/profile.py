"""What a run's time is spent on, and how much of it a GPU computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

_KERNELS = 30  # lines of the table


def profiled(work: Callable[[], Any], table: Path, *, on_gpu: bool) -> float | None:
    """Runs `work` under the profiler and writes what took longest to `table`.

    Returns:
        The share of its time in which a kernel ran; None on a CPU. The profiler itself slows the CPU
        down, so the true share is a little higher.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        work()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    table.write_text(profiler.key_averages().table(sort_by=order, row_limit=_KERNELS))
    if not on_gpu:
        return None
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA
    ]
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
