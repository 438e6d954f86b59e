"""A bot process whose starts and ends stand in the loopback's history, with what each end left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil

from cli.rehearsal import BotProcess
from playground import Playground
from tests.checker.processor import ProcessorWatch, main_waited_s


class WatchedBot(BotProcess):
    """`BotProcess`, with records of the kind `bot`: `did` is start, ready, kill or stop.

    `waited_s` is how long a start had to wait for a processor.
    """

    def __init__(self, discord: Playground, folder: Path, **settings: str) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.last_health: dict[str, Any] = {}  # of before the newest stop
        super().__init__(discord, folder, TMPDIR=str(self.temporary), **settings)
        ProcessorWatch(discord.recorder, lambda: self.pid if self.is_running() else 0)

    async def start(self) -> None:
        self._note("start")
        await super().start()
        self._note("ready", waited_s=round(main_waited_s(self.pid), 2))

    async def stop(self) -> int:
        """Stops the bot and notes how long that took, and which processes and files it left."""
        if not self.is_running():
            return await super().stop()
        self.last_health = self.health()
        children = self.children()
        began = time.monotonic()
        code = await super().stop()
        seconds = time.monotonic() - began
        left = [name for child in children if (name := _name_if_alive(child))]
        files = [str(path.relative_to(self.data_dir.parent)) for path in self._unfinished()]
        self._note("stop", code=code, seconds=round(seconds, 2), children=left, files=files)
        return code

    async def kill(self) -> None:
        self._note("kill")
        await super().kill()

    async def killed_itself(self, timeout_s: float = 30.0) -> int:
        """Waits for an end that nobody asked for, and returns the exit code."""
        code = await self.wait(timeout_s)
        self._note("kill")
        await self.discord.offline()
        return code

    def children(self) -> list[psutil.Process]:
        """The processes that the bot has started, and theirs."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def engine(self) -> psutil.Process | None:
        """The engine's process; None between two."""
        for child in self.children():
            if any(
                word == "engine.worker" or word.endswith("_engine.py") for word in _words(child)
            ):
                return child
        return None

    def _unfinished(self) -> list[Path]:
        temporary = [path for path in self.temporary.rglob("*") if path.is_file()]
        return [*temporary, *self.data_dir.rglob("*.tmp"), *self.data_dir.parent.glob("*.tmp")]

    def _note(self, did: str, **facts: Any) -> None:
        self.discord.recorder.add("bot", did=did, **facts)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _name_if_alive(process: psutil.Process) -> str:
    """The command of a process that still runs; a zombie is waited for by its new parent."""
    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return " ".join(process.cmdline()) or str(process.pid)
    except psutil.Error:
        pass
    return ""
