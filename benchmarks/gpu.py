"""Everything that needs a GPU, in one go: `python -m benchmarks.gpu FOLDER`, under 8 minutes.

First the tests marked `gpu`, then the benchmark of the engine with random SD 1.5 weights at full size.
Nothing is fetched from anywhere. `--device cpu --sizes tiny` tries the way itself without a GPU: fewer
jobs, in float32, since half precision takes ten times as long there, and with no limit of time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.engine.__main__ import main as run_benchmark

_TESTS_S = 150
_BENCHMARK_S = 300  # no run is begun after that
_PYTEST = (
    "-m", "pytest", "-m", "gpu", "tests/engine/worker", "-q", "--no-header",
    # A GPU machine's own Python may lack plugins that the project's settings name.
    "-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=default", "-p", "no:cacheprovider",
)  # fmt: skip


def main() -> int:
    """Runs both; returns the benchmark's exit code, or pytest's when a test failed."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--sizes", default="full")
    parser.add_argument("--jobs", help="of each load; left out, 32 on a GPU and 8 on a CPU")
    parser.add_argument("--compiled", help="as in benchmarks.engine; left out, both on a GPU")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    on_gpu = options.device == "cuda"
    code, tests = run_tests(options.out, _TESTS_S if on_gpu else None)
    print(f"Tests: {tests}", flush=True)
    arguments = [
        "--out", str(options.out), "--device", options.device, "--sizes", options.sizes,
        "--jobs", options.jobs or ("32" if on_gpu else "8"), "--rounds", "1",
        "--no-fairness", "--profile", "--tests", tests,
    ]  # fmt: skip
    if on_gpu:
        arguments += ["--seconds", str(_BENCHMARK_S)]
    if compiled := options.compiled or ("transformer,resnet" if on_gpu else ""):
        arguments += ["--compiled", compiled]
    return run_benchmark(arguments) or code


def run_tests(folder: Path, limit_s: float | None) -> tuple[int, str]:
    """Runs the tests that need a GPU; returns pytest's exit code and last line. The log goes to `folder`."""
    with (folder / "tests.txt").open("w") as log:
        try:
            done = subprocess.run(
                [sys.executable, *_PYTEST],
                cwd=Path(__file__).parents[1],
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            return 1, f"not done after {limit_s} s"
    lines = (folder / "tests.txt").read_text().strip().splitlines()
    return code, lines[-1].strip("= ") if lines else "no output"


if __name__ == "__main__":
    sys.exit(main())
