"""What people were charged: rolling windows, refunds, and when there is room again.

A charge lies in a window of length w while `charged_at > now - w`. The windows of a person are over all
servers and DMs; the minute that a server's managers limit has the jobs of that server alone, so nothing
that is done elsewhere counts against it or makes it larger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engine.errors import QuotaExceededError
from engine.limits import WHOSE
from engine.sheets import batch_of
from engine.types import Bound, Limits, Submission
from storage import grants
from storage.database import Database, Transaction
from storage.rows import Clock, to_text, to_time, utc_now

DAY = timedelta(hours=24)
MINUTE = timedelta(seconds=60)
ERASED = -1  # instead of a charge's server, when nobody should know any more where it was
_TOLERANCE = 1e-6  # costs are hundredths, their float sums are not quite


@dataclass(frozen=True, slots=True)
class Usage:
    """What a person has used up.

    Attributes:
        used_today: Cost of the last 24 hours, without refunded jobs and what grants paid.
        daily: The limit, with what was granted for some days; 0 is no limit.
        resets_at: When the whole allowance is there again if nothing more is made; None when
            nothing is used.
        waiting: Jobs that are not final.
        extra: Pictures that were granted once and are left, see `storage.grants`.
    """

    used_today: float
    daily: float
    resets_at: datetime | None
    waiting: int
    extra: float = 0.0


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
            "SELECT cost - granted AS cost, charged_at FROM charges"
            " WHERE owner_id = ? AND charged_at > ? AND refunded_at IS NULL ORDER BY charged_at",
            (owner_id, to_text(now - DAY)),
        )
        waiting = await self._db.row(
            "SELECT count(*) AS jobs FROM jobs"
            " WHERE owner_id = ? AND state IN ('queued', 'running')",
            (owner_id,),
        )
        granted = await grants.of(self._db, owner_id, now)
        return Usage(
            used_today=round(sum(row["cost"] for row in rows), 6),
            daily=limits.daily + granted.daily if limits.daily else 0.0,
            resets_at=min(to_time(rows[-1]["charged_at"]), now) + DAY if rows else None,
            waiting=0 if waiting is None else waiting["jobs"],
            extra=granted.once if limits.daily else 0.0,
        )


async def admit(
    tx: Transaction, submission: Submission, cost: float, limits: Limits, now: datetime
) -> float | QuotaExceededError:
    """Returns what a grant has to pay of the job, or the refusal when a window has no room for it.

    A charge that lies in the future was made before the clock went back. It is taken as made now:
    going back frees nothing early, and a clock that was years ahead locks nobody out for years.
    The transaction should be committed also after a refusal, so that "now" is the first time that
    this was seen and `retry_at` stays.
    """
    owner_id = submission.owner_id
    await tx.rows(
        "UPDATE charges SET charged_at = ? WHERE owner_id = ? AND charged_at > ?",
        (to_text(now), owner_id, to_text(now)),
    )
    rows = await tx.rows(
        "SELECT cost - granted AS cost, charged_at, refunded_at, guild_id, batch FROM charges"
        " WHERE owner_id = ? AND charged_at > ? ORDER BY charged_at",
        (owner_id, to_text(now - DAY)),
    )
    # Being refunded gives the cost back, but a flood of jobs that are cancelled is still a flood.
    recent = [row for row in rows if to_time(row["charged_at"]) > now - MINUTE]
    kept = [
        (to_time(row["charged_at"]), float(row["cost"]))
        for row in rows
        if row["refunded_at"] is None
    ]
    batch = batch_of(submission.origin)
    minute = _minute_problem(_starts(recent, batch), limits.per_minute)
    here = None
    if limits.here is not None and (most := limits.here.per_minute) is not None:
        places = (limits.here.guild_id, ERASED)
        there = [row for row in recent if row["guild_id"] in places]
        here = _minute_problem_here(_starts(there, batch), most)
    granted = await grants.of(tx, owner_id, now)
    daily = limits.daily + granted.daily if limits.daily else 0.0
    day = _day_problem(kept, cost, daily, granted.once)
    problems = [problem for problem in (day, minute, here) if problem is not None]
    if problems:
        never = datetime.max.replace(tzinfo=UTC)
        return max(problems, key=lambda problem: problem.retry_at or never)
    if not daily:
        return 0.0
    beyond = sum(charged for _, charged in kept) + cost - daily
    return round(min(max(beyond, 0.0), cost, granted.once), 6)


async def charge(
    tx: Transaction, job_id: str, submission: Submission, cost: float, granted: float, now: datetime
) -> None:
    """Charges the owner for a job that is being added; a grant pays the part `granted`."""
    await tx.rows(
        "INSERT INTO charges (job_id, owner_id, cost, charged_at, guild_id, batch, granted)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            job_id,
            submission.owner_id,
            cost,
            to_text(now),
            submission.destination.guild_id,
            batch_of(submission.origin),
            granted,
        ),
    )
    if granted:
        await grants.add(tx, submission.owner_id, -granted, None, now)


async def refund(tx: Transaction, job_id: str, now: datetime) -> None:
    """Gives a job's cost back, once."""
    row = await tx.row(
        "UPDATE charges SET refunded_at = ? WHERE job_id = ? AND refunded_at IS NULL"
        " RETURNING owner_id, granted",
        (to_text(now), job_id),
    )
    if row is not None and row["granted"]:
        await grants.add(tx, row["owner_id"], row["granted"], None, now)


