"""Pictures that the bot's owners gave to somebody, beside what everybody has.

Those without an end are used up once, when the allowance of 24 hours is; what a job that failed had taken
comes back. The others make that allowance larger until they end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage import audit
from storage.database import Database, Transaction
from storage.rows import Clock, to_text, to_time, utc_now

GRANTED = "granted pictures"
TAKEN_BACK = "took granted pictures back"


@dataclass(frozen=True, slots=True)
class Grants:
    """What somebody has.

    Attributes:
        once: Pictures that are left, to be used up once.
        daily: So many more in 24 hours.
        ends_at: When the first part of `daily` ends; None without one.
    """

    once: float = 0.0
    daily: float = 0.0
    ends_at: datetime | None = None


class GrantTable:
    """What the owners give; it is counted by `storage.ledger`."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def give(
        self, person_id: int, pictures: float, *, ends_at: datetime | None, actor_id: int
    ) -> Grants:
        """Gives so many pictures once, or in each 24 hours until `ends_at`; returns all there are."""
        now = self._clock()
        async with self._db.transaction() as tx:
            await add(tx, person_id, pictures, ends_at, now)
            detail = {
                "person_id": person_id,
                "pictures": pictures,
                "ends_at": None if ends_at is None else to_text(ends_at),
            }
            await audit.note(tx, now, actor_id, GRANTED, detail)
            return await of(tx, person_id, now)

    async def take_back(self, person_id: int, *, actor_id: int) -> Grants:
        """Takes all of them back and returns what that was."""
        now = self._clock()
        async with self._db.transaction() as tx:
            before = await of(tx, person_id, now)
            await tx.rows("DELETE FROM grants WHERE person_id = ?", (person_id,))
            await audit.note(tx, now, actor_id, TAKEN_BACK, {"person_id": person_id})
        return before


async def of(source: Database | Transaction, person_id: int, now: datetime) -> Grants:
    """Returns what a person has at that time."""
    rows = await source.rows(
        "SELECT pictures, ends_at FROM grants WHERE person_id = ?"
        " AND (ends_at IS NULL OR ends_at > ?) ORDER BY ends_at",
        (person_id, to_text(now)),
    )
    lasting = [row for row in rows if row["ends_at"] is not None]
    return Grants(
        once=round(sum(row["pictures"] for row in rows if row["ends_at"] is None), 6),
        daily=sum(row["pictures"] for row in lasting),
        ends_at=to_time(lasting[0]["ends_at"]) if lasting else None,
    )


async def add(
    tx: Transaction, person_id: int, pictures: float, ends_at: datetime | None, now: datetime
) -> None:
    """Adds pictures; below 0 it uses up those that are given once, as many as there are."""
    if ends_at is None:
        row = await tx.row(
            "UPDATE grants SET pictures = max(round(pictures + ?, 6), 0)"
            " WHERE number = (SELECT min(number) FROM grants"
            "  WHERE person_id = ? AND ends_at IS NULL) RETURNING 1",
            (pictures, person_id),
        )
        if row is not None:
            return
    await tx.rows(
        "DELETE FROM grants WHERE person_id = ? AND ends_at <= ?", (person_id, to_text(now))
    )
    if pictures > 0:
        await tx.rows(
            "INSERT INTO grants (person_id, pictures, ends_at, granted_at) VALUES (?, ?, ?, ?)",
            (person_id, pictures, None if ends_at is None else to_text(ends_at), to_text(now)),
        )
