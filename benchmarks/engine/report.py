"""The results as JSON, as Markdown and as a plot."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from benchmarks.engine.check import Difference
from benchmarks.engine.measures import CallCost, CompiledCost, LoraCost
from benchmarks.engine.plot import draw
from benchmarks.engine.summary import Line


@dataclasses.dataclass(slots=True)
class SizeResult:
    """Everything about one size of model."""

    name: str
    words: str
    knee: int = 0
    unet_gflop: float = 0.0
    matmul_gflop_per_s: float = 0.0
    differences: list[Difference] = dataclasses.field(default_factory=list)
    lines: list[Line] = dataclasses.field(default_factory=list)
    calls: list[CallCost] = dataclasses.field(default_factory=list)
    lora: LoraCost | None = None
    equal_key_batch: float = 0.0
    gpu_busy_share: float | None = None
    compiled: list[CompiledCost] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Results:
    """Everything about one machine."""

    machine: dict[str, Any]
    sizes: list[SizeResult] = dataclasses.field(default_factory=list)
    fairness: dict[str, Any] | None = None
    tests: str | None = None
    left_out: list[str] = dataclasses.field(default_factory=list)


def write(results: Results, folder: Path) -> None:
    """Writes `results.json`, `results.md` and `results.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(results), indent=1)
    (folder / "results.json").write_text(text + "\n")
    (folder / "results.md").write_text(markdown(results))
    if any(size.lines for size in results.sizes):
        draw(results.sizes, folder / "results.png")


def markdown(results: Results) -> str:
    """Returns the results for people."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        f"{machine['kind']}, {machine['dtype']}, {machine['threads']} threads, Python "
        f"{machine['python']}, {versions}. Load average at the start: {machine['load_average']}."
    ]
    if results.tests is not None:
        parts.append(f"Tests on the device: {results.tests}.")
    for size in results.sizes:
        parts += _size(size)
    if results.fairness is not None:
        served = ", ".join(
            f"{work:.3f} in jobs of {count}" for count, work in results.fairness["served"].items()
        )
        parts += [
            "### Fairness",
            f"Three people whose jobs always wait: {served} (row-step-megapixels). "
            f"Most against least served: {results.fairness['ratio']:.2f}.",
        ]
    if results.left_out:
        parts += ["### Left out", "\n".join(f"- {line}" for line in results.left_out)]
    return "\n\n".join(parts) + "\n"


def _size(size: SizeResult) -> list[str]:
    parts = [
        f"### Model: {size.name}",
        f"{size.words}. {size.unet_gflop:.2f} GFLOP a U-Net row; matmul peak "
        f"{size.matmul_gflop_per_s:,.0f} GFLOP/s; knee {size.knee} rows.",
    ]
    if size.differences:
        rows = [
            [d.contender, f"{d.largest:.1e}", f"{d.mean:.1e}", ", ".join(d.wrong) or "none"]
            for d in size.differences
        ]
        head = ["against stock, one at a time", "largest difference", "mean of the worst picture",
                "beyond the tolerance"]  # fmt: skip
        parts.append(_table(head, rows))
    for load in dict.fromkeys(line.load for line in size.lines):
        lines = [line for line in size.lines if line.load == load]
        unit = "s" if lines[0].pace == "wall" else "CPU s"
        head = [
            f"{load}, {lines[0].jobs} jobs x {lines[0].rounds}", "pictures/s", "pictures/CPU s",
            "naive = 1", "naive = 1 (CPU)", "row-steps/s", "of matmul peak", f"mean {unit}",
            "picture p50 / p95", "first sight p50 / p95", "memory MB",
        ]  # fmt: skip
        parts.append(_table(head, [_line(line) for line in lines]))
    if size.equal_key_batch:
        parts.append(f"Equal-key batching found {size.equal_key_batch:.2f} jobs a call.")
    if size.calls:
        rows = [
            [str(c.rows), f"{c.wall_s * 1e3:.1f}", f"{c.cpu_s * 1e3:.1f}",
             f"{c.rows / c.wall_s:.0f}", f"{c.peak_share:.1%}"]
            for c in size.calls
        ]  # fmt: skip
        head = ["rows of a U-Net call", "ms", "CPU ms", "rows/s", "of matmul peak"]
        parts.append(_table(head, rows))
    if size.lora is not None:
        lora = size.lora
        wall, cpu = lora.each_own_s / lora.none_s, lora.each_own_cpu_s / lora.none_cpu_s
        parts.append(
            f"{lora.loras} LoRAs over {lora.rows} rows: a call takes {lora.each_own_s * 1e3:.1f} ms "
            f"instead of {lora.none_s * 1e3:.1f} ({wall - 1:+.0%}; CPU time {cpu - 1:+.0%}). Switch: "
            f"stock load and unload {lora.stock_load_s * 1e3:.0f} ms, stock `set_adapters` "
            f"{lora.stock_switch_s * 1e3:.1f} ms, this engine {lora.engine_switch_s * 1e3:.2f} ms "
            f"(reading a file, beside the loop, {lora.engine_load_s * 1e3:.0f} ms)."
        )
    if size.gpu_busy_share is not None:
        parts.append(f"GPU busy in a burst: {size.gpu_busy_share:.1%} of the time.")
    if size.compiled:
        rows = [
            [", ".join(c.kinds) or "none", f"{c.call.wall_s * 1e3:.1f}",
             f"{c.call.cpu_s * 1e3:.1f}", f"{c.call.peak_share:.1%}", f"{c.compile_s:.0f}"]
            for c in size.compiled
        ]  # fmt: skip
        head = [f"compiled blocks, {size.compiled[0].call.rows} rows", "ms", "CPU ms",
                "of matmul peak", "compiled in s"]  # fmt: skip
        parts.append(_table(head, rows))
    return parts


def _line(line: Line) -> list[str]:
    return [
        line.contender,
        f"{line.images_per_s:.2f}",
        f"{line.images_per_cpu_s:.2f}",
        f"{line.faster_wall:.2f}x",
        f"{line.faster_cpu:.2f}x",
        f"{line.row_steps_per_s:.0f}",
        f"{line.peak_share:.1%}",
        f"{line.mean_s:.2f}",
        f"{line.picture_p50_s:.2f} / {line.picture_p95_s:.2f}",
        f"{line.preview_p50_s:.2f} / {line.preview_p95_s:.2f}",
        f"{line.memory_mb:.0f}",
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
