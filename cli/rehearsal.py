"""The real bot as a child process against a loopback Discord, for demo, benchmarks and tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from playground import Playground

_ROOT = Path(__file__).parent.parent
_START_TIMEOUT_S = 180  # two seconds where it has a processor to itself
_STOP_TIMEOUT_S = 10  # what the bot promises


class BotProcess:
    """`python bot.py` with one data directory, started, stopped and killed at will.

    Its environment is this process's without Discord's and Easel's own variables, so that an
    operator's settings never reach a rehearsal.
    """

    def __init__(self, discord: Playground, folder: Path, **settings: str) -> None:
        """`settings` are variables ("EASEL_MODEL"); data, log and health file lie in `folder`."""
        self.discord = discord
        self.program = [sys.executable, str(_ROOT / "bot.py")]
        self.data_dir = folder / "data"
        self.log_file = folder / "easel.log"
        self.health_file = folder / "health.json"
        self.environment = {
            "EASEL_MODEL": "pocket",
            "EASEL_DATA_DIR": str(self.data_dir),
            "EASEL_HEALTH_FILE": str(self.health_file),
            **settings,
        }
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> BotProcess:
        """Starts the bot."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops the bot when it still runs."""
        await self.stop()

    @property
    def pid(self) -> int:
        """Process id of the newest start."""
        return self._started().pid

    async def start(self) -> None:
        """Returns when the bot is on the gateway and has registered its commands."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("EASEL_", "DISCORD_"))
        }
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.program,
                env=clean | self.discord.env() | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the rehearsal, which then stops the bot
            )
        ready = asyncio.create_task(self._until_ready())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait(
                {ready, ended}, timeout=_START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not ready.done():
                raise RuntimeError(f"the bot did not start: {self.log()[-2000:]}")
            ready.result()
        finally:
            ready.cancel()
            ended.cancel()

    async def stop(self) -> int:
        """Sends SIGTERM and returns the exit code; -9 when it had to be killed after 10 s."""
        process = self._started()
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def kill(self) -> None:
        """Sends SIGKILL and returns when the process and its line to Discord are gone."""
        process = self._started()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await self.discord.offline()

    async def wait(self, timeout_s: float) -> int:
        """Returns the exit code when the bot ends by itself.

        Raises:
            TimeoutError: It still runs.
        """
        async with asyncio.timeout(timeout_s):
            return await self._started().wait()

    def is_running(self) -> bool:
        """True between `start` and the end of the process."""
        return self._process is not None and self._process.returncode is None

    def log(self) -> str:
        """Returns the log of all starts."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def health(self) -> dict[str, Any]:
        """Returns the newest content of the health file, {} before the first."""
        if not self.health_file.exists():
            return {}
        state: dict[str, Any] = json.loads(self.health_file.read_text())
        return state

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the bot was not started")
        return self._process

    async def _until_ready(self) -> None:
        await self.discord.ready(timeout_s=_START_TIMEOUT_S)
        await self.discord.synced("imagine", timeout_s=_START_TIMEOUT_S)
