"""The registry of LoRAs: a row and a file, named by the sha256 of its content, for each."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sqlite3
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from engine.errors import InvalidRequestError, UnknownAdapterError
from engine.types import AdapterWeight, InstalledAdapter
from engine.words import N_
from storage import audit
from storage.database import Database, Transaction
from storage.rows import Clock, to_json, to_text, to_time, utc_now

log = logging.getLogger(__name__)

FOLDER = "adapters"
MAX_NAME_LENGTH = 50  # characters; an option's choice in Discord takes 100
MAX_FORMER_NAMES = 10
_BLOCK_BYTES = 1 << 20

ADDED = "added a style"
REMOVED = "removed a style"
EDITED = "edited a style"
ENABLED = "enabled a style in a server"
DISABLED = "disabled a style in a server"

TAKEN = N_("There is a style {name!r} already. Choose another name.")


class AdapterTable:
    """LoRAs with their files in `<data directory>/adapters/`. Every method is one transaction."""

    def __init__(self, db: Database, data_dir: Path, *, clock: Clock = utc_now) -> None:
        """Makes the folder with the first file; takes the clock as an argument for the tests."""
        self._db = db
        self._data_dir = data_dir
        self._clock = clock

    async def add(
        self,
        source: Path,
        name: str,
        *,
        trigger_words: Sequence[str] = (),
        default_weight: float = 1.0,
        family: str,
        added_by: int = 0,
        description: str = "",
        stamp: str | None = None,
        expected: str | None = None,
        replaces: str | None = None,
    ) -> InstalledAdapter:
        """Copies a file that was checked before, and registers it.

        A file that is registered already is returned as it is; one that was gone is back with what
        is given now. Added by a person, it is written into the audit.

        Args:
            source: The file.
            name: For people.
            trigger_words: See `InstalledAdapter`, like the others.
            default_weight: The same.
            family: The same.
            added_by: The same.
            description: The same.
            stamp: Given when changes of the file will be noticed.
            expected: sha256 of the file that was checked.
            replaces: sha256 of the style that this is a newer file of: switched off in the same servers.

        Raises:
            InvalidRequestError: The name is empty, too long or taken, the weight out of range, or the
                file is not the one that was checked.
            OSError: The file cannot be read, or the disk is full.
        """
        name = " ".join(name.split())
        if not 1 <= len(name) <= MAX_NAME_LENGTH:
            raise InvalidRequestError(
                "The name {name!r} has {count} characters. Choose one of 1 to {limit}.",
                name=name,
                count=len(name),
                limit=MAX_NAME_LENGTH,
            )
        AdapterWeight("", default_weight)  # raises when it is out of range
        sha256, size = await asyncio.to_thread(_copy, source, self._data_dir / FOLDER)
        if expected is not None and sha256 != expected:
            await self._drop_stray(sha256)
            raise InvalidRequestError("The file was changed while it was read. Try again.")
        try:
            async with self._db.transaction() as tx:
                now = self._clock()
                added = await tx.rows(
                    "INSERT INTO adapters (sha256, name, path, trigger_words, default_weight, family,"
                    " enabled, added_by, size_bytes, added_at, description, source, stamp)"
                    " VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (sha256) DO UPDATE SET name = excluded.name,"
                    " trigger_words = excluded.trigger_words, family = excluded.family,"
                    " default_weight = excluded.default_weight, added_by = excluded.added_by,"
                    " added_at = excluded.added_at, description = excluded.description,"
                    " source = excluded.source, stamp = excluded.stamp, gone = 0, removed = 0,"
                    " former_names = '[]' WHERE gone RETURNING 1",
                    (
                        sha256,
                        name,
                        f"{FOLDER}/{sha256}.safetensors",
                        to_json(list(trigger_words)),
                        default_weight,
                        family,
                        added_by,
                        size,
                        to_text(now),
                        description,
                        "" if stamp is None else str(source),
                        stamp or "",
                    ),
                )
                if replaces is not None:
                    await tx.rows(
                        "INSERT INTO hidden_styles (guild_id, sha256)"
                        " SELECT guild_id, ? FROM hidden_styles WHERE sha256 = ?"
                        " ON CONFLICT DO NOTHING",
                        (sha256, replaces),
                    )
                if added and added_by:
                    await audit.note(tx, now, added_by, ADDED, _about(sha256, name))
        except sqlite3.IntegrityError as error:
            await self._drop_stray(sha256)
            raise InvalidRequestError(TAKEN, name=name) from error
        return await self.get(sha256)

    async def get(self, sha256: str) -> InstalledAdapter:
        """Returns a LoRA, also a disabled one. Raises UnknownAdapterError."""
        return _one(await self._db.rows("SELECT * FROM adapters WHERE sha256 = ?", (sha256,)))

    async def find(self, name: str) -> InstalledAdapter:
        """Returns the LoRA of that name, whatever its case. Raises UnknownAdapterError."""
        name = " ".join(name.split())
        return _one(
            await self._db.rows("SELECT * FROM adapters WHERE name = ? AND NOT gone", (name,))
        )

    async def all(
        self, family: str | None = None, *, with_disabled: bool = False
    ) -> list[InstalledAdapter]:
        """Returns the LoRAs by name, those of one family of base models or all; none that is gone."""
        rows = await self._db.rows(
            "SELECT * FROM adapters WHERE coalesce(family = ?, 1) AND (enabled OR ?) AND NOT gone"
            " ORDER BY name",
            (family, with_disabled),
        )
        return [_from_row(row) for row in rows]

    async def known(self) -> list[InstalledAdapter]:
        """Returns every LoRA by name, also those that are disabled or gone."""
        return [
            _from_row(row) for row in await self._db.rows("SELECT * FROM adapters ORDER BY name")
        ]

    async def set_source(self, sha256: str, source: str, stamp: str) -> None:
        """Notes where the file of a LoRA is now."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "UPDATE adapters SET source = ?, stamp = ? WHERE sha256 = ?",
                (source, stamp, sha256),
            )

    async def set_gone(self, sha256: str) -> None:
        """Notes that a LoRA's file was removed or replaced.

        Our copy stays: jobs that were accepted with it are still to be made.
        """
        async with self._db.transaction() as tx:
            await tx.rows("UPDATE adapters SET gone = 1 WHERE sha256 = ?", (sha256,))

    async def edit(
        self,
        sha256: str,
        *,
        name: str,
        trigger_words: Sequence[str],
        default_weight: float,
        actor_id: int,
    ) -> InstalledAdapter:
        """Changes what a style is called, what calls it and how strong it is; jobs are not touched.

        Raises:
            UnknownAdapterError: There is none.
            InvalidRequestError: The name is taken.
        """
        async with self._db.transaction() as tx:
            before = _one(await _row(tx, sha256))
            former = [one for one in (*before.former_names, before.name) if one != name]
            if name == before.name:
                former = list(before.former_names)
            detail = _about(sha256, name) | {"was": before.name, "weight": default_weight}
            await audit.note(tx, self._clock(), actor_id, EDITED, detail)
            try:
                await tx.rows(
                    "UPDATE adapters SET name = ?, former_names = ?, trigger_words = ?,"
                    " default_weight = ? WHERE sha256 = ?",
                    (
                        name,
                        to_json(former[-MAX_FORMER_NAMES:]),
                        to_json(list(trigger_words)),
                        default_weight,
                        sha256,
                    ),
                )
            except sqlite3.IntegrityError as error:
                raise InvalidRequestError(TAKEN, name=name) from error
            return _one(await _row(tx, sha256))

    async def remove(self, sha256: str, *, actor_id: int) -> InstalledAdapter:
        """Notes that an owner removed a style, like `set_gone`. Raises UnknownAdapterError."""
        async with self._db.transaction() as tx:
            removed = _one(
                await tx.rows(
                    "UPDATE adapters SET gone = 1, removed = 1 WHERE sha256 = ? AND NOT gone"
                    " RETURNING *",
                    (sha256,),
                )
            )
            await tx.rows("DELETE FROM adapter_previews WHERE sha256 = ?", (sha256,))
            await audit.note(tx, self._clock(), actor_id, REMOVED, _about(sha256, removed.name))
            return removed

    async def hidden(self) -> dict[int, frozenset[str]]:
        """Returns the styles that are switched off, by server."""
        found: dict[int, set[str]] = {}
        for row in await self._db.rows("SELECT guild_id, sha256 FROM hidden_styles"):
            found.setdefault(row["guild_id"], set()).add(row["sha256"])
        return {guild_id: frozenset(hashes) for guild_id, hashes in found.items()}

    async def set_hidden(self, guild_id: int, sha256: str, hidden: bool, *, actor_id: int) -> None:
        """Switches a style off or on in one server. Raises UnknownAdapterError."""
        async with self._db.transaction() as tx:
            style = _one(await _row(tx, sha256))
            if hidden:
                await tx.rows(
                    "INSERT INTO hidden_styles (guild_id, sha256) VALUES (?, ?)"
                    " ON CONFLICT DO NOTHING",
                    (guild_id, sha256),
                )
            else:
                await tx.rows(
                    "DELETE FROM hidden_styles WHERE guild_id = ? AND sha256 = ?",
                    (guild_id, sha256),
                )
            detail = _about(sha256, style.name) | {"guild_id": guild_id}
            act = DISABLED if hidden else ENABLED
            await audit.note(tx, self._clock(), actor_id, act, detail)

    async def drop_unused(self, *, keep: Collection[str] = ()) -> int:
        """Removes our copies of what is gone, but those that an accepted job still needs.

        Args:
            keep: sha256 of more that stay for now: a job may be just about to be accepted with them.

        Returns how many; the rows stay, so that history knows the names.
        """
        rows = await self._db.rows(
            "SELECT sha256 FROM adapters WHERE gone"
            " AND NOT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_waiting"
            " WHERE state IN ('queued', 'running') AND instr(request, sha256))"
            " AND NOT EXISTS (SELECT 1 FROM arrivals WHERE instr(submission, sha256))"
        )
        removed = 0
        for row in rows:
            file = self._file(row["sha256"])
            if row["sha256"] not in keep and await asyncio.to_thread(file.exists):
                await asyncio.to_thread(file.unlink, missing_ok=True)
                removed += 1
        return removed

    async def set_preview(self, sha256: str, png: bytes | None) -> None:
        """Stores a small picture of what the LoRA does; None removes it."""
        async with self._db.transaction() as tx:
            await tx.rows("DELETE FROM adapter_previews WHERE sha256 = ?", (sha256,))
            if png is not None:
                await tx.rows("INSERT INTO adapter_previews VALUES (?, ?)", (sha256, png))

    async def preview(self, sha256: str) -> bytes | None:
        """Returns the small picture, PNG, when there is one."""
        row = await self._db.row("SELECT png FROM adapter_previews WHERE sha256 = ?", (sha256,))
        return None if row is None else row["png"]

    async def set_enabled(self, sha256: str, enabled: bool) -> InstalledAdapter:
        """Lets people use a LoRA, or not. Raises UnknownAdapterError."""
        async with self._db.transaction() as tx:
            return _one(
                await tx.rows(
                    "UPDATE adapters SET enabled = ? WHERE sha256 = ? RETURNING *",
                    (enabled, sha256),
                )
            )

    async def collect_garbage(self) -> None:
        """Removes files that a killed process left half copied, or without a row.

        To be called after opening, before anything is added.
        """
        rows = await self._db.rows("SELECT sha256 FROM adapters")
        known = {self._file(row["sha256"]).name for row in rows}
        folder = self._data_dir / FOLDER
        try:
            removed = await asyncio.to_thread(_remove_all_but, folder, known)
        except OSError as error:
            log.error("LoRAs that an interrupted run left behind are not removed: %s", error)
            return
        if removed:
            log.info("Removed %d LoRA files that an interrupted run left behind", removed)

    async def _drop_stray(self, sha256: str) -> None:
        if not await self._db.rows("SELECT 1 FROM adapters WHERE sha256 = ?", (sha256,)):
            await asyncio.to_thread(self._file(sha256).unlink, missing_ok=True)

    def _file(self, sha256: str) -> Path:
        return self._data_dir / FOLDER / f"{sha256}.safetensors"


