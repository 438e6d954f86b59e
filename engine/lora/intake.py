"""Checks an untrusted LoRA file in a child process with limits; the bot's side of `engine.lora.child`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

from engine.errors import RefusedFileError
from engine.intake import frames
from engine.lora.checking import CheckedLora
from engine.words import N_

log = logging.getLogger("easel.intake")

_ROOT = Path(__file__).resolve().parent.parent.parent
_MEMORY_BYTES = 400 * 2**20
_MAX_METADATA = 64 * 2**20

BROKE = N_("The file breaks the program that checks it, so it is not used.")
TOO_SLOW = N_("The file takes too long to check (limit {seconds:g} s), so it is not used.")
NO_FILE = N_("That is no file that can be read. Name a .safetensors file inside the LoRA folder.")
NOT_NOW = N_("Files cannot be checked at the moment. Try again in a few minutes.")


async def check_lora_file(
    path: Path, *, max_bytes: int, family: str | None = None, timeout_s: float = 60.0
) -> CheckedLora:
    """Returns what a LoRA file is, once every number of it was looked at.

    Args:
        path: Of a regular file; a link is not followed.
        max_bytes: The largest that is read.
        family: Of the base model that it must fit; None takes any.
        timeout_s: For the check; a GB takes about 5 s.

    Raises:
        RefusedFileError: It is not used; the message says why.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise RefusedFileError(NO_FILE) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RefusedFileError(NO_FILE)
        output = await _run(descriptor, max_bytes, family, timeout_s)
    finally:
        os.close(descriptor)
    try:
        fields, metadata = frames.read(io.BytesIO(output), _MAX_METADATA)
    except (EOFError, ValueError) as error:
        raise RefusedFileError(BROKE) from error
    if "refused" in fields:
        raise RefusedFileError(str(fields["refused"]))
    if "failed" in fields:
        log.error("A LoRA file was not foreseen:\n%s", fields["failed"])
        raise RefusedFileError(BROKE)
    return _lora(fields, json.loads(metadata))


async def _run(descriptor: int, max_bytes: int, family: str | None, timeout_s: float) -> bytes:
    """Returns what the child says."""
    arguments = [_MEMORY_BYTES, max(round(timeout_s / 2), 1), max_bytes]
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-B",
            "-m",
            "engine.lora.child",
            *map(str, arguments),
            *([] if family is None else [family]),
            stdin=descriptor,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            env={"PYTHONPATH": str(_ROOT), "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
    except OSError as error:
        log.error("No process to check LoRA files can be started: %r", error)
        raise RefusedFileError(NOT_NOW) from error
    is_late = False
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate()
    except TimeoutError:
        is_late = True
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
    if is_late or process.returncode == -signal.SIGXCPU:
        raise RefusedFileError(TOO_SLOW, seconds=timeout_s)
    if process.returncode != 0:
        words = errors.decode(errors="replace")[-4000:]
        log.warning("A LoRA file ended its check: exit code %s %s", process.returncode, words)
        raise RefusedFileError(BROKE)
    return output


def _lora(fields: dict[str, Any], metadata: dict[str, str]) -> CheckedLora:
    for name in ("ranks", "parts"):
        fields[name] = tuple(fields[name])
    return CheckedLora(**(fields | {"metadata": metadata}))
