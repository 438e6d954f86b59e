"""kill -9 at each statement of a migration, at each write of an erasure and of a purge."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from storage.database import DATABASE_NAME, Database
from storage.migrate import MIGRATIONS, newest_version
from storage.references import collect_garbage
from storage.rows import request_to_json
from tests.storage.kills import Step, Work, erase, is_killed, purge, start
from tests.storage.samples import HandClock, Store, a_request, make
from tests.storage.wrecks import SECRET, check_sound, traces

THEN = "2026-01-31T12:00:00.000000+00:00"
MOST_STEPS = 5000
QUICK_STRIDE = 23  # a prime: not always the same statement of a loop

strides = pytest.mark.parametrize(
    "stride",
    [
        pytest.param(QUICK_STRIDE, id="some"),
        pytest.param(1, id="each", marks=pytest.mark.faults),
    ],
)


async def wrecks(
    work: Work, filled: Path, step: Step, stride: int, folder: Path
) -> AsyncIterator[Path]:
    """Yields a copy of `filled` for each place where the work was killed."""
    for number in range(1, MOST_STEPS, stride):
        wreck = folder / f"{number}"
        shutil.copytree(filled, wreck)
        if not await is_killed(work, wreck, step, number):
            assert number > 1
            return
        yield wreck
        shutil.rmtree(wreck)
    pytest.fail("it never ends")


def content(folder: Path) -> list[str]:
    """The whole database as a start would find it; a copy, so that it stays as it is."""
    looked_at = folder / "looked at"
    looked_at.mkdir()
    for path in folder.glob(f"{DATABASE_NAME}*"):
        shutil.copy(path, looked_at)
    with closing(sqlite3.connect(looked_at / DATABASE_NAME)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        found = [f"version {version}", *db.iterdump()]
    shutil.rmtree(looked_at)
    return found


async def old_database(folder: Path, version: int) -> None:
    """A database with some pictures, as the first scripts made it."""
    scripts = folder / "scripts"
    scripts.mkdir(parents=True)
    for script in sorted(MIGRATIONS.glob("*.sql"))[:version]:
        shutil.copy(script, scripts)
    async with Database.open(folder, scripts) as db, db.transaction() as tx:
        await tx.rows("INSERT INTO people VALUES (1, 'Ann', '{}', ?)", (THEN,))
        for number in range(5):
            request = request_to_json(a_request(prompt=f"fox {number}"))
            await tx.rows(
                "INSERT INTO jobs (id, origin, owner_id, owner_name, channel_id, private, spoiler,"
                " locale, action, request, cost, state, created_at)"
                " VALUES (?1, ?1, 1, 'Ann', 1, 0, 0, 'en-US', 'imagine', ?2, 1, 'rendered', ?3)",
                (f"{number}", request, THEN),
            )
            await tx.rows(
                "INSERT INTO generations (id, owner_id, created_at, seconds, warnings, receipt)"
                " VALUES (?, 1, ?, 1, '[]', '{}')",
                (f"{number}", THEN),
            )
    shutil.rmtree(scripts)


@strides
@pytest.mark.parametrize(("version", "step"), [(1, "statement"), (10, "statement"), (1, "write")])
async def test_killed_migration_left_the_old_database_or_the_new_one(
    tmp_path: Path, version: int, step: Step, stride: int
) -> None:
    filled = tmp_path / "filled"
    await old_database(filled, version)
    before, kept = content(filled), 0
    newest = newest_version(MIGRATIONS)
    async for wreck in wrecks(start, filled, step, stride, tmp_path):
        found = content(wreck)
        assert found == before or found[0] == f"version {newest}"
        kept += found == before
        async with Database.open(wreck) as db:
            history = Store(db, wreck, HandClock()).history
            prompts = [one.request.prompt for one in await history.recent(1, limit=9)]
        assert sorted(prompts) == [f"fox {number}" for number in range(5)]
        assert content(wreck)[0] == f"version {newest}"
    assert kept


@pytest.fixture
async def filled(tmp_path: Path) -> Path:
    """Person 1 and person 2 have made some pictures."""
    folder = tmp_path / "filled"
    async with Database.open(folder) as db:
        store = Store(db, folder, HandClock())
        for number in range(20):
            secret = f"{number} {SECRET} "
            await make(store, secret.encode(), owner_id=1, prompt=secret * 9)
            picture = await make(store, f"{number}".encode(), owner_id=2)
            await store.jobs.mark_delivered(picture.id, 100 + number)
    return folder


@strides
@pytest.mark.parametrize("step", ["statement", "write"])
async def test_killed_erasure_is_finished_by_the_next_start(
    filled: Path, tmp_path: Path, step: Step, stride: int
) -> None:
    assert traces(filled)
    erased = 0
    async for wreck in wrecks(erase, filled, step, stride, tmp_path):
        async with Database.open(wreck) as db:
            store = Store(db, wreck, HandClock())
            await collect_garbage(db, store.pictures)
            is_begun = await store.privacy.pending() or not await store.history.recent(1)
            await store.privacy.finish_interrupted()
            assert await store.privacy.pending() == []
            assert len(await store.history.recent(2, limit=100)) == 20
            if is_begun:
                erased += 1
                assert traces(wreck) == []
            else:
                assert len(await store.history.recent(1, limit=100)) == 20
        check_sound(wreck)
    assert erased


@strides
async def test_killed_purge_left_whole_rows_and_the_next_one_does_the_rest(
    filled: Path, tmp_path: Path, stride: int
) -> None:
    async for wreck in wrecks(purge, filled, "write", stride, tmp_path):
        async with Database.open(wreck) as db:
            await collect_garbage(db, Store(db, wreck, HandClock()).pictures)
        check_sound(wreck)
        await purge(wreck)
        check_sound(wreck)
        async with Database.open(wreck) as db:
            rows = await db.rows(
                "SELECT owner_id, count(DISTINCT id) AS made, count(sha256) AS left_over"
                " FROM generations JOIN generation_pictures ON generation_id = id GROUP BY owner_id"
            )
        # What was not delivered yet stays.
        assert [tuple(row) for row in rows] == [(1, 20, 20), (2, 20, 0)]
