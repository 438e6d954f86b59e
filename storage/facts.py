"""Small facts by name, such as the hash of the commands that Discord has."""

from __future__ import annotations

from storage.database import Database, Transaction


class Facts:
    """Text values that survive restarts."""

    def __init__(self, db: Database) -> None:
        """Uses the open database."""
        self._db = db

    async def get(self, key: str) -> str | None:
        """Returns the value, or None when it was never set."""
        row = await self._db.row("SELECT value FROM facts WHERE key = ?", (key,))
        return None if row is None else str(row["value"])

    async def set(self, key: str, value: str) -> None:
        """Sets or replaces the value."""
        async with self._db.transaction() as tx:
            await put(tx, key, value)


async def put(tx: Transaction, key: str, value: str) -> None:
    """Sets or replaces a value in the transaction of what it is about."""
    await tx.rows(
        "INSERT INTO facts (key, value) VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
