"""What this machine is and does: device name, memory, versions, and the pace of its GPU."""

from __future__ import annotations

import importlib.metadata
import os
from collections import deque
from pathlib import Path
from typing import Any

import torch

RATE_WINDOW_S = 30.0


def device_name(device: Any) -> str:
    """Returns the device's name for people."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    threads = torch.get_num_threads()
    return f"CPU ({threads} thread{'' if threads == 1 else 's'})"


def resident_bytes() -> int:
    """Returns the process's resident memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def allocated_bytes(device: Any) -> int:
    """Returns the GPU memory that tensors hold; 0 on the CPU."""
    return int(torch.cuda.memory_allocated(device)) if device.type == "cuda" else 0


def device_memory(device: Any) -> tuple[int, int]:
    """Returns the GPU's free and whole memory, whoever uses it; zeros on the CPU."""
    if device.type != "cuda":
        return 0, 0
    free, total = torch.cuda.mem_get_info(device)
    return int(free), int(total)


def empty_cache(device: Any) -> None:
    """Gives GPU memory that torch keeps for later back to the driver."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def versions() -> dict[str, str]:
    """Returns the libraries that decide a picture's bits, and what torch chooses its kernels by."""
    libraries = ("torch", "diffusers", "transformers", "numpy", "pillow")
    found = {name: importlib.metadata.version(name) for name in libraries}
    found["cpu"] = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())
    return found


class Speed:
    """How fast the loop was lately."""

    def __init__(self) -> None:
        """Starts without a call."""
        self._calls: deque[tuple[float, int]] = deque(maxlen=1000)  # time and rows of each

    def note(self, now: float, rows: int) -> None:
        """Remembers a U-Net call; `now` is in seconds."""
        self._calls.append((now, rows))

    def rates(self, now: float) -> dict[str, float]:
        """Returns the U-Net calls ("steps_per_s") and rows ("row_steps_per_s") of a second, by name."""
        recent = [(at, rows) for at, rows in self._calls if at > now - RATE_WINDOW_S]
        seconds = max(now - recent[0][0], 1e-3) if len(recent) > 1 else RATE_WINDOW_S
        return {
            "steps_per_s": round(len(recent) / seconds, 2),
            "row_steps_per_s": round(sum(rows for _, rows in recent) / seconds, 2),
        }


class Pace:
    """Keeps the loop at most one tick ahead of the GPU, so that progress and cancel are true."""

    def __init__(self, device: Any) -> None:
        """On the CPU there is nothing to wait for: calls return when they are done."""
        self._on_gpu = device.type == "cuda"
        self._last: Any = None

    def wait(self) -> None:
        """Call it once a tick, after the tick's work was queued; waits for the tick before."""
        if not self._on_gpu:
            return
        event = torch.cuda.Event()
        event.record()
        if self._last is not None:
            self._last.synchronize()
        self._last = event
