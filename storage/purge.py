"""Removes old pictures that nobody starred, in small steps; the history of how they were made stays."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.audit import note
from storage.database import Database, Value
from storage.pictures import PictureFiles
from storage.references import drop_unused
from storage.rows import Clock, to_json, to_text, utc_now

log = logging.getLogger(__name__)

PURGED = "purged old pictures"

_JOBS_LOOKED_AT = 2000  # in one query: others must not wait long for the database
_AT_ONCE = 20  # jobs of one transaction

_JOBS = "FROM jobs JOIN generations ON generations.id = jobs.id"
_FILES = """
    JOIN generation_pictures ON generation_pictures.generation_id = generations.id
    JOIN pictures ON pictures.sha256 = generation_pictures.sha256
"""
# Whose owner was told where it is: what is still to be delivered stays.
_OLD = """
    WHERE jobs.number > ? AND jobs.number <= ? AND generations.created_at < ?
      AND generations.deleted_at IS NULL AND jobs.delivered_at IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM stars WHERE stars.number = jobs.number)
"""


@dataclass(frozen=True, slots=True)
class Purged:
    """How much goes, or went."""

    jobs: int = 0
    pictures: int = 0
    size_bytes: int = 0

    def __add__(self, more: Purged) -> Purged:
        """Returns both together."""
        return Purged(
            self.jobs + more.jobs,
            self.pictures + more.pictures,
            self.size_bytes + more.size_bytes,
        )


class Purge:
    """Finds and removes what is older than so many days."""

    def __init__(self, db: Database, pictures: PictureFiles, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._pictures = pictures
        self._clock = clock

    async def preview(self, days: int) -> Purged:
        """Returns how much would go now; files that several pictures share count each time."""
        found = Purged()
        async for window in self._windows(days):
            row = await self._db.row(
                "SELECT count(DISTINCT jobs.id), count(pictures.sha256),"
                f" coalesce(sum(pictures.bytes), 0) {_JOBS} {_FILES} {_OLD}",
                window,
            )
            if row is not None:
                found += Purged(*row)
        return found

    async def run(self, days: int, actor_id: int) -> Purged:
        """Removes them, and returns how much that was; what was done stays done at a kill."""
        gone = Purged()
        try:
            async for window in self._windows(days):
                rows = await self._db.rows(f"SELECT jobs.id AS id {_JOBS} {_OLD}", window)
                for first in range(0, len(rows), _AT_ONCE):
                    gone += await self._remove(
                        [row["id"] for row in rows[first : first + _AT_ONCE]]
                    )
        finally:
            detail = {"days": days, "pictures": gone.pictures, "bytes": gone.size_bytes}
            async with self._db.transaction() as tx:
                await note(tx, self._clock(), actor_id, PURGED, detail)
            log.info("Purged %d pictures older than %d days", gone.pictures, days)
        return gone

    async def _windows(self, days: int) -> AsyncIterator[tuple[Value, ...]]:
        """Yields the values of `_OLD`, for some jobs after the other."""
        before: datetime = self._clock() - timedelta(days=days)
        row = await self._db.row("SELECT max(number) AS newest FROM jobs")
        newest = 0 if row is None else row["newest"] or 0
        for number in range(0, newest, _JOBS_LOOKED_AT):
            yield number, number + _JOBS_LOOKED_AT, to_text(before)

    async def _remove(self, job_ids: list[str]) -> Purged:
        wanted = to_json(job_ids)
        async with self._db.transaction() as tx:
            # A star may have come since they were looked up.
            jobs = await tx.rows(
                "UPDATE generations SET deleted_at = ?"
                " WHERE id IN (SELECT value FROM json_each(?)) AND deleted_at IS NULL"
                " AND NOT EXISTS (SELECT 1 FROM stars JOIN jobs USING (number)"
                "                 WHERE jobs.id = generations.id) RETURNING id",
                (to_text(self._clock()), wanted),
            )
            wanted = to_json([row["id"] for row in jobs])
            pictures = await tx.rows(
                "SELECT sha256, pictures.bytes AS bytes FROM generation_pictures"
                " JOIN pictures USING (sha256)"
                " WHERE generation_id IN (SELECT value FROM json_each(?))",
                (wanted,),
            )
            await tx.rows(
                "UPDATE generation_pictures SET sha256 = NULL"
                " WHERE generation_id IN (SELECT value FROM json_each(?))",
                (wanted,),
            )
            await tx.rows(
                "UPDATE cases SET changes = changes + 1"
                " WHERE job_id IN (SELECT value FROM json_each(?))",
                (wanted,),
            )
            inputs = await tx.rows(
                "SELECT sha256 FROM job_inputs WHERE job_id IN (SELECT value FROM json_each(?))",
                (wanted,),
            )
        hashes = {str(row["sha256"]) for row in (*pictures, *inputs)}
        await drop_unused(self._db, self._pictures, sorted(hashes))
        return Purged(len(jobs), len(pictures), sum(row["bytes"] for row in pictures))
