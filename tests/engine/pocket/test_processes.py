"""Processes that train together end together, share the optimiser's work and resume."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from safetensors.torch import load_file

TOGETHER = """
import sys
from contextlib import suppress
from pathlib import Path

import torch

from engine.pocket.loop import Plan, State, Worker, train
from engine.pocket.processes import run_processes

class StoppedError(Exception):  # stands for a kill in the middle
    pass

def work(rank, folder, stops):
    for stop in (*stops, None):  # all but the first resume
        torch.manual_seed(rank)  # the first process's weights count
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2), torch.nn.Linear(2, 2))
        worker = Worker(rank, 2, Path(folder), torch.device("cpu"), 7)
        path = Path(folder) / "lines.safetensors"
        state = State(model, path, has_muon=True, rank=rank, world=2)

        def loss_of(step, samples):
            if step == stop:
                raise StoppedError
            x = torch.randn((8, 3), generator=worker.generator("lines", step))
            return (model(x) - x[:, :2]).square().mean(), 8

        with suppress(StoppedError):
            train(worker, Plan("lines", 320, 8, 0.05, checkpoint_every=64), state, loss_of)

if __name__ == "__main__":
    folder, *stops = sys.argv[1:]
    run_processes(2, work, folder, [int(stop) for stop in stops])
"""

SCRIPT = """
import os, time
from engine.pocket.processes import run_processes

def work(rank, pipe):
    os.write(os.open(pipe, os.O_WRONLY), b"x")
    os.set_inheritable(os.open(pipe, os.O_WRONLY), False)
    time.sleep(600)  # until it is ended

if __name__ == "__main__":
    import sys
    run_processes(2, work, sys.argv[1])
"""


def test_killed_parent_leaves_no_process_behind(tmp_path: Path) -> None:
    script, pipe = tmp_path / "script.py", tmp_path / "pipe"
    script.write_text(SCRIPT)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    root = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, script, pipe], env={**os.environ, "PYTHONPATH": str(root)}
    )
    started = b""
    while len(started) < 2:  # both are at work
        assert select.select([reader], [], [], 120)[0]
        started += os.read(reader, 2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    # the end of file comes when the last process that holds the pipe open has ended
    assert select.select([reader], [], [], 60)[0]
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_processes_that_share_the_optimiser_resume_with_all_of_its_state(tmp_path: Path) -> None:
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    root = Path(__file__).parents[3]
    runs: dict[str, list[str]] = {"whole": [], "parts": ["10"]}
    kept = {}
    for name, stops in runs.items():
        (tmp_path / name).mkdir()
        subprocess.run(
            [sys.executable, script, tmp_path / name, *stops],
            env={**os.environ, "PYTHONPATH": str(root)}, check=True, timeout=300, capture_output=True,
        )  # fmt: skip
        kept[name] = load_file(tmp_path / name / "lines.safetensors")
    assert {key for key in kept["whole"] if key.startswith("momentum_buffer")} == {
        f"momentum_buffer.{layer}.weight" for layer in range(3)
    }
    for key, tensor in kept["whole"].items():
        assert tensor.equal(kept["parts"][key]), key
