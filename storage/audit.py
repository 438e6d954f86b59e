"""Who changed what: every act of those who look after the bot or a server, without any content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.database import Database, Transaction
from storage.rows import Clock, to_json, to_text, utc_now

_NEWEST = 2**62  # no number is as large


@dataclass(frozen=True, slots=True)
class Entry:
    """One act.

    Attributes:
        act: What was done, in a few English words.
        detail: To what: ids, names, numbers.
    """

    number: int
    at: datetime
    actor_id: int
    act: str
    detail: Mapping[str, Any]


async def note(
    tx: Transaction, at: datetime, actor_id: int, act: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Writes an act in the transaction that does it, so that neither is there without the other."""
    await tx.rows(
        "INSERT INTO audit (at, actor_id, act, detail) VALUES (?, ?, ?, ?)",
        (to_text(at), actor_id, act, to_json(dict(detail or {}))),
    )


class Audit:
    """The table; other tables write into it by `note`."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def add(self, actor_id: int, act: str, **detail: Any) -> None:
        """Writes an act that changes nothing in the database."""
        async with self._db.transaction() as tx:
            await note(tx, self._clock(), actor_id, act, detail)

    async def newest(
        self, limit: int = 25, *, before: int | None = None, actor_id: int | None = None
    ) -> list[Entry]:
        """Returns the newest entries, newest first, of one person or of all.

        `before` is the number of the last one seen.
        """
        whose = "" if actor_id is None else " AND actor_id = ?"
        values = (_NEWEST if before is None else before, *(() if actor_id is None else (actor_id,)))
        rows = await self._db.rows(
            f"SELECT number, at, actor_id, act, detail FROM audit WHERE number < ?{whose}"
            " ORDER BY number DESC LIMIT ?",
            (*values, limit),
        )
        return [
            Entry(
                row["number"],
                datetime.fromisoformat(row["at"]),
                row["actor_id"],
                row["act"],
                json.loads(row["detail"]),
            )
            for row in rows
        ]
