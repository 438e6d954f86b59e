"""Checks one LoRA file after the other in one process with the limits of `engine.lora.child`.

A file comes as a frame and its verdict goes back as one. Five seconds for one file, or the kernel ends the
process. `python -m tests.engine.lora.warm_child`
"""

from __future__ import annotations

import dataclasses
import io
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import BinaryIO

from engine.errors import RefusedFileError
from engine.intake import frames, limits
from engine.lora.checking import check_lora
from engine.lora.intake import _MEMORY_BYTES
from engine.lora.metadata import read_metadata

LIMIT_S = 5
_CPU_S = 1800  # of all files together
_MAX_FILE = 32 * 2**20


def verdict(data: bytes) -> dict[str, object]:
    """What the check says; "failed" is a traceback, which must not be."""
    try:
        lora = check_lora(io.BytesIO(data), len(data), max_bytes=_MAX_FILE)
        info = read_metadata(lora.metadata)
    except RefusedFileError as error:
        return {"refused": str(error)}
    except BaseException:
        return {"failed": traceback.format_exc(limit=-8)}
    words = dataclasses.asdict(info) | {"thumbnail": len(info.thumbnail)}
    return {"sha256": lora.sha256, "family": lora.family, "info": words}


def peak_bytes(status: BinaryIO) -> int:
    """The most memory that this process had; getrusage also counts its parent's before `exec`."""
    status.seek(0)
    (line,) = (one for one in status.read(4096).splitlines() if one.startswith(b"VmHWM:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Answers until its input ends."""
    with Path("/proc/self/status").open("rb", buffering=0) as status:  # no file can be opened later
        limits.apply(memory_bytes=_MEMORY_BYTES, cpu_s=_CPU_S)
        while True:
            try:
                _, data = frames.read(sys.stdin.buffer, _MAX_FILE)
            except EOFError:
                return
            started = time.monotonic()
            signal.alarm(LIMIT_S)
            said = verdict(data)
            signal.alarm(0)
            said |= {
                "seconds": time.monotonic() - started,
                "peak_bytes": peak_bytes(status),
                "torch": "torch" in sys.modules,
            }
            sys.stdout.buffer.write(frames.encode(said))
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
