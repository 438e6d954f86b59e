"""Jobs from the moment they are asked for to the delivery of their result: the queue's `JobStore`."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import string
from collections.abc import Iterable, Sequence
from datetime import datetime

from engine.errors import (
    EngineError,
    QueueFullError,
    QuotaExceededError,
    TooManyWaitingError,
    UnknownJobError,
)
from engine.limits import WHOSE
from engine.sheets import batch_of
from engine.tally import Tally
from engine.types import GenerationRequest, GenerationResult, Job, JobState, Limits, Submission
from engine.words import N_
from storage import blocks
from storage.database import Database, Transaction, Value, is_passing
from storage.ledger import admit, charge, refund
from storage.pictures import PictureFiles, sha256_of
from storage.references import add_picture, drop_unused
from storage.rows import Clock, job_from_row, request_to_json, to_json, to_text, utc_now
from storage.withdrawal import withdraw

_ID_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 13
_ONE = "SELECT * FROM jobs WHERE id = ?"
TOO_MANY_HERE = N_(
    "You have {waiting} jobs waiting in this server and at most {limit} are allowed ({whose}). "
    "Wait for one to finish, or cancel one with /queue cancel."
)


class JobTable:
    """Implements `engine.interfaces.JobStore`: every method is one transaction.

    All raise UnknownJobError for an id that is not there.
    """

    def __init__(
        self,
        db: Database,
        pictures: PictureFiles,
        *,
        tally: Tally | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """Takes what counts the ends of jobs, and the clock as an argument for the tests."""
        self._db = db
        self._pictures = pictures
        self._tally = tally or Tally()
        self._clock = clock

    def is_passing(self, error: Exception) -> bool:
        """Returns True for trouble of the world outside (a full disk, a lock) that may end."""
        return is_passing(error)

    async def add(self, submission: Submission, *, cost: float, limits: Limits) -> tuple[Job, bool]:
        """Stores and charges a new job and returns it with True.

        A job of the same `submission.origin` is returned as it is with False, uncharged. The
        pictures that the request refers to must have been put into the picture files before.

        Raises:
            BlockedError: The owner is turned away there.
            TooManyWaitingError: The owner has `limits.waiting` jobs that are not final, or in this
                server as many as its managers allow.
            QueueFullError: `limits.queue` jobs of everybody are not final.
            QuotaExceededError: The owner's charges in a window do not leave room for `cost`.
            UnknownJobError: The parent or a picture that the request refers to is not there.
        """
        async with (
            self._pictures.pinned(submission.request.images),
            self._db.transaction() as tx,
        ):
            row = await tx.row("SELECT * FROM jobs WHERE origin = ?", (submission.origin,))
            if row is not None:
                return job_from_row(row), False
            now = self._clock()
            await blocks.check_in(tx, submission)
            await _check_waiting(tx, submission, limits)
            granted = await admit(tx, submission, cost, limits, now)
            if not isinstance(granted, QuotaExceededError):
                await self._check_sources(tx, submission, now)
                job = await _insert(tx, submission, cost, to_text(now))
                await charge(tx, job.id, submission, cost, granted, now)
                return job, True
        raise granted

    async def refuse(
        self, submission: Submission, error: EngineError, *, status_message_id: int | None
    ) -> Job:
        """Stores a job that failed before it could begin, uncharged, so that its owner is told.

        A job of the same `submission.origin` is returned as it is.
        """
        async with self._db.transaction() as tx:
            row = await tx.row("SELECT * FROM jobs WHERE origin = ?", (submission.origin,))
            if row is not None:
                return job_from_row(row)
            now = to_text(self._clock())
            job = await _insert(tx, submission, 0.0, now)
            row = await tx.row(
                "UPDATE jobs SET state = 'failed', finished_at = ?, error = ?,"
                " status_message_id = ? WHERE id = ? RETURNING *",
                (now, to_json([type(error).__name__, str(error)]), status_message_id, job.id),
            )
            job = _job(row, job.id)
        self._tally.job_ended(job)
        return job

    async def drop_unused(self, hashes: Iterable[str]) -> None:
        """Removes pictures that were put for a job that was then not accepted."""
        await drop_unused(self._db, self._pictures, hashes)

    async def get(self, job_id: str) -> Job:
        """Returns the job as it is now."""
        return _job(await self._db.row(_ONE, (job_id,)), job_id)

    async def get_many(self, job_ids: Iterable[str]) -> list[Job]:
        """Returns the jobs that are there, in the given order."""
        rows = await self._db.rows(
            "SELECT jobs.* FROM json_each(?) AS wanted JOIN jobs ON jobs.id = wanted.value"
            " ORDER BY wanted.key",
            (to_json(list(job_ids)),),
        )
        return [job_from_row(row) for row in rows]

    async def of_batch(self, key: str) -> list[Job]:
        """Returns the jobs of a batch in their order, see `engine.sheets`."""
        rows = await self._db.rows(
            "SELECT * FROM jobs WHERE origin > ? AND origin < ? ORDER BY origin",
            (f"{key}:", f"{key};"),
        )
        return [job_from_row(row) for row in rows]

    async def waiting_of(self, owner_id: int, guild_id: int | None = None) -> list[Job]:
        """Returns a person's jobs that are not final, oldest first; with a server, those from there."""
        rows = await self._db.rows(
            "SELECT * FROM jobs WHERE owner_id = ?1 AND state IN ('queued', 'running')"
            " AND guild_id IS coalesce(?2, guild_id) ORDER BY number",
            (owner_id, guild_id),
        )
        return [job_from_row(row) for row in rows]

    async def waiting_in(self, guild_id: int | None) -> list[Job]:
        """Returns the jobs of a server that are not final, of everybody for None, oldest first."""
        rows = await self._db.rows(
            "SELECT * FROM jobs INDEXED BY jobs_waiting"
            " WHERE state IN ('queued', 'running') AND (?1 IS NULL OR guild_id = ?1)"
            " ORDER BY number",
            (guild_id,),
        )
        return [job_from_row(row) for row in rows]

    async def unfinished(self) -> Sequence[Job]:
        """Puts `running` jobs back to `queued` and returns all queued ones, oldest first."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "UPDATE jobs SET state = 'queued', started_at = NULL"
                " WHERE state IN ('queued', 'running') AND state = 'running'"
            )
            rows = await tx.rows(  # without the hint SQLite reads the whole table in its order
                "SELECT * FROM jobs INDEXED BY jobs_waiting"
                " WHERE state IN ('queued', 'running') ORDER BY number"
            )
        return [job_from_row(row) for row in rows]

    async def with_status_line(self) -> list[Job]:
        """Returns the jobs whose public status line is not settled, oldest first, final ones too."""
        rows = await self._db.rows(
            "SELECT * FROM jobs INDEXED BY jobs_status_line"
            " WHERE status_message_id IS NOT NULL ORDER BY number"
        )
        return [job_from_row(row) for row in rows]

    async def without_status_line(self) -> list[Job]:
        """Returns the public jobs that are not final or not delivered and of which no line is known."""
        rows = await self._db.rows(
            "SELECT * FROM jobs WHERE state IN ('queued', 'running')"
            " AND status_message_id IS NULL AND NOT private"
            " UNION ALL"
            " SELECT * FROM jobs WHERE state IN ('rendered', 'failed') AND delivered_at IS NULL"
            " AND status_message_id IS NULL AND NOT private"
            " ORDER BY number"
        )
        return [job_from_row(row) for row in rows]

    async def undelivered(self) -> Sequence[Job]:
        """Returns the rendered and failed jobs whose owner was not told yet, oldest first."""
        rows = await self._db.rows(
            "SELECT * FROM jobs"
            " WHERE state IN ('rendered', 'failed') AND delivered_at IS NULL ORDER BY number"
        )
        return [job_from_row(row) for row in rows]

    async def mark_running(self, job_id: str) -> None:
        """Sets the state to running and `started_at`; a job that is final stays as it is."""
        async with self._db.transaction() as tx:
            await _existing(tx, job_id)
            await tx.rows(
                "UPDATE jobs SET state = 'running', started_at = ?"
                " WHERE id = ? AND state IN ('queued', 'running')",
                (to_text(self._clock()), job_id),
            )

    async def add_attempt(self, job_ids: Sequence[str]) -> None:
        """Counts an engine death against jobs that were running in it."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "UPDATE jobs SET attempts = attempts + 1"
                " WHERE id IN (SELECT value FROM json_each(?))",
                (to_json(list(job_ids)),),
            )

    async def mark_bumped(self, job_id: str) -> None:
        """Sets `bumped_at` of a job that is not final to now."""
        async with self._db.transaction() as tx:
            await _existing(tx, job_id)
            await tx.rows(
                "UPDATE jobs SET bumped_at = ? WHERE id = ? AND state IN ('queued', 'running')",
                (to_text(self._clock()), job_id),
            )

    async def change_request(self, job_id: str, request: GenerationRequest) -> Job:
        """Replaces what is made for a job that is not final; a final one stays as it is."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "UPDATE jobs SET request = ? WHERE id = ? AND state IN ('queued', 'running')",
                (request_to_json(request), job_id),
            )
            return await _existing(tx, job_id)

    async def finish(self, job_id: str, result: GenerationResult) -> Job:
        """Writes the picture files, then history and the state `rendered` in one transaction.

        A job that is final already is returned as it is, and nothing of the result stays.
        """
        job = await self.get(job_id)
        if job.state.is_final:
            return job
        contents = [picture.png for picture in result.pictures]
        hashes = await asyncio.to_thread(lambda: [sha256_of(content) for content in contents])
        is_kept = False
        try:
            async with self._pictures.pinned(hashes):
                for content in contents:
                    await self._pictures.put(content)
                async with self._db.transaction() as tx:
                    job = await _existing(tx, job_id)
                    is_late = job.state.is_final  # cancelled while the files were written
                    if not is_late:
                        job = await self._write_history(tx, job, result, hashes)
            is_kept = not is_late
            if is_kept:
                self._tally.job_ended(job, pictures=len(hashes), seconds=result.seconds)
        finally:
            if not is_kept:
                await drop_unused(self._db, self._pictures, hashes)
        await self._release_inputs(job)
        return job

    async def end(
        self, job_id: str, state: JobState, error: EngineError | None = None
    ) -> Job | None:
        """Sets `failed` or `cancelled` and refunds the charge; None when the job was final already."""
        if state not in (JobState.FAILED, JobState.CANCELLED):
            raise ValueError(f"a job does not end as {state}")
        now = self._clock()
        async with self._db.transaction() as tx:
            if (await _existing(tx, job_id)).state.is_final:
                return None
            row = await tx.row(
                "UPDATE jobs SET state = ?, finished_at = ?, error = ? WHERE id = ? RETURNING *",
                (
                    state,
                    to_text(now),
                    None if error is None else to_json([type(error).__name__, str(error)]),
                    job_id,
                ),
            )
            await refund(tx, job_id, now)
        job = _job(row, job_id)
        self._tally.job_ended(job)
        await self._release_inputs(job)
        return job

    async def withdraw(self, job_id: str, error: EngineError) -> Job:
        """Ends a rendered job as failed after all, for its owner to be told; see `storage.withdrawal`.

        A job that is not rendered is returned as it is.
        """
        async with self._db.transaction() as tx:
            job = await _existing(tx, job_id)
            if job.state is not JobState.RENDERED:
                return job
            job, hashes = await withdraw(tx, job_id, error, self._clock())
        await drop_unused(self._db, self._pictures, hashes)
        return job

    async def image(self, sha256: str) -> bytes:
        """Returns a stored picture. Raises UnknownJobError when it was deleted."""
        return await self._pictures.get(sha256)

    async def set_status_message(self, job_id: str, message_id: int | None) -> None:
        """Remembers the public status line; None when nothing is left to do about it."""
        await self._update("status_message_id = ?", (message_id,), job_id)

    async def begin_sending(self, job_id: str) -> datetime | None:
        """Returns when sending began before, or None; the first call sets it to now."""
        async with self._db.transaction() as tx:
            job = await _existing(tx, job_id)
            if job.sending_since is None:
                await tx.rows(
                    "UPDATE jobs SET sending_since = ? WHERE id = ?",
                    (to_text(self._clock()), job_id),
                )
        return job.sending_since

    async def mark_delivered(
        self, job_id: str, message_id: int | None, channel_id: int | None = None
    ) -> None:
        """Remembers the message with the result (None: kept for /history) and `delivered_at`."""
        await self._update(
            "result_message_id = coalesce(?, result_message_id), "
            "result_channel_id = coalesce(?, result_channel_id), delivered_at = ?",
            (message_id, channel_id, to_text(self._clock())),
            job_id,
        )

    async def _update(self, assignments: str, values: tuple[Value, ...], job_id: str) -> None:
        async with self._db.transaction() as tx:
            row = await tx.row(
                f"UPDATE jobs SET {assignments} WHERE id = ? RETURNING id", (*values, job_id)
            )
            if row is None:
                raise _unknown(job_id)

    async def _check_sources(self, tx: Transaction, submission: Submission, now: datetime) -> None:
        parent_id = submission.parent_id
        if parent_id is not None and not await tx.rows(
            "SELECT 1 FROM generations WHERE id = ?", (parent_id,)
        ):
            raise UnknownJobError("The picture that this one starts from is not known any more.")
        for sha256 in submission.request.images:
            size_bytes = await self._pictures.size(sha256)
            if size_bytes is None:
                raise UnknownJobError(
                    "The picture to start from was deleted. Attach it again, or choose another."
                )
            await add_picture(tx, sha256, size_bytes, to_text(now), is_upload=True)

    async def _release_inputs(self, job: Job) -> None:
        """Removes results that were deleted while this job waited to start from them.

        An upload stays: its next job may be on its way. `collect_garbage` removes it if not.
        """
        if job.request.images:
            await drop_unused(self._db, self._pictures, job.request.images, with_uploads=False)

    async def _write_history(
        self, tx: Transaction, job: Job, result: GenerationResult, hashes: Sequence[str]
    ) -> Job:
        now = to_text(self._clock())
        await tx.rows(
            "INSERT INTO generations"
            " (id, owner_id, parent_id, created_at, seconds, warnings, receipt)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                job.id,
                job.owner_id,
                job.submission.parent_id,
                now,
                result.seconds,
                to_json(result.warnings),
                to_json(dict(result.receipt)),
            ),
        )
        for sha256, picture in zip(hashes, result.pictures, strict=True):
            await add_picture(
                tx, sha256, len(picture.png), now, width=picture.width, height=picture.height
            )
            await tx.rows(
                "INSERT INTO generation_pictures (generation_id, number, seed, sha256, score)"
                " VALUES (?, ?, ?, ?, ?)",
                (job.id, picture.index, picture.seed, sha256, picture.score),
            )
        row = await tx.row(
            "UPDATE jobs SET state = 'rendered', finished_at = ?, error = NULL WHERE id = ?"
            " RETURNING *",
            (now, job.id),
        )
        return _job(row, job.id)


async def _check_waiting(tx: Transaction, submission: Submission, limits: Limits) -> None:
    own = await tx.rows(
        "SELECT origin, guild_id FROM jobs WHERE owner_id = ? AND state IN ('queued', 'running')",
        (submission.owner_id,),
    )
    batch = batch_of(submission.origin)
    if batch is not None:  # its own jobs do not stand in its way
        own = [row for row in own if batch_of(row["origin"]) != batch]
    count = len(own)
    if count >= limits.waiting:
        raise TooManyWaitingError(count, limits.waiting)
    if limits.here is not None and (most := limits.here.waiting) is not None:
        there = sum(row["guild_id"] == limits.here.guild_id for row in own)
        if there >= most.value:
            whose = WHOSE[most.whose]
            raise TooManyWaitingError(there, most.value, TOO_MANY_HERE, whose=whose)
    row = await tx.row("SELECT count(*) AS jobs FROM jobs WHERE state IN ('queued', 'running')")
    if row is not None and row["jobs"] >= limits.queue:
        raise QueueFullError(
            "The queue is full ({count} jobs, the limit is {limit}). Try again in a few minutes.",
            count=row["jobs"],
            limit=limits.queue,
        )


async def _insert(tx: Transaction, submission: Submission, cost: float, now: str) -> Job:
    job_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    await tx.rows(
        "INSERT INTO people (id, name, first_seen_at) VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        (submission.owner_id, submission.owner_name, now),
    )
    destination = submission.destination
    row = await tx.row(
        "INSERT INTO jobs (id, origin, owner_id, owner_name, guild_id, channel_id, private,"
        " spoiler, locale, action, parent_id, request, pins_model, cost, state, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?) RETURNING *",
        (
            job_id,
            submission.origin,
            submission.owner_id,
            submission.owner_name,
            destination.guild_id,
            destination.channel_id,
            destination.private,
            destination.spoiler,
            destination.locale,
            submission.action,
            submission.parent_id,
            request_to_json(submission.request),
            submission.pins_model,
            cost,
            now,
        ),
    )
    await tx.rows(
        "INSERT INTO job_inputs (job_id, sha256) SELECT ?, value FROM json_each(?)",
        (job_id, to_json(submission.request.images)),
    )
    return _job(row, job_id)


async def _existing(tx: Transaction, job_id: str) -> Job:
    return _job(await tx.row(_ONE, (job_id,)), job_id)


def _job(row: sqlite3.Row | None, job_id: str) -> Job:
    if row is None:
        raise _unknown(job_id)
    return job_from_row(row)


def _unknown(job_id: str) -> UnknownJobError:
    return UnknownJobError("There is no job {id!r}.", id=job_id)
