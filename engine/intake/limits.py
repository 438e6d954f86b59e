"""What a child process may take of the machine, enforced by the kernel."""

from __future__ import annotations

import os
import resource

_STANDARD_STREAMS = 3


def apply(*, memory_bytes: int, cpu_s: int) -> None:
    """Limits this process: its memory, its CPU time, no file, no core dump, no other process.

    To be called after everything is imported: no file can be opened any more. The kernel ends the
    process with SIGXCPU when its CPU time is over (the second more is for a SIGXCPU that is not
    taken); too large an allocation fails.
    """
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_s, hard=cpu_s + 1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, _STANDARD_STREAMS)
    os.nice(5)  # the bot's own answers come first


def _limit(kind: int, value: int, hard: int | None = None) -> None:
    hard = value if hard is None else hard
    _, before = resource.getrlimit(kind)
    if before != resource.RLIM_INFINITY:
        value, hard = min(value, before), min(hard, before)
    resource.setrlimit(kind, (value, hard))
