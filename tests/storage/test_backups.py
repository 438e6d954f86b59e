"""Backups: sound and complete while everybody goes on, the newest are kept, the disk is not filled."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import DataDirectoryError, NotAllowedError
from storage.audit import Audit
from storage.backups import MADE, Backup, Backups
from storage.database import DATABASE_NAME, Database
from tests.storage.samples import HandClock, Store, make

ACTOR = 9


@pytest.fixture
def backups(store: Store, clock: HandClock) -> Backups:
    return Backups(store.db, store.folder, keep=3, clock=clock)


async def restored(backup: Backup, folder: Path) -> None:
    """Does what docs/operating.md says."""

    def copy() -> None:
        folder.mkdir()
        shutil.copy(backup.file, folder / DATABASE_NAME)

    await asyncio.to_thread(copy)


def test_folders_with_odd_names(tmp_path: Path) -> None:
    async def work() -> Backup:
        async with Database.open(tmp_path / "a #?% b") as db:
            return await Backups(db, tmp_path / "a #?% b", keep=1).make(ACTOR)

    assert asyncio.run(work()).file.is_file()


async def test_it_is_whole_though_everybody_goes_on(
    store: Store, backups: Backups, tmp_path: Path
) -> None:
    before = [await make(store, prompt=f"before {n}") for n in range(30)]
    writing = True
    during = 0

    async def write() -> None:
        nonlocal during
        while writing:
            await make(store, prompt="meanwhile")
            during += 1

    task = asyncio.create_task(write())
    try:
        backup = await backups.make(ACTOR)
    finally:
        writing = False
        await task
    assert during > 3  # it took others' turns for moments only
    assert backup.pictures >= len(before)
    await restored(backup, tmp_path / "again")
    async with Database.open(tmp_path / "again") as db:
        again = Store(db, tmp_path, HandClock())
        found = {one.request.prompt for one in await again.history.recent(1, 10_000)}
        assert {one.request.prompt for one in before} <= found
        assert await db.rows("PRAGMA foreign_key_check") == []
        [row] = await db.rows("SELECT group_concat(integrity_check) FROM pragma_integrity_check")
        assert row[0] == "ok"
    names = backup.file.with_suffix(".txt").read_text().splitlines()
    assert len(names) == backup.pictures
    for line in names[:5]:
        name, size = line.split()
        assert (store.folder / "pictures" / name).stat().st_size == int(size)


async def test_the_database_stays_locked_and_its_log_is_emptied_again(
    store: Store, backups: Backups
) -> None:
    await backups.make(ACTOR)
    code = (
        "import sqlite3, sys\n"
        "sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT count(*) FROM jobs')"
    )
    command = (sys.executable, "-c", code, str(store.folder / DATABASE_NAME))
    tried = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert "database is locked" in tried.stderr
    [row] = await store.db.rows("PRAGMA wal_autocheckpoint")
    assert row[0] == 1000


async def test_what_others_scrub_waits_until_the_copy_is_there(store: Store) -> None:
    await make(store)
    async with store.db.still():
        before = (store.folder / DATABASE_NAME).read_bytes()
        scrubbing = asyncio.create_task(store.db.scrub(vacuum=True))
        for _ in range(20):
            await make(store)
        assert (store.folder / DATABASE_NAME).read_bytes() == before
        assert not scrubbing.done()
    await scrubbing


async def test_the_newest_are_kept_and_acts_are_noted(
    store: Store, backups: Backups, clock: HandClock
) -> None:
    made_ones = []
    for _ in range(5):
        clock.turn(60)
        made_ones.append(await backups.make(ACTOR))
    (store.folder / "backups" / "easel-mine.db").touch()
    kept = sorted(path.name for path in (store.folder / "backups").iterdir())
    expected = [f.name for one in made_ones[2:] for f in (one.file, one.file.with_suffix(".txt"))]
    assert kept == sorted([*expected, "easel-mine.db"])
    newest = await backups.newest()
    assert newest is not None
    assert newest.file == made_ones[-1].file
    entries = await Audit(store.db).newest()
    assert [(e.actor_id, e.act) for e in entries] == [(ACTOR, MADE)] * 5
    assert entries[0].detail["file"] == newest.file.name


async def test_it_is_refused_when_the_disk_lacks_room(
    store: Store, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(store.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(NotAllowedError, match="the disk has 1"):
        await backups.make(ACTOR)
    assert list((store.folder / "backups").iterdir()) == []


async def test_only_one_at_a_time(backups: Backups) -> None:
    first = asyncio.create_task(backups.make(ACTOR))
    await asyncio.sleep(0)
    with pytest.raises(NotAllowedError, match="already"):
        await backups.make(ACTOR)
    await first


async def test_a_damaged_copy_is_no_backup(
    store: Store, backups: Backups, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        await make(store)
    async with store.db.still():
        with (store.folder / DATABASE_NAME).open("r+b") as file:
            file.seek(4096 * 3)
            file.write(b"\xff" * 4096 * 4)
    with pytest.raises(DataDirectoryError):
        await backups.make(ACTOR)
    assert "could not be made" in caplog.text
    assert list((store.folder / "backups").iterdir()) == []


async def test_a_stop_in_the_middle_leaves_nothing(store: Store, backups: Backups) -> None:
    making = asyncio.create_task(backups.make(ACTOR))
    while not list(store.folder.glob("backups/unfinished*")):  # noqa: ASYNC110  # of another process
        await asyncio.sleep(0.001)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert list((store.folder / "backups").iterdir()) == []
    assert (await backups.make(ACTOR)).file.exists()


def test_a_backup_is_an_ordinary_database(tmp_path: Path) -> None:
    async def work() -> Backup:
        async with Database.open(tmp_path) as db:
            return await Backups(db, tmp_path, keep=1).make(ACTOR)

    backup = asyncio.run(work())
    with sqlite3.connect(backup.file) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
    assert version > 0
    connection.close()
    assert backup.file.stat().st_mode & 0o077 == 0
