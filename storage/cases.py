"""Pictures that a server's moderators are to decide about, and what they decided."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.errors import NotReleasedError, UnknownJobError, UnsafePictureError
from engine.words import N_
from storage import audit, history
from storage.database import Database, Transaction
from storage.pictures import PictureFiles
from storage.references import drop_unused
from storage.rows import Clock, to_text, to_time, utc_now
from storage.withdrawal import withdraw

DELETED = "deleted a reported picture"
DISMISSED = "dismissed a report"
RELEASED = "released a held picture"
NOT_RELEASED = "deleted a held picture"

_UNKNOWN = N_("There is no such picture for the moderators of this server to decide about.")
_CASES = """
    SELECT cases.*, jobs.owner_id,
           (SELECT json_group_array(reason) FROM (SELECT reason FROM reports
            WHERE reports.job_id = cases.job_id ORDER BY number)) AS reasons
    FROM cases JOIN jobs ON jobs.id = cases.job_id
"""


class Kind(StrEnum):
    """Why moderators look at a picture."""

    REPORT = "report"
    HELD = "held"  # back by the classifier


@dataclass(frozen=True, slots=True)
class Case:
    """One picture.

    Attributes:
        owner_id: Whose picture it is.
        channel_id: Where the message about it is; None before it was sent.
        changes: Counts what happened to it, for `Cases.note_shown`.
        deleted_by: The moderator who did that; None while nobody did. The same for the others.
        closed_by: Who dismissed the reports, or released the picture.
        reasons: Of each report, in the reporters' words, oldest first; "" where none was given.
    """

    job_id: str
    kind: Kind
    guild_id: int
    owner_id: int
    channel_id: int | None
    message_id: int | None
    changes: int
    deleted_by: int | None
    blocked_by: int | None
    closed_by: int | None
    reasons: tuple[str, ...]

    @property
    def is_decided(self) -> bool:
        """True when nothing is left to decide about a held picture."""
        return self.closed_by is not None or self.deleted_by is not None


class Cases:
    """The table; what the moderators do is one transaction each, with its entry in the audit."""

    def __init__(self, db: Database, pictures: PictureFiles, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._pictures = pictures
        self._clock = clock

    async def get(self, job_id: str, kind: Kind, guild_id: int) -> Case:
        """Returns a case of this server. Raises UnknownJobError, also for one of another server."""
        row = await self._db.row(
            f"{_CASES} WHERE job_id = ? AND kind = ? AND cases.guild_id = ?",
            (job_id, kind, guild_id),
        )
        if row is None:
            raise UnknownJobError(_UNKNOWN)
        return _case(row)

    async def held(self, job_id: str) -> Case | None:
        """Returns the case of a picture that is, or was, held back; None when it never was."""
        row = await self._db.row(f"{_CASES} WHERE job_id = ? AND kind = ?", (job_id, Kind.HELD))
        return None if row is None else _case(row)

    async def hold(self, job_id: str, guild_id: int) -> None:
        """Holds a rendered job's pictures back, once: until they are released they count as deleted."""
        now = to_text(self._clock())
        async with self._db.transaction() as tx:
            row = await tx.row(
                "INSERT INTO cases (job_id, kind, guild_id, opened_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING RETURNING 1",
                (job_id, Kind.HELD, guild_id, now),
            )
            if row is not None:
                await tx.rows("UPDATE generations SET deleted_at = ? WHERE id = ?", (now, job_id))

    async def note_told(self, job_id: str, message_id: int | None, channel_id: int | None) -> bool:
        """Remembers the message that tells the owner of it; False when it was decided meanwhile."""
        async with self._db.transaction() as tx:
            row = await tx.row(
                "UPDATE jobs SET result_message_id = ?, result_channel_id = ?, delivered_at = ?"
                " WHERE id = ? AND EXISTS (SELECT 1 FROM cases WHERE job_id = jobs.id"
                " AND kind = 'held' AND closed_by IS NULL AND deleted_by IS NULL) RETURNING 1",
                (message_id, channel_id, to_text(self._clock()), job_id),
            )
        return row is not None

    async def release(self, case: Case, *, actor_id: int) -> bool:
        """Lets held pictures be delivered; False when that was decided, or they were deleted.

        The job is one that is not delivered after it, and the message of before is to be deleted.
        """
        async with self._db.transaction() as tx:
            if not await _has_pictures(tx, case) or not await _decide(
                tx, case, "closed_by", actor_id, unless="deleted_by"
            ):
                return False
            await _forget_message(tx, case)
            await tx.rows("UPDATE generations SET deleted_at = NULL WHERE id = ?", (case.job_id,))
            await tx.rows(
                "UPDATE jobs SET delivered_at = NULL, sending_since = NULL,"
                " result_message_id = NULL, result_channel_id = NULL WHERE id = ?",
                (case.job_id,),
            )
            await audit.note(tx, self._clock(), actor_id, RELEASED, _detail(case))
        return True

    async def delete_held(self, case: Case, *, actor_id: int) -> bool:
        """Ends the job as failed instead; False as for `release`."""
        now = self._clock()
        async with self._db.transaction() as tx:
            if not await _has_pictures(tx, case) or not await _decide(
                tx, case, "deleted_by", actor_id
            ):
                return False
            await _forget_message(tx, case)
            _, hashes = await withdraw(tx, case.job_id, NotReleasedError(""), now)
            await audit.note(tx, now, actor_id, NOT_RELEASED, _detail(case))
        await drop_unused(self._db, self._pictures, hashes)
        return True

    async def to_show(self, limit: int) -> list[Case]:
        """Returns cases whose message is missing, or shows less than is known; oldest first."""
        rows = await self._db.rows(
            f"{_CASES} WHERE changes > shown ORDER BY opened_at LIMIT ?", (limit,)
        )
        return [_case(row) for row in rows]

    async def begin_sending(self, case: Case) -> datetime | None:
        """Returns when sending its message began before, or None; the first call sets it to now."""
        key = (case.job_id, case.kind)
        async with self._db.transaction() as tx:
            row = await tx.row("SELECT sending_since FROM cases WHERE job_id = ? AND kind = ?", key)
            since = None if row is None else row["sending_since"]
            if since is None:
                await tx.rows(
                    "UPDATE cases SET sending_since = ? WHERE job_id = ? AND kind = ?",
                    (to_text(self._clock()), *key),
                )
        return None if since is None else to_time(since)

    async def note_shown(self, case: Case, channel_id: int, message_id: int) -> bool:
        """Remembers the message, which shows the case as it was given; False when the case is gone."""
        async with self._db.transaction() as tx:
            row = await tx.row(
                "UPDATE cases SET channel_id = ?, message_id = ?, shown = ?"
                " WHERE job_id = ? AND kind = ? RETURNING 1",
                (channel_id, message_id, case.changes, case.job_id, case.kind),
            )
        return row is not None

    async def drop(self, case: Case) -> None:
        """Forgets a case that cannot be shown to the moderators.

        Its reports stay. What was held back and not decided about ends its job as failed, of which the
        owner is then to be told.
        """
        hashes: list[str] = []
        async with self._db.transaction() as tx:
            await tx.rows(
                "DELETE FROM cases WHERE job_id = ? AND kind = ?", (case.job_id, case.kind)
            )
            is_open = case.kind is Kind.HELD and not case.is_decided
            if is_open and await _has_pictures(tx, case):
                await _forget_message(tx, case)
                error = UnsafePictureError("nobody can release it")
                _, hashes = await withdraw(tx, case.job_id, error, self._clock())
        await drop_unused(self._db, self._pictures, hashes)

    async def delete_pictures(self, case: Case, *, actor_id: int) -> bool:
        """Deletes the pictures, and notes their message to be deleted; False when it was decided."""
        async with self._db.transaction() as tx:
            is_new = await _decide(tx, case, "deleted_by", actor_id)
            if is_new:
                now = self._clock()
                hashes = await history.delete_pictures_in(tx, case.job_id, to_text(now))
                await _forget_message(tx, case)
                await audit.note(tx, now, actor_id, DELETED, _detail(case))
        if is_new:
            await drop_unused(self._db, self._pictures, hashes)
        return is_new

    async def note_block(self, case: Case, *, actor_id: int) -> bool:
        """Notes that the owner was blocked, which `Blocks` did and put into the audit."""
        async with self._db.transaction() as tx:
            return await _decide(tx, case, "blocked_by", actor_id)

    async def dismiss(self, case: Case, *, actor_id: int) -> bool:
        """Leaves the picture and its owner alone; False when something else was decided."""
        async with self._db.transaction() as tx:
            row = await tx.row(
                "UPDATE cases SET closed_by = ?, changes = changes + 1 WHERE job_id = ? AND kind = ?"
                " AND closed_by IS NULL AND deleted_by IS NULL AND blocked_by IS NULL RETURNING 1",
                (actor_id, case.job_id, case.kind),
            )
            if row is not None:
                await audit.note(tx, self._clock(), actor_id, DISMISSED, _detail(case))
        return row is not None


