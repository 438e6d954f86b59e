"""The registry of LoRAs: a row and a file, named by the sha256 of its content, for each."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

from engine.errors import InvalidRequestError, UnknownAdapterError
from engine.types import AdapterWeight, InstalledAdapter
from storage.database import Database
from storage.rows import Clock, to_json, to_text, to_time, utc_now

FOLDER = "adapters"
MAX_NAME_LENGTH = 50  # characters; an option's choice in Discord takes 100
_BLOCK_BYTES = 1 << 20


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
    ) -> InstalledAdapter:
        """Copies a file that was checked before, and registers it.

        A file that is registered already is returned as it is.

        Raises:
            InvalidRequestError: The name is empty, too long or taken, or the weight out of range.
            OSError: The file cannot be read, or the disk is full.
        """
        name = " ".join(name.split())
        if not 1 <= len(name) <= MAX_NAME_LENGTH:
            raise InvalidRequestError(
                f"The name {name!r} has {len(name)} characters. Choose one of 1 to {MAX_NAME_LENGTH}."
            )
        AdapterWeight("", default_weight)  # raises when it is out of range
        sha256, size = await asyncio.to_thread(_copy, source, self._data_dir / FOLDER)
        try:
            async with self._db.transaction() as tx:
                await tx.rows(
                    "INSERT INTO adapters (sha256, name, path, trigger_words, default_weight, family,"
                    " enabled, added_by, size_bytes, added_at) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?)"
                    " ON CONFLICT (sha256) DO NOTHING",
                    (
                        sha256,
                        name,
                        f"{FOLDER}/{sha256}.safetensors",
                        to_json(list(trigger_words)),
                        default_weight,
                        family,
                        added_by,
                        size,
                        to_text(self._clock()),
                    ),
                )
        except sqlite3.IntegrityError as error:
            if not await self._db.rows("SELECT 1 FROM adapters WHERE sha256 = ?", (sha256,)):
                await asyncio.to_thread(self._file(sha256).unlink, missing_ok=True)
            raise InvalidRequestError(
                f"There is a style {name!r} already. Choose another name."
            ) from error
        return await self.get(sha256)

    async def get(self, sha256: str) -> InstalledAdapter:
        """Returns a LoRA, also a disabled one. Raises UnknownAdapterError."""
        return _one(await self._db.rows("SELECT * FROM adapters WHERE sha256 = ?", (sha256,)))

    async def find(self, name: str) -> InstalledAdapter:
        """Returns the LoRA of that name, whatever its case. Raises UnknownAdapterError."""
        name = " ".join(name.split())
        return _one(await self._db.rows("SELECT * FROM adapters WHERE name = ?", (name,)))

    async def all(
        self, family: str | None = None, *, with_disabled: bool = False
    ) -> list[InstalledAdapter]:
        """Returns the LoRAs by name, those of one family of base models or all."""
        rows = await self._db.rows(
            "SELECT * FROM adapters WHERE coalesce(family = ?, 1) AND (enabled OR ?) ORDER BY name",
            (family, with_disabled),
        )
        return [_from_row(row) for row in rows]

    async def set_enabled(self, sha256: str, enabled: bool) -> InstalledAdapter:
        """Lets people use a LoRA, or not. Raises UnknownAdapterError."""
        async with self._db.transaction() as tx:
            return _one(
                await tx.rows(
                    "UPDATE adapters SET enabled = ? WHERE sha256 = ? RETURNING *",
                    (enabled, sha256),
                )
            )

    async def remove(self, sha256: str) -> InstalledAdapter:
        """Removes row and file; jobs that wait for it will fail. Raises UnknownAdapterError."""
        async with self._db.transaction() as tx:
            removed = _one(
                await tx.rows("DELETE FROM adapters WHERE sha256 = ? RETURNING *", (sha256,))
            )
        await asyncio.to_thread(self._file(sha256).unlink, missing_ok=True)
        return removed

    def _file(self, sha256: str) -> Path:
        return self._data_dir / FOLDER / f"{sha256}.safetensors"


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
    )


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
