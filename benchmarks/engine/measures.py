"""What the machine can do, and what single parts cost: matmul peak, rows of a call, LoRAs."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.engine import stock
from benchmarks.engine.models import Studio
from benchmarks.engine.trace import Job
from engine.worker import lora_file, lora_rows, warm_up
from engine.worker.buckets import Bucketed, powers_of_two
from engine.worker.compiled import compile_blocks
from engine.worker.conditions import Condition
from engine.worker.denoise import Predictor, Rows
from engine.worker.graphs import RECORD_AFTER, Graphed
from engine.worker.lora_rows import Combination
from engine.worker.models import Model

_TOKENS = 77


@dataclasses.dataclass(frozen=True, slots=True)
class CallCost:
    """One U-Net call.

    Attributes:
        wall_s: Its median time.
        cpu_s: The same of the process's CPU time.
        peak_share: Its arithmetic in that wall time, as a share of the measured matmul peak.
    """

    rows: int
    wall_s: float
    cpu_s: float
    peak_share: float


@dataclasses.dataclass(frozen=True, slots=True)
class CompiledCost:
    """One U-Net call with compiled blocks.

    Attributes:
        kinds: Of blocks that are compiled, see `engine.worker.compiled`.
        compile_s: What the last of them took to compile, for this one shape.
    """

    kinds: Sequence[str]
    compile_s: float
    call: CallCost


@dataclasses.dataclass(frozen=True, slots=True)
class LoraCost:
    """What LoRAs cost beside the U-Net, seconds of wall time (CPU time where it says so).

    Attributes:
        rows: Of the calls.
        none_s: A call without LoRAs.
        each_own_s: A call whose rows have `loras` different ones.
        none_cpu_s: As `none_s`, CPU time.
        each_own_cpu_s: As `each_own_s`, CPU time.
        stock_load_s: Stock: `load_lora_weights` and `unload_lora_weights` of one file.
        stock_switch_s: Stock: `set_adapters` among loaded ones.
        engine_load_s: This engine: reading and checking one file, beside the loop.
        engine_switch_s: This engine: the plan of a call whose LoRAs changed.
    """

    rows: int
    loras: int
    none_s: float
    each_own_s: float
    none_cpu_s: float
    each_own_cpu_s: float
    stock_load_s: float
    stock_switch_s: float
    engine_load_s: float
    engine_switch_s: float


def matmul_peak(device: Any, dtype: Any) -> float:
    """Returns FLOP/s of a large matrix product on random numbers, the best of several."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = min(_seconds(lambda: a @ b, device)[0] for _ in range(10))
    return 2 * side**3 / best


def unet_flops(model: Model) -> int:
    """Returns the FLOP of one row of one U-Net call."""
    with FlopCounterMode(display=False) as counter:
        _call(model, 1, Predictor(model.unet))
    return int(counter.get_total_flops())


def unet_calls(model: Model, row_counts: Sequence[int], peak: float) -> list[CallCost]:
    """Times U-Net calls of so many rows."""
    flops = unet_flops(model)
    costs = []
    for rows in row_counts:
        predictor = _predictor(model)
        wall, cpu = _median(partial(_call, model, rows, predictor), model.device)
        costs.append(CallCost(rows, wall, cpu, flops * rows / wall / peak))
    return costs


def compiled_calls(
    model: Model, kinds: Sequence[str], rows: int, peak: float, backend: str = "inductor"
) -> list[CompiledCost]:
    """Times U-Net calls without compiled blocks, then with one kind of them more each time.

    A kind that cannot be compiled is told in the log and is not among `kinds` then.
    """
    flops = unet_flops(model)
    costs: list[CompiledCost] = []
    done: tuple[str, ...] = ()
    compile_s = 0.0
    for more in ("", *kinds):
        if more:
            started = time.perf_counter()
            one = partial(warm_up.call, model, rows, 1, has_loras=False)
            done += compile_blocks(model.unet, [more], [one], lambda share: None, backend=backend)
            compile_s = time.perf_counter() - started
        wall, cpu = _median(partial(_call, model, rows, _predictor(model)), model.device)
        call = CallCost(rows, wall, cpu, flops * rows / wall / peak)
        costs.append(CompiledCost(done, compile_s, call))
    return costs


