"""Numbered SQL scripts that bring a database up to date, all of them or none."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import aiosqlite

from engine.errors import StartError

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

# A statement of transactions, after white space and comments.
_TRANSACTION = re.compile(
    r"(?:\s|--[^\n]*\n)*(?:BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b", re.IGNORECASE
)
_OF_THE_DISK = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_NAME = re.compile(r"(\d{4})_\w+\.sql")


def newest_version(folder: Path) -> int:
    """Returns the version of a database after all scripts in the folder."""
    return len(_scripts(folder))


async def migrate(connection: aiosqlite.Connection, folder: Path) -> None:
    """Runs the scripts that the database has not seen, in one transaction with `user_version`.

    Foreign keys are off while scripts run, as rebuilding a table needs it, and checked before the
    commit; the caller turns them on.

    Raises:
        StartError: A script failed; the database is as it was before.
        sqlite3.Error: The disk is full, or the database is used by others; the same.
    """
    scripts = _scripts(folder)
    await connection.execute_fetchall("PRAGMA foreign_keys = OFF")
    await connection.execute_fetchall("BEGIN IMMEDIATE")
    running = ""
    try:
        [row] = await connection.execute_fetchall("PRAGMA user_version")
        for script in scripts[int(row[0]) :]:
            running = script.name
            for statement in statements(script.read_text(encoding="utf-8")):
                await connection.execute_fetchall(statement)
            log.info("Database migrated by %s", running)
        if running:
            await _check_references(connection)
            await connection.execute_fetchall(f"PRAGMA user_version = {len(scripts)}")
        await connection.execute_fetchall("COMMIT")
    except (sqlite3.Error, ValueError) as error:
        await connection.rollback()
        is_of_the_disk = getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK
        if not running or is_of_the_disk:
            raise
        raise StartError(
            f"The database could not be updated ({running}: {error}). It is as it was before; "
            "the Easel that wrote it can still use it."
        ) from error
    except BaseException:
        await connection.rollback()
        raise


async def _check_references(connection: aiosqlite.Connection) -> None:
    broken = list(await connection.execute_fetchall("PRAGMA foreign_key_check"))
    if broken:
        raise sqlite3.IntegrityError(
            f"{len(broken)} references lead nowhere, the first in {broken[0][0]}"
        )


def statements(script: str) -> Iterator[str]:
    """Yields the SQL statements of a script; `executescript` would commit before each script.

    Raises:
        ValueError: The last statement has no semicolon, or one would end the transaction.
    """
    statement = ""
    for piece in re.split("(?<=;)", script):
        statement += piece
        if sqlite3.complete_statement(statement):
            if _TRANSACTION.match(statement):
                raise ValueError(f"a migration runs in one transaction, without {piece.strip()!r}")
            yield statement.strip()
            statement = ""
    rest = re.sub(r"--[^\n]*", "", statement).strip()
    if rest:
        raise ValueError(f"a migration ends in an unfinished statement: {rest[:60]!r}")


def _scripts(folder: Path) -> list[Path]:
    scripts = sorted(folder.glob("*.sql"))
    for number, script in enumerate(scripts, start=1):
        match = _NAME.fullmatch(script.name)
        if match is None or int(match[1]) != number:
            raise ValueError(f"migration {number} of {folder} is called {script.name}")
    return scripts
