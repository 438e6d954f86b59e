"""Words and phrases that prompts may not have: of each server, and for all of the bot."""

from __future__ import annotations

from collections.abc import Sequence

from storage import audit
from storage.database import Database
from storage.rows import Clock, to_json, to_text, utc_now

ADDED = "block words"
REMOVED = "allow words again"


class BlockedWords:
    """The table; the audit has how many words were changed, and never which."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def all(self) -> dict[int, list[str]]:
        """Returns the words by server, in alphabetical order; those of 0 count everywhere."""
        found: dict[int, list[str]] = {}
        for row in await self._db.rows(
            "SELECT guild_id, word FROM blocked_words ORDER BY guild_id, word"
        ):
            found.setdefault(row["guild_id"], []).append(row["word"])
        return found

    async def add(self, guild_id: int, words: Sequence[str], *, actor_id: int) -> None:
        """Stores words; those that are there stay."""
        async with self._db.transaction() as tx:
            now = self._clock()
            await tx.rows(
                "INSERT INTO blocked_words (guild_id, word, added_at)"
                " SELECT ?, value, ? FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
                (guild_id, to_text(now), to_json(list(words))),
            )
            detail = {"guild_id": guild_id, "count": len(words)}
            await audit.note(tx, now, actor_id, ADDED, detail)

    async def remove(self, guild_id: int, words: Sequence[str], *, actor_id: int) -> None:
        """Forgets words."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "DELETE FROM blocked_words WHERE guild_id = ?"
                " AND word IN (SELECT value FROM json_each(?))",
                (guild_id, to_json(list(words))),
            )
            detail = {"guild_id": guild_id, "count": len(words)}
            await audit.note(tx, self._clock(), actor_id, REMOVED, detail)
