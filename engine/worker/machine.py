"""What this machine is and does: device name, memory, and how many rows a U-Net call should have."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import time
from pathlib import Path
from typing import Any

import torch

from engine.worker.models import Model

log = logging.getLogger(__name__)

_KNEE = 0.92  # share of the best rows/s that is enough
_CPU_BUDGET_S = 1.0
_LARGE_UNET = 100_000_000  # parameters; on a CPU one call of such a model takes seconds


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


def versions() -> dict[str, str]:
    """Returns the libraries that decide a picture's bits."""
    return {
        name: importlib.metadata.version(name) for name in ("torch", "diffusers", "transformers")
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


def measure_knee(model: Model) -> int:
    """Returns the fewest rows of one U-Net call that reach nearly the best rows per second."""
    on_gpu = model.device.type == "cuda"
    if not on_gpu and model.unet.num_parameters() > _LARGE_UNET:
        return 2
    candidates = (2, 4, 8, 16, 32) if on_gpu else (2, 4, 8)
    side = model.card.native_size // model.vae_scale_factor
    tokens = model.tokenizer.model_max_length
    width = model.unet.config.cross_attention_dim
    rates: dict[int, float] = {}
    end_at = time.monotonic() + (10.0 if on_gpu else _CPU_BUDGET_S)
    for rows in candidates:
        latents = torch.zeros(
            rows, model.latent_channels, side, side, device=model.device, dtype=model.dtype
        )
        embeds = torch.zeros(rows, tokens, width, device=model.device, dtype=model.dtype)
        timesteps = torch.full((rows,), 500.0, device=model.device)
        try:
            seconds = min(_time_call(model, latents, timesteps, embeds) for _ in range(3))
        except torch.OutOfMemoryError:
            break
        rates[rows] = rows / seconds
        if time.monotonic() + 6 * seconds > end_at:  # the next one takes twice as long, three times
            break
    if not rates:
        return 2
    knee = min(rows for rows, rate in rates.items() if rate >= _KNEE * max(rates.values()))
    log.info("U-Net rows/s by rows of a call: %s", {k: round(v, 1) for k, v in rates.items()})
    return knee


def _time_call(model: Model, latents: Any, timesteps: Any, embeds: Any) -> float:
    started = time.perf_counter()
    model.unet(latents, timesteps, encoder_hidden_states=embeds, return_dict=False)
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter() - started
