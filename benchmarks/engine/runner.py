"""The order of things: write the files, compare the pictures, time the parts, run the loads in turns."""

from __future__ import annotations

import dataclasses
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from benchmarks.engine import check, load, machine, measures, models, row_batch, stock
from benchmarks.engine.contender import Contender
from benchmarks.engine.load import Load, Pace, Run
from benchmarks.engine.models import SIZES, Studio
from benchmarks.engine.profile import profiled
from benchmarks.engine.report import Results, SizeResult, write
from benchmarks.engine.summary import summarise
from benchmarks.engine.trace import Job, make_trace
from engine.types import EngineInfo
from engine.worker.models import Model

NAIVE, CAREFUL, EQUAL_KEY = "naive bot", "stock, LoRAs kept", "equal-key batches"
ALONE, ENGINE = "engine, one at a time", "this engine"
_CHECKED_JOBS = 10
_PEOPLE = 8  # of the closed loop
_POISSON_LOAD = 0.8  # of the naive bot's capacity
_ROW_COUNTS = (1, 2, 4, 8, 16, 32)
_COMPILED_ROWS = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    sizes: Sequence[str]
    device: str
    dtype: str
    threads: int | None
    jobs: int
    rounds: int
    loads: Sequence[str]
    pace: Pace
    seconds: float
    has_fairness: bool
    has_profile: bool
    compiled: Sequence[str]
    out: Path
    work: Path
    tests: str | None


@dataclasses.dataclass(slots=True)
class _Bench:
    """One size, loaded.

    Attributes:
        runs: What was run, by load and contender, and by round.
        memory: The most memory of each of them, bytes.
        cost_s: The last seconds of each contender for one job, to keep to the time.
    """

    options: Options
    end_at: float
    result: SizeResult
    results: Results
    studio: Studio
    model: Model
    info: EngineInfo
    plain: stock.Pipelines
    contenders: list[Contender]
    runs: dict[tuple[str, str], list[Run]] = dataclasses.field(default_factory=dict)
    memory: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    cost_s: dict[str, float] = dataclasses.field(default_factory=dict)

    def trace(self, count: int, seed: int) -> list[Job]:
        return make_trace(self.studio, self.info.model, count, seed)


def run_all(options: Options) -> bool:
    """Runs everything and writes the results after each part; False when pictures differ."""
    end_at = time.monotonic() + options.seconds
    _quieten()
    torch.set_grad_enabled(False)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    results = Results(machine.facts(device, options.dtype), tests=options.tests)
    is_right = True
    for name in options.sizes:
        is_right &= _run_size(options, name, results, end_at)
        write(results, options.out)
    if options.has_fairness and is_right:
        _say("fairness of the queue")
        try:
            results.fairness = _fairness(options.work)
        except ImportError as error:
            results.left_out.append(f"fairness: {error}")
        write(results, options.out)
    print((options.out / "results.md").read_text())
    return is_right


def _run_size(options: Options, name: str, results: Results, end_at: float) -> bool:
    """Runs one size; False when its pictures differ, and then there is nothing else of it."""
    size = SIZES[name]
    bench = _load(options, name, SizeResult(name, size.words), results, end_at)
    results.sizes.append(bench.result)
    _say(f"{name}: comparing pictures")
    by_name = {contender.name: contender for contender in bench.contenders}
    reference = by_name.pop(CAREFUL)
    bench.result.differences = check.compare(
        reference,
        list(by_name.values()),
        bench.trace(min(options.jobs, _CHECKED_JOBS), seed=0),
        check.TOLERANCES[options.dtype],
    )
    if wrong := [d.contender for d in bench.result.differences if d.wrong]:
        results.left_out.append(f"{name}: no speed, since pictures differ: {', '.join(wrong)}")
        return False
    _measure_parts(bench)
    write(results, options.out)
    loads: dict[str, Callable[[], None]] = {
        "burst": lambda: _bursts(bench),
        "closed": lambda: _closed(bench),
        "poisson": lambda: _poisson(bench),
    }
    for kind in options.loads:
        loads[kind]()
        _summarise(bench)
        write(results, options.out)
    if options.has_profile and _has_time(bench, "profile"):
        _profile(bench)
    if options.compiled and _has_time(bench, "compiled blocks"):
        _compiled(bench)
    return True


def _has_time(bench: _Bench, what: str) -> bool:
    if time.monotonic() < bench.end_at:
        return True
    bench.results.left_out.append(f"{bench.result.name}: {what}, no time left")
    return False


