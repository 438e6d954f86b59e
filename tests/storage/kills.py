"""Work on a data directory in a process that is killed with SIGKILL at a numbered step of SQLite's.

Each runs in a fork of a process that has loaded everything before, since hundreds are wanted.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal

import aiosqlite

from storage.database import Database
from storage.purge import Purge
from storage.references import collect_garbage
from tests.storage.failing_writes import sqlite_writes
from tests.storage.samples import HandClock, Store

Step = Literal["statement", "write"]
Work = Callable[[Path], Coroutine[Any, Any, None]]

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([__name__])


async def is_killed(work: Work, folder: Path, step: Step, number: int) -> bool:
    """Returns True when it got to the step and died there, False when it was done before."""
    process = _server.Process(target=_die, args=(work, folder, step, number))
    await asyncio.to_thread(process.start)
    await asyncio.to_thread(process.join)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _die(work: Work, folder: Path, step: Step, number: int) -> None:
    if step == "write":
        with sqlite_writes() as writes:
            writes.kill_at(number)
            asyncio.run(work(folder))
        return
    run = aiosqlite.Connection.execute_fetchall
    calls = itertools.count(1)

    async def counted(self: aiosqlite.Connection, *args: Any) -> Any:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return await run(self, *args)

    aiosqlite.Connection.execute_fetchall = counted  # type: ignore[method-assign,assignment]
    asyncio.run(work(folder))


async def start(folder: Path) -> None:
    """What a start does: bring the database up to date."""
    async with Database.open(folder):
        pass


async def erase(folder: Path) -> None:
    """Erases person 1, whom earlier runs know."""
    async with Database.open(folder) as db:
        store = Store(db, folder, HandClock())
        await store.privacy.begin_erasure(1)
        await store.privacy.erase(1)


async def purge(folder: Path) -> None:
    """Removes pictures of more than a day ago, on the third day."""
    clock = HandClock()
    clock.turn(3 * 86_400)
    async with Database.open(folder) as db:
        store = Store(db, folder, clock)
        await collect_garbage(db, store.pictures)
        await Purge(db, store.pictures, clock=clock).run(1, 9)
