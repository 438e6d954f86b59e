"""Processes that train together end together."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

SCRIPT = """
import os, time
from engine.pocket.processes import run_processes

def work(rank, pipe):
    os.write(os.open(pipe, os.O_WRONLY), b"x")
    os.set_inheritable(os.open(pipe, os.O_WRONLY), False)
    time.sleep(600)

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
