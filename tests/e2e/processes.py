"""Runs of `bot.py` that end by themselves."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def run_bot(*arguments: str, limit: str = ":", **environment: str) -> tuple[int, str]:
    """Returns the exit code and what was printed; `limit` is a shell's command before it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("EASEL_", "DISCORD_"))}
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f'{limit}; exec "$@"', "sh"),
        sys.executable,
        str(ROOT / "bot.py"),
        *arguments,
        env=clean | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()
