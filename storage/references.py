"""Who uses a picture file: shared content goes only when nobody does, and nothing is left behind."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable

from storage.database import Database, Transaction
from storage.pictures import PictureFiles

log = logging.getLogger(__name__)

# A picture is used by a generation that shows it and by a waiting job that reads it. An
# upload exists for nothing else, so it also stays for the generations that were made from it.
_UNUSED = """
    NOT EXISTS (SELECT 1 FROM generation_pictures WHERE sha256 = pictures.sha256)
    AND NOT EXISTS (
        SELECT 1 FROM job_inputs JOIN jobs ON jobs.id = job_inputs.job_id
        LEFT JOIN generations ON generations.id = jobs.id
        WHERE job_inputs.sha256 = pictures.sha256
          AND (jobs.state IN ('queued', 'running')
               OR pictures.is_upload AND jobs.state IN ('rendered', 'failed')
                  AND generations.deleted_at IS NULL))
"""


async def add_picture(
    tx: Transaction,
    sha256: str,
    size_bytes: int,
    now: str,
    *,
    width: int | None = None,
    height: int | None = None,
    is_upload: bool = False,
) -> None:
    """Gives the file its row, unless it has one."""
    await tx.rows(
        "INSERT INTO pictures (sha256, bytes, width, height, is_upload, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (sha256) DO NOTHING",
        (sha256, size_bytes, width, height, is_upload, now),
    )


async def drop_unused(
    db: Database, files: PictureFiles, hashes: Iterable[str], *, with_uploads: bool = True
) -> None:
    """Removes those of the pictures, rows and files, that nobody uses or is about to use.

    Rows go first: a kill in between leaves a file without a row, which `collect_garbage` finds.
    """
    async with files.removable(hashes) as removable:
        for sha256 in removable:
            async with db.transaction() as tx:
                await tx.rows(
                    f"DELETE FROM pictures WHERE sha256 = ? AND (? OR NOT is_upload) AND {_UNUSED}",
                    (sha256, with_uploads),
                )
                row = await tx.row("SELECT 1 FROM pictures WHERE sha256 = ?", (sha256,))
            if row is None:
                await files.delete(sha256)


async def collect_garbage(db: Database, files: PictureFiles) -> int:
    """Removes what a killed process left behind, and returns how many files that were.

    To be called after opening, before anything else uses the folder: it takes a picture that was
    put but has no job yet for left behind. Rows whose file is missing are logged. What cannot be
    removed, on a full disk for example, waits for the next start.
    """
    removed = 0
    try:
        async with db.transaction() as tx:
            await tx.rows(f"DELETE FROM pictures WHERE {_UNUSED}")
        for digit in "0123456789abcdef":  # in parts: a list of all pictures may be long
            removed += await _collect(db, files, digit)
    except (sqlite3.Error, OSError) as error:
        log.error("Files that an interrupted run left behind are not removed: %s", error)
    if removed:
        log.info("Removed %d files that an interrupted run left behind", removed)
    return removed


async def _collect(db: Database, files: PictureFiles, digit: str) -> int:
    rows = await db.rows(
        "SELECT sha256 FROM pictures WHERE sha256 >= ? AND sha256 < ?", (digit, digit + "g")
    )
    known = {str(row["sha256"]) for row in rows}
    there = await files.names(digit)
    if missing := known - there:
        log.error("%d picture files are missing, the first is %s", len(missing), min(missing))
    orphans = there - known
    await files.remove_names(orphans)
    return len(orphans)
