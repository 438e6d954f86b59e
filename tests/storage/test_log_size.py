"""The write-ahead log stays small: after many writes, beside long reads, and after a backup."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from storage.database import DATABASE_NAME
from storage.facts import Facts
from tests.storage.samples import Store

PAGE_BYTES = 4096
FRAME_BYTES = PAGE_BYTES + 24
LOG_PAGES = 1000  # then it is emptied into the file
SLACK_PAGES = 100  # of the transaction that passes that mark
KEPT_BYTES = 8 * 2**20  # of a log that had to grow
VALUE = "x" * 3 * PAGE_BYTES
LONG_READ = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000)"
    " SELECT count(*) FROM n, (SELECT count(*) FROM facts) LIMIT 1"
)


def log_bytes(store: Store) -> int:
    return (store.folder / f"{DATABASE_NAME}-wal").stat().st_size


async def write(store: Store, times: int) -> int:
    """Writes about four pages each time; returns the largest size of the log."""
    largest = 0
    for number in range(times):
        await Facts(store.db).set(f"{number % 50}", f"{number} {VALUE}")
        largest = max(largest, log_bytes(store))
    return largest


async def test_log_is_bounded_beside_long_reads(store: Store) -> None:
    is_writing = True
    reads = 0

    async def read() -> None:
        nonlocal reads
        while is_writing and reads < 100:
            await store.db.rows(LONG_READ)
            reads += 1

    reading = asyncio.create_task(read())
    largest = await write(store, 1200)
    is_writing = False
    await reading
    assert reads > 10
    assert largest > LOG_PAGES * PAGE_BYTES / 2  # it was put to the test
    assert largest <= (LOG_PAGES + SLACK_PAGES) * FRAME_BYTES


async def test_no_reader_of_another_program_can_hold_the_log(store: Store, tmp_path: Path) -> None:
    await write(store, 10)
    code = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=0)\n"
        "db.execute('BEGIN'); db.execute('SELECT * FROM facts').fetchone()"
    )
    command = (sys.executable, "-c", code, str(tmp_path / DATABASE_NAME))
    tried = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert "database is locked" in tried.stderr


async def test_log_that_grew_during_a_backup_gives_its_room_back(store: Store) -> None:
    async with store.db.still():
        grown = await write(store, 1400)
        assert grown > KEPT_BYTES
    assert await write(store, 2) >= KEPT_BYTES  # emptied now, and reused by the next write
    assert log_bytes(store) <= KEPT_BYTES
    assert await write(store, 400) <= KEPT_BYTES
    [row] = await store.db.rows("PRAGMA quick_check")
    assert row[0] == "ok"