async def _row(tx: Transaction, sha256: str) -> Sequence[sqlite3.Row]:
    return await tx.rows("SELECT * FROM adapters WHERE sha256 = ?", (sha256,))


def _about(sha256: str, name: str) -> dict[str, Any]:
    return {"sha256": sha256, "name": name}


def _one(rows: Sequence[sqlite3.Row]) -> InstalledAdapter:
    if not rows:
        raise UnknownAdapterError("There is no such style (any more).")
    return _from_row(rows[0])


def _from_row(row: sqlite3.Row) -> InstalledAdapter:
    return InstalledAdapter(
        sha256=row["sha256"],
        name=row["name"],
        trigger_words=tuple(json.loads(row["trigger_words"])),
        default_weight=row["default_weight"],
        family=row["family"],
        enabled=bool(row["enabled"]),
        added_by=row["added_by"],
        size_bytes=row["size_bytes"],
        added_at=to_time(row["added_at"]),
        description=row["description"],
        source=row["source"],
        stamp=row["stamp"],
        is_gone=bool(row["gone"]),
        is_removed=bool(row["removed"]),
        former_names=tuple(json.loads(row["former_names"])),
    )


def _remove_all_but(folder: Path, names: Collection[str]) -> int:
    strangers = [path for path in folder.glob("*") if path.is_file() and path.name not in names]
    for path in strangers:
        path.unlink()
    return len(strangers)


def _copy(source: Path, folder: Path) -> tuple[str, int]:
    """Copies a file into the folder under its sha256, complete or not at all; returns that and its size."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    with (
        source.open("rb") as reader,
        tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as writer,
    ):
        temporary = Path(writer.name)
        try:
            while block := reader.read(_BLOCK_BYTES):
                digest.update(block)
                size += writer.write(block)
            writer.flush()
            os.fsync(writer.fileno())
            temporary.replace(folder / f"{digest.hexdigest()}.safetensors")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return digest.hexdigest(), size