def _starts(rows: Iterable[sqlite3.Row], batch: str | None) -> list[datetime]:
    """Returns when the jobs of these charges began, without those of the batch that goes on here."""
    return [to_time(row["charged_at"]) for row in rows if batch is None or row["batch"] != batch]


def _minute_problem(times: Sequence[datetime], limit: int) -> QuotaExceededError | None:
    """`times`: jobs of the last minute, oldest first."""
    if not limit or len(times) < limit:
        return None
    retry_at = _room_at(times, limit)
    if len(times) == 1:
        return QuotaExceededError(
            "You have started 1 job in the last minute, the limit is {limit}.",
            retry_at,
            limit=limit,
        )
    return QuotaExceededError(
        "You have started {count} jobs in the last minute, the limit is {limit}.",
        retry_at,
        count=len(times),
        limit=limit,
    )


def _minute_problem_here(times: Sequence[datetime], most: Bound) -> QuotaExceededError | None:
    """The same for the limit of a server, with the jobs that were started there."""
    if len(times) < most.value:
        return None
    return QuotaExceededError(
        "You have started {count} jobs in this server in the last minute and at most {limit} are allowed "
        "({whose}).",
        _room_at(times, most.value),
        count=len(times),
        limit=most.value,
        whose=WHOSE[most.whose],
    )


def _room_at(times: Sequence[datetime], limit: int) -> datetime:
    """Returns when one job more fits: all but limit - 1 have left the window."""
    return times[len(times) - limit] + MINUTE


def _day_problem(
    charges: Sequence[tuple[datetime, float]], cost: float, daily: float, extra: float
) -> QuotaExceededError | None:
    """`charges`: unrefunded time and cost of the last 24 hours, oldest first; `extra` is granted once."""
    if not daily:
        return None
    limit = daily + extra
    if cost > limit + _TOLERANCE:
        return QuotaExceededError(
            "This costs as much as {cost:,.10g} pictures, and the limit is {limit:,.10g} "
            "in 24 hours. Ask for fewer pictures, fewer steps or a smaller size.",
            None,
            cost=round(cost, 2),
            limit=round(limit, 2),
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
        "You have used {used:,.10g} of {limit:,.10g} pictures in the last 24 hours, and this one "
        "costs {cost:,.10g}.",
        retry_at,
        used=round(used, 2),
        limit=round(limit, 2),
        cost=round(cost, 2),
    )
