"""What the benchmark ran on, and what memory it took."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from engine.worker import machine


def kind(device: Any) -> str:
    """Returns the machine in words: "2 CPU cores, AVX-512, no GPU"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    capability = torch.backends.cpu.get_cpu_capability()
    words = [f"{cores} CPU cores", {"AVX512": "AVX-512"}.get(capability, capability)]
    words.append(machine.device_name(device) if device.type == "cuda" else "no GPU")
    return ", ".join(words)


def facts(device: Any, dtype: str) -> dict[str, Any]:
    """Returns what a reader must know to compare."""
    return {
        "kind": kind(device),
        "dtype": dtype,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": machine.versions(),
        "load_average": round(os.getloadavg()[0], 1),
    }


class Peak:
    """The most memory that was taken since the start of a block, beyond what was taken before."""

    bytes = 0


@contextlib.contextmanager
def peak_memory(device: Any) -> Iterator[Peak]:
    """Measures the GPU's memory, or the process's on a CPU; 0 where the system does not tell."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    before = machine.resident_bytes()
    yield peak
    peak.bytes = max(_high_water() - before, 0)


def _high_water() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0