def _profile(bench: _Bench) -> None:
    _say(f"{bench.result.name}: profile")
    engine, jobs = bench.contenders[-1], bench.trace(max(bench.options.jobs // 2, 1), seed=9)
    try:
        bench.result.gpu_busy_share = profiled(
            lambda: load.run(engine, load.burst(jobs), "wall"),
            bench.options.out / f"profile-{bench.result.name}.txt",
            on_gpu=bench.model.device.type == "cuda",
        )
    except RuntimeError as error:  # the figures are there all the same
        bench.results.left_out.append(f"{bench.result.name}: profile ({error})")


def _compiled(bench: _Bench) -> None:
    """The last of a size, since its blocks stay compiled."""
    _say(f"{bench.result.name}: compiled blocks")
    peak = bench.result.matmul_gflop_per_s * 1e9
    bench.result.compiled = measures.compiled_calls(
        bench.model, bench.options.compiled, _COMPILED_ROWS, peak
    )


def _load(
    options: Options, name: str, result: SizeResult, results: Results, end_at: float
) -> _Bench:
    _say(f"{name}: writing and loading the model")
    size, device = SIZES[name], torch.device(options.device)
    dtype = getattr(torch, options.dtype)
    studio = models.write_studio(options.work / name, size, device, dtype)
    model, info = row_batch.load(studio, options.device, options.dtype)
    plain, kept = (stock.Pipelines(studio, device, dtype) for _ in range(2))
    kept.load_loras(list(studio.loras.values()))
    if device.type == "cuda":
        kept.to_channels_last()
    interval_s = 1.5 if size.unet else 0.5  # a small model's pictures take less than a second
    contenders: list[Contender] = [
        stock.Naive(NAIVE, plain),
        stock.Careful(CAREFUL, kept),
        stock.EqualKey(EQUAL_KEY, kept, most=max(info.max_rows // 2, 4)),
        row_batch.RowBatch(
            ALONE, studio, model, info, is_alone=True, preview_interval_s=interval_s
        ),
        row_batch.RowBatch(ENGINE, studio, model, info, preview_interval_s=interval_s),
    ]
    result.knee = info.max_rows
    return _Bench(options, end_at, result, results, studio, model, info, plain, contenders)


def _measure_parts(bench: _Bench) -> None:
    _say(f"{bench.result.name}: timing the parts")
    model, result = bench.model, bench.result
    peak = measures.matmul_peak(model.device, model.dtype)
    result.matmul_gflop_per_s = peak / 1e9
    result.unet_gflop = measures.unet_flops(model) / 1e9
    result.calls = measures.unet_calls(model, _ROW_COUNTS, peak)
    jobs = bench.trace(bench.options.jobs, seed=0)
    one = next(job for job in jobs if len(job.request.adapters) == 1)
    result.lora = measures.lora_cost(model, bench.studio, bench.plain, one)


def _bursts(bench: _Bench) -> None:
    for number in range(1, bench.options.rounds + 1):
        jobs = bench.trace(bench.options.jobs, seed=number)
        _round(bench, number, partial(load.burst, jobs))


def _closed(bench: _Bench) -> None:
    jobs = bench.trace(bench.options.jobs, seed=100)
    _round(bench, 0, lambda: load.closed(jobs, _PEOPLE))


def _poisson(bench: _Bench) -> None:
    """Chance arrivals; the naive bot's own bursts say what it can take."""
    pace = bench.options.pace
    naive = bench.runs.get(("burst", NAIVE))
    if not naive:
        bench.results.left_out.append(f"{bench.result.name}: poisson, without a burst to pace it")
        return
    capacity = statistics.median(len(run.lives) / run.seconds.on(pace) for run in naive)
    jobs = bench.trace(bench.options.jobs, seed=200)
    _round(bench, 1, lambda: load.poisson(jobs, _POISSON_LOAD * capacity, seed=1))


def _round(bench: _Bench, number: int, make: Callable[[], Load]) -> None:
    """Runs a load once with everybody, each round beginning with another one."""
    first = number % len(bench.contenders)
    for contender in bench.contenders[first:] + bench.contenders[:first]:
        own = make()
        name, jobs = contender.name, len(own.arrivals) + len(own.followers)
        if time.monotonic() + jobs * bench.cost_s.get(name, 0.0) > bench.end_at:
            bench.results.left_out.append(
                f"{bench.result.name}: {own.name} of {name}, no time left"
            )
            continue
        _say(f"{bench.result.name}: {own.name} {number}, {name}")
        started = time.monotonic()
        with machine.peak_memory(bench.model.device) as memory:
            run = load.run(contender, own, bench.options.pace)
        bench.cost_s[name] = (time.monotonic() - started) / jobs
        key = (own.name, name)
        bench.runs.setdefault(key, []).append(run)
        bench.memory[key] = max(memory.bytes, bench.memory.get(key, 0))


def _summarise(bench: _Bench) -> None:
    result = bench.result
    result.lines = [
        summarise(
            bench.runs[kind, contender.name],
            bench.runs[kind, NAIVE],
            pace=bench.options.pace,
            unet_flops=round(result.unet_gflop * 1e9),
            peak=result.matmul_gflop_per_s * 1e9,
            memory_bytes=bench.memory[kind, contender.name],
        )
        for kind in dict.fromkeys(kind for kind, _ in bench.runs)
        for contender in bench.contenders
        if (kind, contender.name) in bench.runs and (kind, NAIVE) in bench.runs
    ]
    for contender in bench.contenders:
        if isinstance(contender, stock.EqualKey):
            result.equal_key_batch = contender.mean_batch


def _fairness(work: Path) -> dict[str, Any]:
    """Always with the tiny model on the CPU: whose turn it is does not depend on the model."""
    from benchmarks.engine import fairness  # needs the queue's and the storage's libraries

    tiny = work / "fairness"
    device = torch.device("cpu")
    studio = models.write_studio(tiny, SIZES["tiny"], device, torch.float32)
    return dataclasses.asdict(fairness.measure(studio.model, tiny / "data"))


def _quieten() -> None:
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    # A second LoRA is meant to be there.
    warnings.filterwarnings("ignore", "Already found a `peft_config` attribute", UserWarning)


def _say(what: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)
