"""How much somebody asks for, in numbers: for those who look after a server or the bot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from storage.database import Database
from storage.ledger import DAY
from storage.rows import Clock, to_text, utc_now

MONTH = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Activity:
    """What a person did in a server, or everywhere.

    Attributes:
        waiting: Jobs that are not final.
        day: Jobs of the last 24 hours.
        month: Jobs of the last 30 days that came to pictures.
        reported: Pictures of theirs that people reported there.
    """

    waiting: int
    day: int
    month: int
    reported: int


class Activities:
    """Counts; nothing that anybody wrote is read."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def of(self, person_id: int, guild_id: int | None = None) -> Activity:
        """Returns the counts of one server, or without one those of all places."""
        now = self._clock()
        row = await self._db.row(
            "SELECT (SELECT count(*) FROM jobs"
            "  WHERE owner_id = ?1 AND state IN ('queued', 'running')"
            "  AND guild_id IS coalesce(?2, guild_id)) AS waiting,"
            " (SELECT count(*) FROM charges WHERE owner_id = ?1 AND charged_at > ?3"
            "  AND guild_id IS coalesce(?2, guild_id)) AS day,"
            " (SELECT count(*) FROM generations JOIN jobs ON jobs.id = generations.id"
            "  WHERE generations.owner_id = ?1 AND generations.created_at > ?4"
            "  AND guild_id IS coalesce(?2, guild_id)) AS month,"
            " (SELECT count(DISTINCT job_id) FROM jobs JOIN reports ON reports.job_id = jobs.id"
            "  WHERE jobs.owner_id = ?1 AND reports.guild_id IS coalesce(?2, reports.guild_id))"
            " AS reported",
            (person_id, guild_id, to_text(now - DAY), to_text(now - MONTH)),
        )
        return Activity(0, 0, 0, 0) if row is None else Activity(*row)
