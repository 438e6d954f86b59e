"""Watches the event loop's lag and writes the bot's state to a small JSON file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.queue import JobQueue
from engine.types import EngineReady

_TICK_S = 0.05
_WINDOW = 1200  # ticks: one minute
log = logging.getLogger("easel.health")


class Health:
    """Measures how late the loop wakes a sleeping task, which every answer is late by as well."""

    def __init__(
        self,
        queue: JobQueue,
        path: Path | None,
        *,
        is_connected: Callable[[], bool],
        interval_s: float = 2.0,
    ) -> None:
        """`path` is rewritten each `interval_s`; None only measures."""
        self._queue = queue
        self._path = path
        self._interval_s = interval_s
        self._lags_s: deque[float] = deque(maxlen=_WINDOW)
        self._worst_s = 0.0
        self._is_connected = is_connected
        self._is_broken = False  # the last write failed

    def state(self) -> dict[str, Any]:
        """Returns the state as JSON-able facts; lags are of the last minute."""
        lags = sorted(self._lags_s) or [0.0]
        engine = self._queue.engine_state
        return {
            "pid": os.getpid(),
            "time": time.time(),
            "connected": self._is_connected(),
            "engine": type(engine).__name__.removeprefix("Engine").lower(),
            "model": engine.info.model if isinstance(engine, EngineReady) else None,
            "waiting": len(self._queue.waiting()),
            "loop_lag_p99_ms": round(lags[int(len(lags) * 0.99)] * 1000, 2),
            "loop_lag_max_ms": round(lags[-1] * 1000, 2),
            "loop_lag_max_ever_ms": round(self._worst_s * 1000, 2),
        }

    async def run(self) -> None:
        """Measures and writes until cancelled; the file is removed at the end."""
        loop = asyncio.get_running_loop()
        written = 0.0
        try:
            while True:
                due = loop.time() + _TICK_S
                await asyncio.sleep(_TICK_S)
                lag = max(loop.time() - due, 0.0)
                self._lags_s.append(lag)
                self._worst_s = max(self._worst_s, lag)
                if self._path is not None and loop.time() - written >= self._interval_s:
                    written = loop.time()
                    await self._write(self._path)
        finally:
            if self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.unlink()

    async def _write(self, path: Path) -> None:
        """Writes the file. Trouble with it is told once: the bot goes on without."""
        writing = asyncio.create_task(asyncio.to_thread(_replace, path, json.dumps(self.state())))
        try:
            await asyncio.shield(writing)
            self._is_broken = False
        except OSError as error:
            if not self._is_broken:
                log.warning("The health file %s cannot be written: %s", path, error)
            self._is_broken = True
        finally:
            await asyncio.wait({writing})  # or the thread makes the file again after its removal


def _replace(path: Path, text: str) -> None:
    """Replaces the file at once, so that a reader never sees half of it."""
    temporary = path.parent / f"{path.name}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
