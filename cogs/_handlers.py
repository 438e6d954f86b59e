"""The tasks in which people are answered: known, so that they can end before the bot does.

discord.py starts a task of its own for each command, button, form and message, and forgets it. When the
connection is closed for good, such a task would go on with a closed database.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)

_FINISH_S = 3.0  # what an answer may take; a stop has 10 s in all


class Handlers:
    """Those that run now."""

    def __init__(self) -> None:
        """Knows none yet."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def note_this(self) -> None:
        """Counts the task that runs from here to its end; more than once is the same."""
        task = asyncio.current_task()
        assert task is not None
        if task not in self._tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self, timeout_s: float = _FINISH_S) -> None:
        """Returns when none runs, or after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while tasks := self._others():
                    await asyncio.wait(tasks)
        except TimeoutError:
            log.warning("%d answers are not finished before the end", len(self._others()))

    async def cancel(self) -> None:
        """Ends those that still run; what they had begun to write is written whole or not at all."""
        while tasks := self._others():
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _others(self) -> set[asyncio.Task[Any]]:
        return self._tasks - {asyncio.current_task()}
