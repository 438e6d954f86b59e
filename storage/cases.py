"""Pictures that a server's moderators are to decide about, and what they decided."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engine.errors import UnknownJobError
from engine.words import N_
from storage import audit, history
from storage.database import Database, Transaction
from storage.pictures import PictureFiles
from storage.references import drop_unused
from storage.rows import Clock, to_text, to_time, utc_now

DELETED = "deleted a reported picture"
DISMISSED = "dismissed a report"

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
        """Forgets a case that cannot be shown to the moderators; its reports stay."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "DELETE FROM cases WHERE job_id = ? AND kind = ?", (case.job_id, case.kind)
            )

    async def delete_pictures(self, case: Case, *, actor_id: int) -> bool:
        """Deletes the pictures, and notes their message to be deleted; False when it was decided."""
        async with self._db.transaction() as tx:
            is_new = await _decide(tx, case, "deleted_by", actor_id)
            if is_new:
                now = self._clock()
                hashes = await history.delete_pictures_in(tx, case.job_id, to_text(now))
                await tx.rows(
                    "INSERT INTO messages_to_delete (message_id, channel_id)"
                    " SELECT result_message_id, coalesce(result_channel_id, channel_id) FROM jobs"
                    " WHERE id = ? AND result_message_id IS NOT NULL ON CONFLICT DO NOTHING",
                    (case.job_id,),
                )
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


async def _decide(tx: Transaction, case: Case, column: str, actor_id: int) -> bool:
    row = await tx.row(
        f"UPDATE cases SET {column} = ?, changes = changes + 1 WHERE job_id = ? AND kind = ?"
        f" AND {column} IS NULL AND closed_by IS NULL RETURNING 1",
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
