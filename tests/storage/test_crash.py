"""kill -9 at arbitrary moments: what was acknowledged is there, whole, and nothing else remains."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections import defaultdict
from pathlib import Path

from engine.types import JobState
from storage.database import DATABASE_NAME, Database
from storage.references import collect_garbage
from storage.rows import utc_now
from tests.storage.samples import NO_LIMITS, Store

ROOT = Path(__file__).parent.parent.parent
KILLS = 5


async def run_and_kill(data_dir: Path, run: str, after: int, said: dict[str, set[str]]) -> None:
    """Kills the child when it has said `after` lines; adds all that it said before its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.storage.crash_child", str(data_dir), run),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            lines = [await process.stdout.readline() for _ in range(after)]
    finally:
        process.kill()
    rest, _ = await process.communicate()
    assert all(lines)
    assert process.returncode == -9
    for line in [*lines, *rest.splitlines()]:
        what, job_id = line.decode().split()
        said[what].add(job_id)


async def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    chance = random.Random(5)
    said: dict[str, set[str]] = defaultdict(set)
    for kill in range(KILLS):
        await run_and_kill(tmp_path, f"run {kill}", chance.randint(1, 60), said)
        async with Database.open(tmp_path) as db:
            store = Store(db, tmp_path, utc_now)
            await collect_garbage(db, store.pictures)
            jobs = {job.id: job for job in await store.jobs.get_many(said["added"])}
            assert jobs.keys() == said["added"]
            assert all(jobs[id_].state == JobState.FAILED for id_ in said["failed"])
            for id_ in said["rendered"]:
                generation = await store.history.get(id_)
                assert len(generation.pictures) == 2 or generation.deleted_at is not None
                for sha in generation.pictures:
                    await store.jobs.image(sha)  # checks the content against its name
            for id_ in said["deleted"]:
                assert (await store.history.get(id_)).deleted_at is not None

            rows = await db.rows("SELECT sha256 FROM pictures")
            assert {row["sha256"] for row in rows} == store.files()
            used = sum(
                [(await store.ledger.usage(owner, NO_LIMITS)).used_today for owner in range(3)]
            )
            rows = await db.rows("SELECT state, count(*) AS jobs FROM jobs GROUP BY state")
            charged = {row["state"]: row["jobs"] for row in rows if row["state"] != "failed"}
            assert used == sum(charged.values())
            queued = await store.jobs.unfinished()
            assert len(queued) == charged.get("queued", 0) + charged.get("running", 0)
    assert said["rendered"]
    assert said["deleted"]
    connection = sqlite3.connect(tmp_path / DATABASE_NAME)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()
