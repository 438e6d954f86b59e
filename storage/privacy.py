"""What is stored about a person: all of it for the person to have, and how it is erased.

An erasure is a row of `erasures` from the moment it was confirmed until nothing is left, so that a
kill in the middle only delays it: the next start goes on. Pictures that another person's job shows or
reads stay for that person. What those who look after the bot or a server have decided about the bare id
(blocks, limits, extra pictures) stays, or erasing would be a way round it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import dataclass
from typing import Any

from storage import audit
from storage.database import Database, Transaction
from storage.ledger import DAY, ERASED as SOMEWHERE
from storage.pictures import PictureFiles
from storage.references import drop_unused
from storage.rows import Clock, to_json, to_text, utc_now

log = logging.getLogger(__name__)

ERASED = "erased their data"
EXPORTED = "exported their data"

_AT_ONCE = 50  # jobs of one transaction: others must not wait long for the database
_MERGE_PAGES = 500
_VACUUM_BYTES = 64 * 2**20  # up to this size a vacuum takes less than a second
_VACUUM_LATER = "vacuum"


@dataclass(frozen=True, slots=True)
class Holdings:
    """How much is stored about a person."""

    jobs: int
    pictures: int
    stars: int


@dataclass(frozen=True, slots=True)
class Record:
    """One job as it is stored, for its owner to have.

    Attributes:
        values: Everything in its rows, JSON-able.
        pictures: sha256 of its pictures that are still there.
        inputs: sha256 of the pictures that it was made from.
    """

    job_id: str
    values: dict[str, Any]
    pictures: tuple[str, ...]
    inputs: tuple[str, ...]


class Privacy:
    """Exports and erases people."""

    def __init__(self, db: Database, pictures: PictureFiles, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._pictures = pictures
        self._clock = clock

    async def holdings(self, person_id: int) -> Holdings:
        """Returns how much there is."""
        row = await self._db.row(
            "SELECT (SELECT count(*) FROM jobs WHERE owner_id = ?1) AS jobs,"
            " (SELECT count(sha256) FROM generations JOIN generation_pictures"
            "  ON generation_id = generations.id WHERE owner_id = ?1) AS pictures,"
            " (SELECT count(*) FROM stars WHERE person_id = ?1) AS stars",
            (person_id,),
        )
        return Holdings(0, 0, 0) if row is None else Holdings(*row)

    async def about(self, person_id: int) -> dict[str, Any]:
        """Returns what is stored beside the jobs; JSON-able."""
        queries = {
            "person": "SELECT * FROM people WHERE id = ?",
            "charges": "SELECT * FROM charges WHERE owner_id = ? ORDER BY charged_at",
            "arrivals": "SELECT * FROM arrivals WHERE owner_id = ? ORDER BY created_at",
            "stars": "SELECT jobs.id AS picture, stars.starred_at FROM stars"
            " JOIN jobs ON jobs.number = stars.number WHERE person_id = ? ORDER BY jobs.number",
            "reports": "SELECT job_id AS picture, guild_id, channel_id, message_id, reported_at, reason"
            " FROM reports WHERE reporter_id = ? ORDER BY number",
            "poses": "SELECT name, guild_id, people, width, height, created_at FROM poses"
            " WHERE owner_id = ? ORDER BY id",
            "drafts": "SELECT id, request, private, people, hex(png) AS png_hex, created_at"
            " FROM drafts WHERE owner_id = ? ORDER BY created_at",
            "limits": "SELECT guild_id, per_minute, waiting, steps, side, count, daily"
            " FROM limit_rules WHERE kind = 'person' AND target_id = ? ORDER BY guild_id",
            "blocks": "SELECT guild_id, blocked_at FROM blocks WHERE person_id = ? ORDER BY guild_id",
            "grants": "SELECT pictures, ends_at, granted_at FROM grants"
            " WHERE person_id = ? ORDER BY number",
            "audit": "SELECT at, act, detail FROM audit WHERE actor_id = ? ORDER BY number",
        }
        found: dict[str, Any] = {"exported_at": to_text(self._clock())}
        for name, sql in queries.items():
            found[name] = [_plain(row) for row in await self._db.rows(sql, (person_id,))]
        return found

    async def records(
        self, person_id: int, *, limit: int, before: str | None = None
    ) -> list[Record]:
        """Returns the person's jobs with all that is stored of them, newest first."""
        rows = await self._db.rows(
            "SELECT jobs.*, generations.created_at AS made_at, generations.seconds,"
            " generations.warnings, generations.receipt, generations.deleted_at,"
            " (SELECT json_group_array(sha256) FROM (SELECT sha256 FROM generation_pictures"
            "  WHERE generation_id = jobs.id AND sha256 IS NOT NULL ORDER BY number)) AS pictures,"
            " (SELECT json_group_array(sha256) FROM job_inputs WHERE job_id = jobs.id) AS inputs"
            " FROM jobs INDEXED BY jobs_owner LEFT JOIN generations ON generations.id = jobs.id"
            " WHERE jobs.owner_id = ?"
            " AND jobs.number < coalesce((SELECT number FROM jobs WHERE id = ?), ?)"
            " ORDER BY jobs.number DESC LIMIT ?",
            (person_id, before, 2**62, limit),
        )
        records = []
        for row in rows:
            values = _plain(row)
            pictures, inputs = tuple(values["pictures"]), tuple(values["inputs"])
            records.append(Record(row["id"], values, pictures, inputs))
        return records

    async def note_export(self, person_id: int) -> None:
        """Writes into the audit that the person asked for everything."""
        async with self._db.transaction() as tx:
            await audit.note(tx, self._clock(), person_id, EXPORTED)

    async def begin_erasure(self, person_id: int) -> list[str]:
        """Decides it: from here on the erasure happens, whatever happens to this process.

        It covers what is stored now, and nothing that the person asks for later. Returns the jobs
        that are not final, oldest first, for the caller to cancel.
        """
        async with self._db.transaction() as tx:
            row = await tx.row("SELECT coalesce(max(number), 0) AS newest FROM jobs")
            await tx.rows(
                "INSERT INTO erasures (person_id, up_to, asked_at) VALUES (?, ?, ?)"
                " ON CONFLICT (person_id) DO UPDATE SET up_to = excluded.up_to",
                (person_id, 0 if row is None else row["newest"], self._now()),
            )
            await tx.rows("UPDATE people SET defaults = '{}' WHERE id = ?", (person_id,))
            await tx.rows(
                "INSERT INTO messages_to_delete (message_id, channel_id)"
                " SELECT message_id, json_extract(submission, '$.destination.channel_id')"
                " FROM arrivals WHERE owner_id = ? AND message_id IS NOT NULL"
                " ON CONFLICT DO NOTHING",
                (person_id,),
            )
            for table in ("arrivals", "poses", "drafts"):
                await tx.rows(f"DELETE FROM {table} WHERE owner_id = ?", (person_id,))
            waiting = await tx.rows(
                "SELECT id FROM jobs WHERE owner_id = ? AND state IN ('queued', 'running')"
                " ORDER BY number",
                (person_id,),
            )
        return [row["id"] for row in waiting]

    async def pending(self) -> list[int]:
        """Returns the people whose erasure is not finished."""
        rows = await self._db.rows("SELECT person_id FROM erasures ORDER BY asked_at")
        return [row["person_id"] for row in rows]

    async def erase(self, person_id: int) -> None:
        """Carries a begun erasure out: rows, files, words of the search, and their traces on disk.

        The person's jobs should be cancelled before; those that still run end unrecorded.
        """
        while hashes := await self._erase_some(person_id):
            await drop_unused(self._db, self._pictures, sorted(hashes - {""}))
        await self._forget_words()
        async with self._db.transaction() as tx:
            now = self._clock()
            # What was used up today stays as bare amounts, or erasing would be a way to more.
            await tx.rows(
                "DELETE FROM charges WHERE owner_id = ? AND charged_at <= ?",
                (person_id, to_text(now - DAY)),
            )
            await tx.rows(  # where it was used up as well
                "UPDATE charges SET guild_id = ?, batch = NULL"
                " WHERE owner_id = ? AND guild_id IS NOT NULL"
                " AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = charges.job_id)",
                (SOMEWHERE, person_id),
            )
            await tx.rows("DELETE FROM stars WHERE person_id = ?", (person_id,))
            await tx.rows(  # the moderators' messages have the reasons
                "UPDATE cases SET changes = changes + 1 WHERE job_id IN"
                " (SELECT job_id FROM reports WHERE reporter_id = ?)",
                (person_id,),
            )
            await tx.rows("DELETE FROM reports WHERE reporter_id = ?", (person_id,))
            await tx.rows(
                "DELETE FROM people WHERE id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM jobs WHERE owner_id = ?1)",
                (person_id,),
            )
            await tx.rows("DELETE FROM erasures WHERE person_id = ?", (person_id,))
            await audit.note(tx, now, person_id, ERASED)
            await tx.rows(
                "INSERT INTO facts (key, value) VALUES (?, '1') ON CONFLICT DO NOTHING",
                (_VACUUM_LATER,),
            )
        await self._scrub(vacuum=await self._db.size_bytes() <= _VACUUM_BYTES)
        log.info("Erased what was stored about a person")

    async def finish_interrupted(self) -> None:
        """Finishes what earlier runs began; to be called before anything else uses the database.

        What fails, on a full disk for example, waits for the next start.
        """
        try:
            for person_id in await self.pending():
                await self.erase(person_id)
            row = await self._db.row("SELECT 1 FROM facts WHERE key = ?", (_VACUUM_LATER,))
            if row is not None:
                await self._scrub(vacuum=True)
            async with self._db.transaction() as tx:  # amounts that an erasure had left
                await tx.rows(
                    "DELETE FROM charges WHERE charged_at <= ?"
                    " AND owner_id IN (SELECT actor_id FROM audit WHERE act = ?)"
                    " AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = charges.job_id)",
                    (to_text(self._clock() - DAY), ERASED),
                )
        except (sqlite3.Error, OSError) as error:
            log.error("An erasure that was interrupted is not finished: %s", error)

    async def messages_to_delete(self, limit: int) -> list[tuple[int, int]]:
        """Returns (channel id, message id) of messages whose pictures were erased here."""
        rows = await self._db.rows(
            "SELECT channel_id, message_id FROM messages_to_delete ORDER BY message_id DESC LIMIT ?",
            (limit,),
        )
        return [(row["channel_id"], row["message_id"]) for row in rows]

    async def add_message_to_delete(self, channel_id: int, message_id: int) -> None:
        """Notes a message of an erased job that was on its way when the job was erased."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "INSERT INTO messages_to_delete (message_id, channel_id) VALUES (?, ?)"
                " ON CONFLICT DO NOTHING",
                (message_id, channel_id),
            )

    async def message_deleted(self, message_id: int) -> None:
        """Forgets a message that is gone, or cannot be deleted."""
        async with self._db.transaction() as tx:
            await tx.rows("DELETE FROM messages_to_delete WHERE message_id = ?", (message_id,))

    async def _erase_some(self, person_id: int) -> set[str]:
        """Erases a few jobs, newest first; returns the pictures to look after, empty at the end."""
        async with self._db.transaction() as tx:
            rows = await tx.rows(
                "SELECT id, number, channel_id, private, status_message_id, result_message_id,"
                " result_channel_id FROM jobs INDEXED BY jobs_owner WHERE owner_id = ?1"
                " AND number <= (SELECT up_to FROM erasures WHERE person_id = ?1)"
                " ORDER BY number DESC LIMIT ?2",
                (person_id, _AT_ONCE),
            )
            if not rows:
                return set()
            ids = to_json([row["id"] for row in rows])
            numbers = to_json([row["number"] for row in rows])
            hashes = await tx.rows(
                "SELECT sha256 FROM generation_pictures"
                " WHERE generation_id IN (SELECT value FROM json_each(?1)) AND sha256 IS NOT NULL"
                " UNION SELECT sha256 FROM job_inputs"
                " WHERE job_id IN (SELECT value FROM json_each(?1))",
                (ids,),
            )
            for row in rows:
                await _note_messages(tx, row)
            await tx.rows(
                "INSERT INTO messages_to_delete (message_id, channel_id)"
                " SELECT message_id, channel_id FROM cases WHERE message_id IS NOT NULL"
                " AND job_id IN (SELECT value FROM json_each(?)) ON CONFLICT DO NOTHING",
                (ids,),
            )
            for table in ("jobs", "generations"):  # other people's, made from these
                await tx.rows(
                    f"UPDATE {table} SET parent_id = NULL"
                    " WHERE parent_id IN (SELECT value FROM json_each(?))",
                    (ids,),
                )
            for table, column, keys in (
                ("generation_pictures", "generation_id", ids),
                ("generations", "id", ids),
                ("job_inputs", "job_id", ids),
                ("stars", "number", numbers),
                ("reports", "job_id", ids),
                ("cases", "job_id", ids),
                ("jobs", "id", ids),
            ):
                await tx.rows(
                    f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",
                    (keys,),
                )
        return {"", *(str(row["sha256"]) for row in hashes)}

    async def _scrub(self, *, vacuum: bool) -> None:
        """Leaves no traces on disk; without a vacuum the next start does the rest."""
        await self._db.scrub(vacuum=vacuum)
        if vacuum:  # not before: a kill or a full disk in the middle must not leave any
            async with self._db.transaction() as tx:
                await tx.rows("DELETE FROM facts WHERE key = ?", (_VACUUM_LATER,))

    async def _forget_words(self) -> None:
        """Merges the search index, since until then it keeps the words of deleted rows."""
        pages = -_MERGE_PAGES  # negative: begin a merge of everything
        while True:
            async with self._db.transaction() as tx:
                before = await _changes(tx)
                await tx.rows(
                    "INSERT INTO generation_words (generation_words, rank) VALUES ('merge', ?)",
                    (pages,),
                )
                if await _changes(tx) - before < 2:  # as FTS5's manual says
                    return
            pages = _MERGE_PAGES

    def _now(self) -> str:
        return to_text(self._clock())


async def _note_messages(tx: Transaction, row: sqlite3.Row) -> None:
    """Notes the messages in Discord that show a job; those for its owner alone are out of reach."""
    if row["private"] and row["result_channel_id"] is None:
        return
    result_channel_id = row["result_channel_id"] or row["channel_id"]
    for message_id, channel_id in (
        (row["status_message_id"], row["channel_id"]),
        (row["result_message_id"], result_channel_id),
    ):
        if message_id is not None:
            await tx.rows(
                "INSERT INTO messages_to_delete (message_id, channel_id) VALUES (?, ?)"
                " ON CONFLICT DO NOTHING",
                (message_id, channel_id),
            )


async def _changes(tx: Transaction) -> int:
    row = await tx.row("SELECT total_changes() AS changes")
    return 0 if row is None else int(row["changes"])


_JSON_COLUMNS = {
    "request",
    "error",
    "warnings",
    "receipt",
    "pictures",
    "inputs",
    "defaults",
    "detail",
    "submission",
    "control",
    "people",
}


def _plain(row: sqlite3.Row) -> dict[str, Any]:
    """Returns the row by column, with the JSON in it as what it says."""
    return {
        name: json.loads(row[name])
        if name in _JSON_COLUMNS and isinstance(row[name], str)
        else row[name]
        for name in row.keys()  # noqa: SIM118  # iterating a Row gives values
    }
