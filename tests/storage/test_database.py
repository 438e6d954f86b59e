"""The connection: lock, migrations, transactions that are all or nothing, refusals at the start."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.errors import DatabaseDamagedError, DatabaseVersionError, DataDirectoryError, StartError
from engine.types import AdapterWeight, GenerationRequest
from storage.database import DATABASE_NAME, Database
from storage.facts import Facts
from storage.gallery import Gallery, Wanted
from storage.migrate import MIGRATIONS, newest_version, statements
from storage.rows import request_to_json
from storage.search import NO_STYLE
from tests.storage.samples import a_request

THEN = "2026-01-31T12:00:00.000000+00:00"
ROOT = Path(__file__).parent.parent.parent

FIRST = """-- People.
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;  -- one; semicolon
INSERT INTO people VALUES (1, 'a;b'), (2, '--');
CREATE TRIGGER no_empty BEFORE INSERT ON people WHEN new.name = '' BEGIN
    SELECT raise(ABORT, 'empty');
END;
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "0001_people.sql").write_text(FIRST)
    return folder


def dump(data_dir: Path) -> list[str]:
    """The whole content, read while no Easel runs."""
    connection = sqlite3.connect(data_dir / DATABASE_NAME)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        return [f"version {version}", *connection.iterdump()]
    finally:
        connection.close()


async def test_settings_of_the_connection(tmp_path: Path) -> None:
    async with Database.open(tmp_path) as db:
        values = {}
        for name in ("journal_mode", "synchronous", "foreign_keys", "locking_mode"):
            row = await db.row(f"PRAGMA {name}")
            assert row is not None
            values[name] = row[0]
    assert values == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "locking_mode": "exclusive",
    }


async def test_every_table_is_strict(tmp_path: Path) -> None:
    async with Database.open(tmp_path) as db:
        rows = await db.rows("PRAGMA table_list")
    ours = [
        row
        for row in rows
        if row["type"] not in ("virtual", "shadow") and not row["name"].startswith("sqlite_")
    ]
    assert len(ours) >= 7
    assert all(row["strict"] for row in ours)


async def test_facts_survive_a_restart(tmp_path: Path) -> None:
    async with Database.open(tmp_path) as db:
        facts = Facts(db)
        assert await facts.get("commands") is None
        await facts.set("commands", "1")
        await facts.set("commands", "2")
    async with Database.open(tmp_path) as db:
        assert await Facts(db).get("commands") == "2"


def test_script_is_split_into_its_statements() -> None:
    create, insert, trigger = statements(FIRST)
    assert create.endswith("STRICT;")
    assert insert.endswith("INSERT INTO people VALUES (1, 'a;b'), (2, '--');")
    assert trigger.startswith("CREATE TRIGGER")
    assert trigger.endswith("END;")
    with pytest.raises(ValueError, match="unfinished"):
        list(statements("SELECT 1;\nSELECT 2"))


async def add_as_then(
    db: Database, job_id: str, request: GenerationRequest, deleted_at: str | None = None
) -> None:
    """Writes a finished job as the code of the old scripts did, which is no more."""
    async with db.transaction() as tx:
        await tx.rows("INSERT OR IGNORE INTO people VALUES (1, 'Ann', '{}', ?)", (THEN,))
        await tx.rows(
            "INSERT INTO jobs (id, origin, owner_id, owner_name, channel_id, private, spoiler,"
            " locale, action, request, cost, state, created_at)"
            " VALUES (?1, ?1, 1, 'Ann', 1, 0, 0, 'en-US', 'imagine', ?2, 1, 'rendered', ?3)",
            (job_id, request_to_json(request), THEN),
        )
        await tx.rows(
            "INSERT INTO generations (id, owner_id, created_at, seconds, warnings, receipt)"
            " VALUES (?, 1, ?, 1, '[]', '{}')",
            (job_id, THEN),
        )
        await tx.rows("UPDATE generations SET deleted_at = ? WHERE id = ?", (deleted_at, job_id))


