"""A disk without room: for a picture's file, and for the database's own."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.types import JobState
from storage.database import Database
from tests.storage.samples import NO_LIMITS, HandClock, Store, a_result, a_submission
from tests.storage.wrecks import check_sound

ROOM_BYTES = 4 << 20  # for a file; what else this process writes is smaller


@contextmanager
def no_large_files() -> Iterator[None]:
    """The operating system refuses to write files beyond that size, as with a user's quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_picture_without_room_leaves_nothing_and_is_kept_once_there_is_some(
    store: Store,
) -> None:
    job, _ = await store.jobs.add(a_submission(), cost=1.0, limits=NO_LIMITS)
    await store.jobs.mark_running(job.id)
    large = os.urandom(2 * ROOM_BYTES)
    with no_large_files():
        for _ in range(2):
            with pytest.raises(OSError, match="File too large") as caught:
                await store.jobs.finish(job.id, a_result(job.id, b"small", large))
            assert store.jobs.is_passing(caught.value)  # so the queue tries again
            assert store.files() == set()
            assert (await store.jobs.get(job.id)).state == JobState.RUNNING
    ended = await store.jobs.finish(job.id, a_result(job.id, b"small", large))
    assert ended.state == JobState.RENDERED
    (_, sha256) = (await store.history.get(job.id)).pictures
    assert await store.jobs.image(sha256) == large


async def test_database_without_room_refuses_whole_jobs_and_goes_on_once_there_is_some(
    tmp_path: Path,
) -> None:
    async with Database.open(tmp_path) as db:
        store = Store(db, tmp_path, HandClock())
        [row] = await db.rows("PRAGMA page_count")
        await db.rows(f"PRAGMA max_page_count = {row[0] + 3}")
        added = []
        refused = None
        while refused is None:
            try:
                job, _ = await store.jobs.add(a_submission(), cost=1.0, limits=NO_LIMITS)
                added.append(job.id)
            except sqlite3.OperationalError as error:
                refused = error
        assert "full" in str(refused)
        assert store.jobs.is_passing(refused)
        assert [job.id for job in await store.jobs.unfinished()] == added
        assert len(await db.rows("SELECT * FROM charges")) == len(added)
        await db.rows("PRAGMA max_page_count = 1000000")
        for job_id in added:
            await store.jobs.end(job_id, JobState.CANCELLED)
        await store.jobs.add(a_submission(), cost=1.0, limits=NO_LIMITS)
    check_sound(tmp_path)
