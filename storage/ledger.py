"""What people were charged: two rolling windows, refunds, and when there is room again.

A charge lies in a window of length w while `charged_at > now - w`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engine.errors import QuotaExceededError
from engine.types import Limits
from storage.database import Database, Transaction
from storage.rows import Clock, to_text, to_time, utc_now

DAY = timedelta(hours=24)
MINUTE = timedelta(seconds=60)
_TOLERANCE = 1e-6  # costs are hundredths, their float sums are not quite


@dataclass(frozen=True, slots=True)
class Usage:
    """What a person has used up.

    Attributes:
        used_today: Cost of the last 24 hours, without refunded jobs.
        daily: The limit; 0 is no limit.
        resets_at: When the whole allowance is there again if nothing more is made; None when
            nothing is used.
        waiting: Jobs that are not final.
    """

    used_today: float
    daily: float
    resets_at: datetime | None
    waiting: int


class Ledger:
    """Answers what a person has used up; charges and refunds are part of the jobs' transactions."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def usage(self, owner_id: int, limits: Limits) -> Usage:
        """Returns what the person has used up now, against the limits."""
        now = self._clock()
        rows = await self._db.rows(
            "SELECT cost, charged_at FROM charges"
            " WHERE owner_id = ? AND charged_at > ? AND refunded_at IS NULL ORDER BY charged_at",
            (owner_id, to_text(now - DAY)),
        )
        waiting = await self._db.row(
            "SELECT count(*) AS jobs FROM jobs"
            " WHERE owner_id = ? AND state IN ('queued', 'running')",
            (owner_id,),
        )
        return Usage(
            used_today=round(sum(row["cost"] for row in rows), 6),
            daily=limits.daily,
            resets_at=min(to_time(rows[-1]["charged_at"]), now) + DAY if rows else None,
            waiting=0 if waiting is None else waiting["jobs"],
        )


async def allowance_problem(
    tx: Transaction, owner_id: int, cost: float, limits: Limits, now: datetime
) -> QuotaExceededError | None:
    """Returns the refusal when one of the two windows has no room for a job of this cost.

    A charge that lies in the future was made before the clock went back. It is taken as made now:
    going back frees nothing early, and a clock that was years ahead locks nobody out for years.
    The transaction should be committed also after a refusal, so that "now" is the first time that
    this was seen and `retry_at` stays.
    """
    await tx.rows(
        "UPDATE charges SET charged_at = ? WHERE owner_id = ? AND charged_at > ?",
        (to_text(now), owner_id, to_text(now)),
    )
    rows = await tx.rows(
        "SELECT cost, charged_at, refunded_at FROM charges"
        " WHERE owner_id = ? AND charged_at > ? ORDER BY charged_at",
        (owner_id, to_text(now - DAY)),
    )
    # Being refunded gives the cost back, but a flood of jobs that are cancelled is still a flood.
    times = [to_time(row["charged_at"]) for row in rows]
    recent = [time for time in times if time > now - MINUTE]
    kept = [
        (to_time(row["charged_at"]), float(row["cost"]))
        for row in rows
        if row["refunded_at"] is None
    ]
    minute = _minute_problem(recent, limits.per_minute)
    day = _day_problem(kept, cost, limits.daily)
    problems = [problem for problem in (day, minute) if problem is not None]
    never = datetime.max.replace(tzinfo=UTC)
    return max(problems, key=lambda problem: problem.retry_at or never, default=None)


async def charge(tx: Transaction, job_id: str, owner_id: int, cost: float, now: datetime) -> None:
    """Charges the owner for a job that is being added."""
    await tx.rows(
        "INSERT INTO charges (job_id, owner_id, cost, charged_at) VALUES (?, ?, ?, ?)",
        (job_id, owner_id, cost, to_text(now)),
    )


async def refund(tx: Transaction, job_id: str, now: datetime) -> None:
    """Gives a job's cost back, once."""
    await tx.rows(
        "UPDATE charges SET refunded_at = ? WHERE job_id = ? AND refunded_at IS NULL",
        (to_text(now), job_id),
    )


def _minute_problem(times: Sequence[datetime], limit: int) -> QuotaExceededError | None:
    """`times`: charges of the last minute, oldest first."""
    if not limit or len(times) < limit:
        return None
    # One job more fits when all but limit - 1 have left the window.
    retry_at = times[len(times) - limit] + MINUTE
    jobs = "1 job" if len(times) == 1 else f"{len(times)} jobs"
    return QuotaExceededError(
        f"You have started {jobs} in the last minute, the limit is {limit}.", retry_at
    )


def _day_problem(
    charges: Sequence[tuple[datetime, float]], cost: float, limit: float
) -> QuotaExceededError | None:
    """`charges`: unrefunded time and cost of the last 24 hours, oldest first."""
    if not limit:
        return None
    if cost > limit + _TOLERANCE:
        return QuotaExceededError(
            f"This costs as much as {_amount(cost)} pictures, and the limit is {_amount(limit)} "
            "in 24 hours. Ask for fewer pictures, fewer steps or a smaller size.",
            None,
        )
    used = sum(charged for _, charged in charges)
    left = used
    retry_at = None
    for charged_at, charged in charges:
        if left + cost <= limit + _TOLERANCE:
            break
        left -= charged
        retry_at = charged_at + DAY
    if retry_at is None:
        return None
    return QuotaExceededError(
        f"You have used {_amount(used)} of {_amount(limit)} pictures in the last 24 hours, and "
        f"this one costs {_amount(cost)}.",
        retry_at,
    )


def _amount(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")
