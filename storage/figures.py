"""What an operator wants to know of the database: who waits, how long it takes, how much there is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from storage.database import Database
from storage.rows import Clock, to_text, to_time, utc_now

_LATEST = 1000  # jobs that the waits are taken of


@dataclass(frozen=True, slots=True)
class Speeds:
    """How it went lately.

    Attributes:
        pictures: Made in the last hour.
        jobs: Of the last 24 hours (the newest 1,000 of all), that the waits are taken of.
        wait_p50_s: From the request to its first step: half of them waited no longer.
        wait_p95_s: The same of 95 in 100.
    """

    pictures: int
    jobs: int
    wait_p50_s: float
    wait_p95_s: float


@dataclass(frozen=True, slots=True)
class Holdings:
    """How much is kept."""

    database_bytes: int
    pictures: int
    picture_bytes: int


class Figures:
    """Reads them, each in short queries."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def waiting(self) -> dict[int | None, int]:
        """Returns the jobs that wait or run by server, most first; None is DMs."""
        rows = await self._db.rows(
            "SELECT guild_id, count(*) AS jobs FROM jobs INDEXED BY jobs_waiting"
            " WHERE state IN ('queued', 'running') GROUP BY guild_id ORDER BY jobs DESC, guild_id"
        )
        return {row["guild_id"]: row["jobs"] for row in rows}

    async def speeds(self) -> Speeds:
        """Returns how it went lately, also before this process."""
        now = self._clock()
        rows = await self._db.rows(
            "SELECT created_at, started_at, finished_at,"
            " (SELECT count(*) FROM generation_pictures WHERE generation_id = latest.id) AS pictures"
            " FROM (SELECT * FROM jobs ORDER BY number DESC LIMIT ?) AS latest"
            " WHERE started_at IS NOT NULL AND created_at >= ?",
            (_LATEST, to_text(now - timedelta(days=1))),
        )
        hour = to_text(now - timedelta(hours=1))
        pictures = sum(row["pictures"] for row in rows if (row["finished_at"] or "") >= hour)
        waits = sorted(
            max((to_time(row["started_at"]) - to_time(row["created_at"])).total_seconds(), 0.0)
            for row in rows
        )
        return Speeds(pictures, len(waits), quantile(waits, 0.5), quantile(waits, 0.95))

    async def database_bytes(self) -> int:
        """Returns how large the database is."""
        return await self._db.size_bytes()

    async def holdings(self) -> Holdings:
        """Returns how much is kept; counted in parts, so that nobody waits for all of it."""
        pictures = size = 0
        for digit in "0123456789abcdef":
            row = await self._db.row(
                "SELECT count(*), coalesce(sum(bytes), 0) FROM pictures"
                " WHERE sha256 >= ? AND sha256 < ?",
                (digit, digit + "g"),
            )
            if row is not None:
                pictures, size = pictures + row[0], size + row[1]
        return Holdings(await self._db.size_bytes(), pictures, size)


def quantile(sorted_values: list[float], share: float) -> float:
    """Returns the value that so large a share does not exceed; 0 of none."""
    if not sorted_values:
        return 0.0
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]
