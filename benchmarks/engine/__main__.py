"""`python -m benchmarks.engine`: four ways of running one trace, in turns; pictures are compared first."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

# As in the engine's process; before torch is there.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

SIZES = ("tiny", "pocket", "full")
PICTURES_DIFFER = 3


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; returns 3, without a figure of speed, when pictures differ."""
    options = parser().parse_args(arguments)
    import torch

    from benchmarks.engine.runner import Options, run_all

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no CUDA device. Use --device cpu --sizes tiny to try the way itself.")
    with tempfile.TemporaryDirectory(prefix="easel-bench-") as folder:
        is_right = run_all(
            Options(
                sizes=tuple(options.sizes.split(",")),
                device=options.device,
                dtype=options.dtype or ("float16" if options.device == "cuda" else "float32"),
                threads=options.threads,
                jobs=options.jobs,
                rounds=options.rounds,
                loads=tuple(options.loads.split(",")),
                pace=options.pace or ("wall" if options.device == "cuda" else "cpu"),
                seconds=options.seconds,
                has_fairness=not options.no_fairness,
                out=options.out,
                work=Path(folder),
                has_profile=options.profile,
                compiled=tuple(options.compiled.split(",")) if options.compiled else (),
                tests=options.tests,
            )
        )
    return 0 if is_right else PICTURES_DIFFER


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    made = argparse.ArgumentParser("python -m benchmarks.engine", description=__doc__)
    made.add_argument("--out", type=Path, default=Path("bench"), help="folder for the results")
    made.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    made.add_argument("--dtype", choices=("float32", "float16", "bfloat16"))
    made.add_argument("--sizes", default="tiny,pocket", help=f"with commas: {', '.join(SIZES)}")
    made.add_argument("--threads", type=int, help="CPU threads; left out, torch chooses")
    made.add_argument("--jobs", type=int, default=16, help="of each load")
    made.add_argument("--rounds", type=int, default=3, help="bursts of each way")
    made.add_argument("--loads", default="burst,closed,poisson", help="with commas")
    made.add_argument("--pace", choices=("wall", "cpu"), help="the clock of latencies and arrivals")
    made.add_argument("--seconds", type=float, default=3600, help="no run is begun after that")
    made.add_argument("--no-fairness", action="store_true", help="leave the queue's fairness out")
    made.add_argument("--profile", action="store_true", help="at last, what a burst is spent on")
    made.add_argument(
        "--compiled", help="at last, U-Net calls with compiled blocks: transformer,resnet"
    )
    made.add_argument("--tests", help="a line about the tests for the report")
    return made


if __name__ == "__main__":
    sys.exit(main())
