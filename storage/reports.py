"""Pictures that people reported, for whoever moderates to look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage import cases
from storage.database import Database
from storage.rows import Clock, to_text, utc_now


@dataclass(frozen=True, slots=True)
class Report:
    """One report; the message is where the picture was seen."""

    job_id: str
    reporter_id: int
    guild_id: int | None
    channel_id: int
    message_id: int
    reported_at: datetime
    reason: str = ""


class Reports:
    """The table of reports; every method is one transaction."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def add(
        self,
        job_id: str,
        reporter_id: int,
        *,
        guild_id: int | None,
        channel_id: int,
        message_id: int,
        reason: str = "",
        for_moderators: bool = False,
    ) -> bool:
        """Stores a report of a finished job; False when the person has reported it before.

        Args:
            job_id: The job.
            reporter_id: Who reports it.
            guild_id: Where the message is; None in a DM.
            channel_id: The same.
            message_id: The message.
            reason: In the reporter's words.
            for_moderators: True to open a case for those of the server, see `storage.cases`.
        """
        now = to_text(self._clock())
        async with self._db.transaction() as tx:
            row = await tx.row(
                "INSERT INTO reports"
                " (job_id, reporter_id, guild_id, channel_id, message_id, reported_at, reason)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1",
                (job_id, reporter_id, guild_id, channel_id, message_id, now, reason),
            )
            if row is not None and for_moderators and guild_id is not None:
                await cases.open_in(tx, job_id, cases.Kind.REPORT, guild_id, now)
        return row is not None

    async def newest(self, limit: int = 25) -> list[Report]:
        """Returns the newest reports, newest first."""
        rows = await self._db.rows("SELECT * FROM reports ORDER BY number DESC LIMIT ?", (limit,))
        return [
            Report(
                row["job_id"],
                row["reporter_id"],
                row["guild_id"],
                row["channel_id"],
                row["message_id"],
                datetime.fromisoformat(row["reported_at"]),
                row["reason"],
            )
            for row in rows
        ]