async def test_styles_of_pictures_from_before_the_index_are_found(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for script in sorted(MIGRATIONS.glob("*.sql"))[:10]:
        (old / script.name).write_text(script.read_text())
    neon = AdapterWeight("ab" * 32)
    async with Database.open(tmp_path, migrations=old) as db:
        await add_as_then(db, "1", a_request(prompt="a fox in neon", adapters=(neon,)))
        await add_as_then(db, "2", a_request(prompt="a plain fox"))
        gone = a_request(prompt="a deleted fox", adapters=(neon,))
        await add_as_then(db, "3", gone, deleted_at=THEN)
    async with Database.open(tmp_path) as db:
        gallery = Gallery(db)
        for style, prompt in ((neon.sha256, "a fox in neon"), (NO_STYLE, "a plain fox")):
            (one,) = await gallery.find(1, Wanted("fox", styles=(style,)), limit=9)
            assert one.request.prompt == prompt


async def test_migrations_apply_to_a_filled_older_database(tmp_path: Path, scripts: Path) -> None:
    async with Database.open(tmp_path, scripts):
        pass
    # Rebuilding a table that others refer to is what needs foreign keys to be off.
    (scripts / "0002_birthdays.sql").write_text(
        "CREATE TABLE pets (owner INTEGER REFERENCES people (id)) STRICT;"
        "INSERT INTO pets VALUES (2);"
        "CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born TEXT) STRICT;"
        "INSERT INTO new SELECT id, name, NULL FROM people;"
        "DROP TABLE people; ALTER TABLE new RENAME TO people;"
    )
    (scripts / "0003_more.sql").write_text("UPDATE people SET born = 'x' WHERE id = 1;")
    for _ in range(2):  # the second start has nothing to do
        async with Database.open(tmp_path, scripts) as db:
            rows = [tuple(row) for row in await db.rows("SELECT * FROM people ORDER BY id")]
            version = await db.row("PRAGMA user_version")
        assert rows == [(1, "a;b", "x"), (2, "--", None)]
        assert version is not None
        assert version[0] == 3


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("CREATE TABLE t (a) ; INSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
        ("DELETE FROM people; -- so\n commit; SELECT 1;", "in one transaction"),
        (
            "CREATE TABLE pets (owner INTEGER REFERENCES people (id)) STRICT;"
            "INSERT INTO pets VALUES (7);",
            "1 references lead nowhere, the first in pets",
        ),
    ],
    ids=["fails in the middle", "ends its transaction", "leaves a missing reference"],
)
async def test_failed_migration_leaves_the_database_as_it_was(
    tmp_path: Path, scripts: Path, script: str, reason: str
) -> None:
    async with Database.open(tmp_path, scripts):
        pass
    before = dump(tmp_path)
    (scripts / "0002_good.sql").write_text("INSERT INTO people VALUES (3, 'c');")
    (scripts / "0003_bad.sql").write_text(script)
    with pytest.raises(StartError, match=rf"0003_bad.sql: .*{reason}"):
        async with Database.open(tmp_path, scripts):
            pytest.fail("it opened")
    assert dump(tmp_path) == before


async def test_misnumbered_migration_is_refused(tmp_path: Path, scripts: Path) -> None:
    (scripts / "0003_gap.sql").write_text("SELECT 1;")
    with pytest.raises(ValueError, match="0003_gap"):
        newest_version(scripts)


def test_every_migration_says_why_in_its_first_line() -> None:
    scripts = sorted(MIGRATIONS.glob("*.sql"))
    assert scripts
    assert all(script.read_text().startswith("-- ") for script in scripts)


async def test_newer_database_is_refused_and_untouched(tmp_path: Path, scripts: Path) -> None:
    (scripts / "0002_later.sql").write_text("CREATE TABLE later (a TEXT) STRICT;")
    async with Database.open(tmp_path, scripts):
        pass
    content = (tmp_path / DATABASE_NAME).read_bytes()
    (scripts / "0002_later.sql").unlink()
    with pytest.raises(DatabaseVersionError, match=r"newer Easel \(database version 2"):
        async with Database.open(tmp_path, scripts):
            pytest.fail("it opened")
    assert (tmp_path / DATABASE_NAME).read_bytes() == content


