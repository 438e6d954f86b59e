"""Runs a training in one process or several, each with one thread."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def run_processes(world: int, work: Callable[..., None], *arguments: Any) -> None:
    """Calls `work(rank, *arguments)` in `world` processes that can average their gradients.

    One process is this one. Each has a single thread: a second one gains little, and loses much beside
    another busy process.

    Args:
        world: How many processes.
        work: A function at the top of a module, since it is pickled.
        arguments: What it gets after its rank; pickled too.
    """
    if world == 1:
        threads = torch.get_num_threads()
        _run(0, 1, "", work, arguments)
        torch.set_num_threads(threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting_place = str(Path(folder) / "meeting")
        torch.multiprocessing.spawn(_run, (world, meeting_place, work, arguments), nprocs=world)


def _run(
    rank: int, world: int, meeting_place: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if world > 1:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting_place}", rank=rank, world_size=world
        )
    work(rank, *arguments)
    if world > 1:
        dist.destroy_process_group()


def _end_with_parent() -> None:
    """Ends this process when the one that started it is killed: two trainings must not share a folder."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
