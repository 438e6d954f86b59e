"""Numbered SQL scripts that bring a database up to date, all of them or none."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import aiosqlite

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"

_NAME = re.compile(r"(\d{4})_\w+\.sql")


def newest_version(folder: Path) -> int:
    """Returns the version of a database after all scripts in the folder."""
    return len(_scripts(folder))


async def migrate(connection: aiosqlite.Connection, folder: Path) -> None:
    """Runs the scripts that the database has not seen, in one transaction with `user_version`.

    Foreign keys are off while scripts run, as rebuilding a table needs it, and checked before the
    commit; the caller turns them on. When anything fails the database is as it was before.
    """
    scripts = _scripts(folder)
    await connection.execute_fetchall("PRAGMA foreign_keys = OFF")
    await connection.execute_fetchall("BEGIN IMMEDIATE")
    try:
        [row] = await connection.execute_fetchall("PRAGMA user_version")
        version = int(row[0])
        for number, script in enumerate(scripts[version:], start=version + 1):
            for statement in statements(script.read_text(encoding="utf-8")):
                await connection.execute_fetchall(statement)
                if not connection.in_transaction:
                    raise ValueError(f"{script.name} ends the transaction that it runs in")
            log.info("Database migrated to version %d (%s)", number, script.name)
        if len(scripts) > version:
            broken = list(await connection.execute_fetchall("PRAGMA foreign_key_check"))
            if broken:
                raise sqlite3.IntegrityError(
                    f"the migrations leave {len(broken)} rows whose reference is missing, "
                    f"the first in {broken[0][0]}"
                )
            await connection.execute_fetchall(f"PRAGMA user_version = {len(scripts)}")
        await connection.execute_fetchall("COMMIT")
    except BaseException:
        await connection.rollback()
        raise


def statements(script: str) -> Iterator[str]:
    """Yields the SQL statements of a script; `executescript` would commit before each script.

    Raises:
        ValueError: The last statement has no semicolon.
    """
    statement = ""
    for piece in re.split("(?<=;)", script):
        statement += piece
        if sqlite3.complete_statement(statement):
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