@pytest.mark.parametrize("damage", ["no database", "overwritten pages", "cut"])
async def test_damaged_database_is_refused_and_untouched(tmp_path: Path, damage: str) -> None:
    async with Database.open(tmp_path) as db:
        for number in range(40):
            await Facts(db).set(f"key {number}", "value" * 300)
    path = tmp_path / DATABASE_NAME
    content = path.read_bytes()
    match damage:
        case "no database":
            content = b"This is a letter to my landlord. " * 500
        case "overwritten pages":
            content = content[: 4096 * 3] + b"\xa5" * (len(content) - 4096 * 3)
        case _:
            content = content[: len(content) // 2]
    path.write_bytes(content)
    with pytest.raises(DatabaseDamagedError, match="is damaged"):
        async with Database.open(tmp_path):
            pytest.fail("it opened")
    assert path.read_bytes() == content


async def test_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(DataDirectoryError, match="is a file"):
            async with Database.open(path):
                pytest.fail("it opened")


async def test_data_directory_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(DataDirectoryError, match="cannot be written"):
        async with Database.open(Path("/proc/easel")):
            pytest.fail("it opened")


async def test_database_open_in_another_program_is_refused(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None)
    try:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DataDirectoryError, match="open in another program"):
            async with Database.open(tmp_path, busy_timeout_s=0.05):
                pytest.fail("it opened")
    finally:
        other.close()


@asynccontextmanager
async def another_easel(data_dir: Path) -> AsyncIterator[int]:
    """A second process that has the database open until it is killed; yields its id."""
    code = (
        "import asyncio, pathlib, sys\n"
        "from storage.database import Database\n"
        "async def main():\n"
        "    async with Database.open(pathlib.Path(sys.argv[1])):\n"
        "        print('open', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(data_dir), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"open\n"
        yield process.pid
    finally:
        process.kill()
        await process.communicate()


async def test_second_easel_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    async with another_easel(tmp_path) as pid:
        with pytest.raises(DataDirectoryError) as caught:
            async with Database.open(tmp_path):
                pytest.fail("it opened")
        assert str(caught.value) == (
            f"The data directory {tmp_path} is in use by another Easel (process {pid}). "
            "Stop it, or set EASEL_DATA_DIR to another folder."
        )
        os.kill(pid, signal.SIGKILL)
    async with Database.open(tmp_path) as db:
        assert await db.rows("SELECT * FROM facts") == []


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path) as db:
        yield db


INSERT = "INSERT INTO facts (key, value) VALUES (?, 'x')"


async def keys(db: Database) -> list[str]:
    return [row["key"] for row in await db.rows("SELECT key FROM facts ORDER BY key")]


async def test_exception_rolls_back(db: Database) -> None:
    async def twice() -> None:
        async with db.transaction() as tx:
            await tx.rows(INSERT, ("a",))
            await tx.rows(INSERT, ("a",))

    with pytest.raises(sqlite3.IntegrityError):
        await twice()
    assert await keys(db) == []
    await Facts(db).set("b", "")
    assert await keys(db) == ["b"]


async def test_cancelled_transaction_rolls_back(db: Database) -> None:
    inserted = asyncio.Event()

    async def half() -> None:
        async with db.transaction() as tx:
            await tx.rows(INSERT, ("a",))
            inserted.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(half())
    await inserted.wait()
    reader = asyncio.create_task(keys(db))  # waits its turn, so it never sees the open transaction
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await reader == []


async def test_cancellation_at_any_moment_leaves_all_or_nothing(db: Database) -> None:
    """The transaction is cancelled after 0, 1, 2, ... turns of the loop, until one gets through."""

    async def both(number: int) -> None:
        async with db.transaction() as tx:
            await tx.rows(INSERT, (f"{number:04d} a",))
            await tx.rows(INSERT, (f"{number:04d} b",))

    turns = completed = 0
    while completed < 3 and turns < 5000:
        task = asyncio.create_task(both(turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            completed += 1
        task.cancel()
        await asyncio.wait({task})
        found = [key for key in await keys(db) if key.startswith(f"{turns:04d}")]
        assert len(found) == 2 or (found == [] and task.cancelled())
        turns += 1
    await Facts(db).set("after", "")
    assert "after" in await keys(db)


async def test_one_task_cannot_wait_for_itself(db: Database) -> None:
    async with db.transaction():
        with pytest.raises(RuntimeError, match="holds the database already"):
            await db.rows("SELECT 1")


async def test_open_that_is_cancelled_releases_everything(tmp_path: Path) -> None:
    for turns in range(0, 60, 3):
        task = asyncio.create_task(Database.open(tmp_path / "data").__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
            pytest.fail("it opened before it was cancelled")
    async with Database.open(tmp_path / "data") as db:
        assert await keys(db) == []
