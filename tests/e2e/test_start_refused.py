"""A start with a data directory that cannot be used: one plain sentence with what to do, exit code 2."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from playground import Playground
from storage.database import DATABASE_NAME, Database
from tests.e2e.processes import run_bot


@pytest.fixture
async def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    async with Database.open(folder) as db, db.transaction() as tx:
        await tx.rows("INSERT INTO facts VALUES ('kept', ?)", ("x" * 20_000,))
    return folder


def overwrite(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xa5" * (len(content) - 8192))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace(path: Path) -> None:
    path.write_bytes(b"This is a letter to my landlord. " * 500)


def renew(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9999")


DAMAGED = "is damaged. Put a backup in its place, or move it away to start with an empty one."


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (overwrite, DAMAGED),
        (cut, DAMAGED),
        (replace, DAMAGED),
        (renew, "was written by a newer Easel (database version 9999"),
    ],
)
async def test_unusable_database_stops_the_start_and_stays_as_it_is(
    discord: Playground, data_dir: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path = data_dir / DATABASE_NAME
    spoil(path)
    content = path.read_bytes()
    code, output = await run_bot(**discord.env(), EASEL_DATA_DIR=str(data_dir))
    check_refused(code, output, words)
    assert path.read_bytes() == content


async def test_database_that_another_program_holds_stops_the_start(
    discord: Playground, data_dir: Path
) -> None:
    """Longer than Easel waits for it."""
    with closing(sqlite3.connect(data_dir / DATABASE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        code, output = await run_bot(**discord.env(), EASEL_DATA_DIR=str(data_dir))
    check_refused(code, output, "is open in another program. Close it and start again.")


async def test_missing_table_stops_the_start(discord: Playground, data_dir: Path) -> None:
    """SQLite finds such a file sound; the log says more."""
    with closing(sqlite3.connect(data_dir / DATABASE_NAME)) as db:
        db.execute("DROP TABLE jobs")
    code, output = await run_bot(**discord.env(), EASEL_DATA_DIR=str(data_dir))
    assert code == 2, output
    last = output.splitlines()[-1]
    assert last.startswith("easel: ")
    assert "cannot be read from the database" in last
    assert "a backup of the data directory may help" in last


async def test_full_disk_stops_the_first_start(discord: Playground, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    blocks = 8  # of 512 bytes: of no file may be more
    code, output = await run_bot(
        **discord.env(),
        EASEL_DATA_DIR=str(data_dir),
        limit=f"ulimit -f {blocks}",
    )
    check_refused(code, output, "Is the disk full?")
    async with Database.open(data_dir) as db:  # there is room now
        assert await db.rows("SELECT * FROM facts") == []


def check_refused(code: int, output: str, words: str) -> None:
    assert code == 2, output
    assert "Traceback" not in output
    last = output.splitlines()[-1]
    assert last.startswith("easel: ")
    assert words in last
