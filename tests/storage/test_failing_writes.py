"""Every write of a short life of the database fails, one after the other, once or from then on.

Afterwards the disk is well again and Easel starts anew: what was said to be done is there, whole, and
nothing else remains. In between the running one goes on as soon as it can write.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from engine.errors import DataDirectoryError, GenerationError, StartError
from engine.types import Job, JobState
from storage.backups import Backups
from storage.database import DATABASE_NAME, Database
from storage.references import collect_garbage
from tests.storage.failing_writes import Writes, numbers, sqlite_writes
from tests.storage.samples import NO_LIMITS, HandClock, Store, a_result, a_submission, make
from tests.storage.wrecks import SECRET, check_sound, traces

T = TypeVar("T")

ERASED_PERSON, KEPT_PERSON = 1, 2
QUICK = 8  # failures of a kind in the quick run

KINDS = [
    pytest.param(False, errno.EIO, id="one write fails"),
    pytest.param(False, errno.ENOSPC, id="one write finds no room"),
    pytest.param(True, errno.ENOSPC, id="the disk stays full"),
]


@pytest.fixture
def writes() -> Iterator[Writes]:
    with sqlite_writes() as writes:
        yield writes


@pytest.fixture
async def filled(tmp_path: Path) -> Path:
    """A data directory with what earlier runs made; tests work on copies of it."""
    folder = tmp_path / "filled"
    async with Database.open(folder) as db:
        store = Store(db, folder, HandClock())
        for number in range(3):
            content = f"{number} {SECRET}".encode()
            await make(store, content, owner_id=ERASED_PERSON, prompt=f"{SECRET} {number}")
            await make(store, f"{number}".encode(), owner_id=KEPT_PERSON)
    return folder


class Life:
    """What a bot does with its database, and what it could tell people of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.errors: list[BaseException] = []
        self.added: list[Job] = []
        self.ends: dict[str, JobState] = {}
        self.is_erased = self.has_backup = False

    async def run(self) -> None:
        try:
            async with Database.open(self.folder) as db:
                await self._work(Store(db, self.folder, HandClock()))
        except StartError as error:
            self.errors.append(error)

    async def _work(self, store: Store) -> None:
        await self.tried(collect_garbage(store.db, store.pictures))
        for number in range(3):
            submission = a_submission(KEPT_PERSON, origin=f"life:{number}")
            adding = store.jobs.add(submission, cost=1.0, limits=NO_LIMITS)
            if (added := await self.tried(adding)) is None:
                continue
            job, _ = added
            self.added.append(job)
            await self.tried(store.jobs.mark_running(job.id))
            result = a_result(job.id, b"life %d" % number)
            match number:
                case 0:
                    ending = self.tried(store.jobs.finish(job.id, result))
                case 1:
                    error = GenerationError("no")
                    ending = self.tried(store.jobs.end(job.id, JobState.FAILED, error))
                case _:
                    continue
            if (ended := await ending) is not None:
                self.ends[job.id] = ended.state
                await self.tried(store.jobs.mark_delivered(job.id, 77))
        backups = Backups(store.db, self.folder, keep=1)
        self.has_backup = await self.tried(backups.make(9)) is not None
        if await self.tried(store.privacy.begin_erasure(ERASED_PERSON)) is not None:
            await self.tried(store.privacy.erase(ERASED_PERSON))
            self.is_erased = True

    async def tried(self, work: Awaitable[T]) -> T | None:
        """Returns what it gives; None when the disk was in its way."""
        try:
            return await work
        except (sqlite3.OperationalError, OSError, DataDirectoryError) as error:
            self.errors.append(error)
            return None


async def check_next_start(life: Life) -> None:
    """The disk is well again: the next start finds everything, and finishes what was begun."""
    async with Database.open(life.folder) as db:
        store = Store(db, life.folder, HandClock())
        await collect_garbage(db, store.pictures)
        await store.privacy.finish_interrupted()
        jobs = {job.id: job for job in await store.jobs.get_many([j.id for j in life.added])}
        assert jobs.keys() == {job.id for job in life.added}
        for job_id, state in life.ends.items():
            assert jobs[job_id].state == state
        for job in jobs.values():
            if job.state == JobState.RENDERED:
                (sha256,) = (await store.history.get(job.id)).pictures
                await store.jobs.image(sha256)
            again, is_new = await store.jobs.add(
                a_submission(KEPT_PERSON, origin=job.submission.origin), cost=1.0, limits=NO_LIMITS
            )
            assert (again.id, is_new) == (job.id, False)
        assert len(await store.history.recent(KEPT_PERSON, limit=9)) >= 3
        if life.is_erased:
            assert await store.privacy.pending() == []
            # A backup has what it had when it was made.
            assert [name for name in traces(life.folder) if "backups" not in name] == []
        if life.has_backup:
            assert len(list(life.folder.glob("backups/*.db"))) == 1
        assert list(life.folder.glob("backups/unfinished*")) == [] or not life.has_backup
    check_sound(life.folder)


@pytest.fixture
async def total(writes: Writes, filled: Path, tmp_path: Path) -> AsyncIterator[int]:
    """How many writes a life without failures has."""
    life = Life(tmp_path / "whole")
    shutil.copytree(filled, life.folder)
    writes.fail_at(None)
    await life.run()
    assert life.errors == []
    assert set(life.ends.values()) == {JobState.RENDERED, JobState.FAILED}
    return writes.done


async def fail_each(
    most: int, total: int, writes: Writes, filled: Path, folder: Path, lasting: bool, code: int
) -> None:
    met = 0
    for number in numbers(total, most):
        life = Life(folder / f"{number}")
        shutil.copytree(filled, life.folder)
        writes.fail_at(number, lasting=lasting, code=code)
        await life.run()
        met += writes.failed > 0
        writes.fail_at(None)
        if not lasting:
            assert len(life.errors) <= 1, f"write {number}: {life.errors}"
        await check_next_start(life)
        shutil.rmtree(life.folder)
    assert met > most * 0.7  # the last few may be those of another order of things


@pytest.mark.parametrize(("lasting", "code"), KINDS)
async def test_some_writes_fail(
    total: int, writes: Writes, filled: Path, tmp_path: Path, lasting: bool, code: int
) -> None:
    await fail_each(QUICK, total, writes, filled, tmp_path, lasting, code)


@pytest.mark.faults
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
async def test_each_write_fails(
    total: int, writes: Writes, filled: Path, tmp_path: Path, lasting: bool
) -> None:
    await fail_each(total, total, writes, filled, tmp_path, lasting, errno.ENOSPC)


async def test_failures_are_real(writes: Writes, filled: Path) -> None:
    """The tests of this file would see a failure that is not passed on."""
    async with Database.open(filled) as db:
        store = Store(db, filled, HandClock())
        writes.fail_at(1, lasting=True, code=errno.ENOSPC)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await store.jobs.add(a_submission(), cost=1.0, limits=NO_LIMITS)
        writes.fail_at(None)
        await store.jobs.add(a_submission(), cost=1.0, limits=NO_LIMITS)
    connection = sqlite3.connect(filled / DATABASE_NAME)
    try:
        assert connection.execute(
            "SELECT count(*) FROM jobs WHERE state = 'queued'"
        ).fetchone() == (1,)
    finally:
        connection.close()