def lora_cost(model: Model, studio: Studio, pipelines: stock.Pipelines, job: Job) -> LoraCost:
    """Times what LoRAs cost; `job` has one, `pipelines` has none loaded."""
    device, rows = model.device, 16
    files = list(studio.loras.items())
    loads = []
    adapters = []
    for sha256, path in files:
        started = time.perf_counter()
        adapters.append(lora_file.load(path, sha256, model.unet, model.text_encoder))
        loads.append(time.perf_counter() - started)
    combinations = [lora_rows.combine([(adapter, 0.8)]) for adapter in adapters]
    each = [combinations[row % len(combinations)] for row in range(rows)]

    def plan() -> None:
        pairs = [own.unet if own else None for own in each]
        lora_rows.plan(model.unet, pairs, "bmm")

    def load_and_unload() -> None:
        stock.load(pipelines, job.request)
        pipelines.txt2img.unload_lora_weights()

    plain, own = _predictor(model), _predictor(model)
    none: list[tuple[float, float]] = []
    with_loras: list[tuple[float, float]] = []
    for _ in range(_warm_ups(device)):
        _call(model, rows, plain)
        _call(model, rows, own, each)
    for _ in range(7):  # in turns, since machines change their speed
        none.append(_seconds(lambda: _call(model, rows, plain), device))
        with_loras.append(_seconds(lambda: _call(model, rows, own, each), device))
    stock_load, _ = _median(load_and_unload, device)
    stock.load(pipelines, job.request)
    stock_switch, _ = _median(lambda: pipelines.use_loras(job.request), device)
    pipelines.txt2img.unload_lora_weights()
    engine_switch, _ = _median(plan, device)
    return LoraCost(
        rows=rows,
        loras=len(files),
        none_s=statistics.median(wall for wall, _ in none),
        each_own_s=statistics.median(wall for wall, _ in with_loras),
        none_cpu_s=statistics.median(cpu for _, cpu in none),
        each_own_cpu_s=statistics.median(cpu for _, cpu in with_loras),
        stock_load_s=stock_load,
        stock_switch_s=stock_switch,
        engine_load_s=statistics.median(loads),
        engine_switch_s=engine_switch,
    )


def _predictor(model: Model) -> Predictor:
    """Returns what the loop calls the U-Net by: on CUDA in buckets that are recorded as graphs."""
    if model.device.type == "cuda":
        return Predictor(model.unet, "bmm", caller=Bucketed(powers_of_two(32), Graphed()))
    return Predictor(model.unet, "auto")


def _warm_ups(device: Any) -> int:
    return RECORD_AFTER + 2 if device.type == "cuda" else 1


def _call(
    model: Model,
    rows: int,
    predictor: Predictor,
    adapters: Sequence[Combination | None] | None = None,
) -> None:
    side = model.card.native_size // model.vae_scale_factor
    shape = (rows, model.latent_channels, side, side)
    width = model.unet.config.cross_attention_dim
    text = torch.randn(1, _TOKENS, width, device=model.device, dtype=model.dtype)
    predictor.predict(
        Rows(
            sample=torch.randn(shape, device=model.device, dtype=model.dtype),
            timesteps=torch.full((rows,), 500.0, device=model.device),
            conditions=[Condition(text)] * rows,
            controls=[()] * rows,
            adapters=adapters or [None] * rows,
        )
    )


def _seconds(work: Callable[[], Any], device: Any) -> tuple[float, float]:
    """Returns the wall and CPU seconds of one call of `work`, with what it started on the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _median(work: Callable[[], Any], device: Any) -> tuple[float, float]:
    for _ in range(_warm_ups(device)):
        work()
    costs = [_seconds(work, device) for _ in range(5)]
    return statistics.median(w for w, _ in costs), statistics.median(c for _, c in costs)