async def open_in(tx: Transaction, job_id: str, kind: Kind, guild_id: int, now: str) -> None:
    """Opens a case, or notes that there is more to show of an open one."""
    await tx.rows(
        "INSERT INTO cases (job_id, kind, guild_id, opened_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (job_id, kind) DO UPDATE SET changes = changes + 1",
        (job_id, kind, guild_id, now),
    )


async def _has_pictures(tx: Transaction, case: Case) -> bool:
    row = await tx.row(
        "SELECT 1 FROM generation_pictures WHERE generation_id = ? AND sha256 IS NOT NULL",
        (case.job_id,),
    )
    return row is not None


async def _forget_message(tx: Transaction, case: Case) -> None:
    """Notes the message of the job to be deleted."""
    await tx.rows(
        "INSERT INTO messages_to_delete (message_id, channel_id)"
        " SELECT result_message_id, coalesce(result_channel_id, channel_id) FROM jobs"
        " WHERE id = ? AND result_message_id IS NOT NULL ON CONFLICT DO NOTHING",
        (case.job_id,),
    )


async def _decide(
    tx: Transaction, case: Case, column: str, actor_id: int, *, unless: str = "closed_by"
) -> bool:
    row = await tx.row(
        f"UPDATE cases SET {column} = ?, changes = changes + 1 WHERE job_id = ? AND kind = ?"
        f" AND {column} IS NULL AND {unless} IS NULL RETURNING 1",
        (actor_id, case.job_id, case.kind),
    )
    return row is not None


def _detail(case: Case) -> dict[str, object]:
    return {"guild_id": case.guild_id, "job": case.job_id, "person_id": case.owner_id}


def _case(row: sqlite3.Row) -> Case:
    return Case(
        row["job_id"],
        Kind(row["kind"]),
        row["guild_id"],
        row["owner_id"],
        row["channel_id"],
        row["message_id"],
        row["changes"],
        row["deleted_by"],
        row["blocked_by"],
        row["closed_by"],
        tuple(json.loads(row["reasons"])),
    )
