"""How many rows a U-Net call should have: measured once for each model and device, then remembered."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from engine.worker import machine
from engine.worker.conditions import Condition
from engine.worker.models import Model

log = logging.getLogger(__name__)

FILE = "knee.json"
_ENOUGH = 0.9  # share of the best rows/s
_CANDIDATES = (2, 4, 8, 16, 32)
_BUDGET_S = 1.5
_BUSY_BUDGET_S = 4.0  # of wall time on a CPU that others use, too
_LARGE_UNET = 100_000_000  # parameters; on a CPU one call of such a model takes seconds
_FALLBACK = 2


def find_knee(model: Model, folder: Path | None) -> int:
    """Returns the fewest rows of one U-Net call that reach nearly the best rows per second.

    It takes up to two seconds, and is read from `folder` the next time, so that it is also the same
    after each start. None measures without remembering.
    """
    key = " ".join(
        [
            model.model_hash,
            str(model.dtype),
            machine.device_name(model.device),
            importlib.metadata.version("torch"),
        ]
    )
    file = None if folder is None else folder / FILE
    known = {} if file is None else _read(file)
    if key in known:
        return known[key]
    knee, is_certain = measure_knee(model)
    if file is not None and is_certain:
        _write(file, known | {key: knee})
    return knee


def measure_knee(model: Model) -> tuple[int, bool]:
    """Returns the knee, and False when the time ended while more rows were still better."""
    on_gpu = model.device.type == "cuda"
    if not on_gpu and model.unet.num_parameters() > _LARGE_UNET:
        return _FALLBACK, True
    size = model.card.native_size, model.card.native_size
    condition = model.conditioner.condition(model.conditioner.zeros(), size)
    rates: dict[int, float] = {}
    is_certain = True
    started, spent = time.monotonic(), 0.0
    for rows in _CANDIDATES:
        try:
            _time_call(model, rows, condition)  # libraries choose their kernels
            seconds = min(_time_call(model, rows, condition) for _ in range(2))
        except torch.OutOfMemoryError:
            break
        rates[rows] = rows / seconds
        spent += 3 * seconds
        if rates[rows] < _ENOUGH * max(rates.values()):  # past the best
            break
        is_last = rows == _CANDIDATES[-1]
        if not is_last and spent + 6 * seconds > _BUDGET_S:  # the next takes up to twice as long
            # Where rows cost what they weigh, more of them would not change the answer.
            break
        if not is_last and time.monotonic() - started > _BUSY_BUDGET_S:
            is_certain = False
            break
    if not rates:
        return _FALLBACK, False
    knee = min(rows for rows, rate in rates.items() if rate >= _ENOUGH * max(rates.values()))
    log.info("U-Net rows/s by rows of a call: %s", {k: round(v, 1) for k, v in rates.items()})
    return knee, is_certain


def _time_call(model: Model, rows: int, condition: Condition) -> float:
    """Returns the seconds of a call: on a CPU its own, so that what else runs there does not count."""
    side = model.card.native_size // model.vae_scale_factor
    shape = rows, model.latent_channels, side, side
    latents = torch.zeros(shape, device=model.device, dtype=model.dtype)
    timesteps = torch.full((rows,), 500.0, device=model.device)
    text = condition.text.repeat(rows, 1, 1)
    added = {name: own.repeat(rows, 1) for name, own in condition.added.items()}
    on_gpu = model.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize(model.device)
    started = clock()
    model.unet(
        latents,
        timesteps,
        encoder_hidden_states=text,
        added_cond_kwargs=added or None,
        return_dict=False,
    )
    if on_gpu:
        torch.cuda.synchronize(model.device)
    return clock() - started


def _read(file: Path) -> dict[str, int]:
    try:
        found: Any = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: rows for key, rows in found.items() if rows in _CANDIDATES}


def _write(file: Path, known: dict[str, int]) -> None:
    """Writes the file; one that cannot be written only costs the next start a second."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(known, indent=1))
        new.replace(file)
    except OSError as error:
        log.warning("%s cannot be written (%s).", file, error)
