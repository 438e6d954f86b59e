"""History: every job that ended with pictures, with all its parameters and where it came from."""

from __future__ import annotations

from engine.errors import UnknownJobError
from engine.types import Generation
from engine.words import N_
from storage.database import Database, Transaction
from storage.pictures import PictureFiles
from storage.references import drop_unused
from storage.rows import Clock, generation_from_row, to_text, utc_now

GENERATIONS = """
    SELECT jobs.*, generations.created_at AS generated_at, generations.seconds,
           generations.warnings, generations.receipt, generations.deleted_at,
           (SELECT json_group_array(json_array(sha256, seed, score))
            FROM (SELECT sha256, seed, score FROM generation_pictures
                  WHERE generation_id = generations.id ORDER BY number)) AS pictures
    FROM generations JOIN jobs ON jobs.id = generations.id
"""
_UNKNOWN = N_("This picture is not in the history any more.")


class History:
    """Reads finished jobs and deletes their pictures; `JobTable.finish` writes them."""

    def __init__(self, db: Database, pictures: PictureFiles, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._pictures = pictures
        self._clock = clock

    async def get(self, generation_id: str, *, reader_id: int | None = None) -> Generation:
        """Returns one generation, also when its pictures were deleted. Raises UnknownJobError.

        With `reader_id` as that person may know it: other people's private ones are not there. An id
        proves nothing, since it may come from a forged button.
        """
        row = await self._db.row(f"{GENERATIONS} WHERE generations.id = ?", (generation_id,))
        if row is None:
            raise UnknownJobError(_UNKNOWN)
        found = generation_from_row(row)
        submission = found.submission
        is_known = reader_id in (None, submission.owner_id) or not submission.destination.private
        if not is_known:
            raise UnknownJobError(_UNKNOWN)
        return found

    async def by_message(self, message_id: int) -> Generation | None:
        """Returns the generation that a message shows, or None."""
        row = await self._db.row(f"{GENERATIONS} WHERE jobs.result_message_id = ?", (message_id,))
        return None if row is None else generation_from_row(row)

    async def recent(
        self, owner_id: int, limit: int = 10, before: str | None = None
    ) -> list[Generation]:
        """Returns a person's newest generations whose pictures are still there, newest first.

        Args:
            owner_id: The person.
            limit: At most so many.
            before: Id of the last generation of the page before, None for the first page.
        """
        if before is None:
            rows = await self._db.rows(
                f"{GENERATIONS} WHERE generations.owner_id = ? AND generations.deleted_at IS NULL"
                " ORDER BY generations.created_at DESC, generations.id DESC LIMIT ?",
                (owner_id, limit),
            )
        else:
            rows = await self._db.rows(
                f"{GENERATIONS} WHERE generations.owner_id = ? AND generations.deleted_at IS NULL"
                " AND (generations.created_at, generations.id) <"
                " (SELECT created_at, id FROM generations WHERE id = ?)"
                " ORDER BY generations.created_at DESC, generations.id DESC LIMIT ?",
                (owner_id, before, limit),
            )
        return [generation_from_row(row) for row in rows]

    async def ancestors(self, generation_id: str) -> list[Generation]:
        """Returns what a generation came from: its parent first, the beginning of the chain last."""
        rows = await self._db.rows(
            "WITH RECURSIVE chain (id, depth) AS ("
            " SELECT parent_id, 1 FROM generations WHERE id = ? AND parent_id IS NOT NULL"
            " UNION ALL"
            " SELECT generations.parent_id, depth + 1 FROM chain"
            " JOIN generations ON generations.id = chain.id"
            " WHERE generations.parent_id IS NOT NULL)"
            f" {GENERATIONS} JOIN chain ON chain.id = generations.id ORDER BY chain.depth",
            (generation_id,),
        )
        return [generation_from_row(row) for row in rows]

    async def children(self, generation_id: str) -> list[Generation]:
        """Returns what was made from a generation, oldest first."""
        rows = await self._db.rows(
            f"{GENERATIONS} WHERE generations.parent_id = ?"
            " ORDER BY generations.created_at, generations.id",
            (generation_id,),
        )
        return [generation_from_row(row) for row in rows]

    async def delete_pictures(self, generation_id: str) -> None:
        """Removes the pictures that nothing else shows and keeps the row, with `deleted_at`.

        An upload that the generation started from goes too, unless another one needs it.

        Raises:
            UnknownJobError: There is no such generation.
        """
        async with self._db.transaction() as tx:
            hashes = await delete_pictures_in(tx, generation_id, to_text(self._clock()))
        await drop_unused(self._db, self._pictures, hashes)

    async def set_message(self, generation_id: str, message_id: int) -> None:
        """Remembers the message that shows the pictures. Raises UnknownJobError."""
        async with self._db.transaction() as tx:
            known = await tx.rows(
                "UPDATE jobs SET result_message_id = ? WHERE id = ?"
                " AND EXISTS (SELECT 1 FROM generations WHERE generations.id = jobs.id)"
                " RETURNING id",
                (message_id, generation_id),
            )
            if not known:
                raise UnknownJobError(_UNKNOWN)


async def delete_pictures_in(tx: Transaction, generation_id: str, now: str) -> list[str]:
    """Returns the files to look after when the transaction has ended, see `History.delete_pictures`."""
    rows = await tx.rows(
        "SELECT sha256 FROM generation_pictures WHERE generation_id = ? AND sha256 IS NOT NULL",
        (generation_id,),
    )
    await tx.rows(
        "UPDATE generation_pictures SET sha256 = NULL WHERE generation_id = ?", (generation_id,)
    )
    known = await tx.rows(
        "UPDATE generations SET deleted_at = coalesce(deleted_at, ?) WHERE id = ? RETURNING id",
        (now, generation_id),
    )
    if not known:
        raise UnknownJobError(_UNKNOWN)
    # What the moderators see of it goes as well.
    await tx.rows("UPDATE cases SET changes = changes + 1 WHERE job_id = ?", (generation_id,))
    rows += await tx.rows("SELECT sha256 FROM job_inputs WHERE job_id = ?", (generation_id,))
    return sorted({str(row["sha256"]) for row in rows})
