"""Backups of the database: whole, packed, checked, beside it; the newest few are kept.

The database is copied by a process of its own while everybody goes on (`Database.still`). Picture
files never change, so that a backup has their names only, and what copies `pictures/` elsewhere now
and then (rsync) completes it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import DataDirectoryError, EngineError, NotAllowedError
from engine.words import N_
from storage import backup_child
from storage.audit import note
from storage.database import DATABASE_NAME, Database
from storage.rows import Clock, utc_now

log = logging.getLogger(__name__)

MADE = "made a backup"
BUSY = N_("A backup is being made already. Wait until it is there.")
NO_ROOM = N_(
    "The backup needs {needed} MiB for a while, and the disk has {free}. Make room first, "
    "for example by purging old pictures."
)

_MARGIN_BYTES = 64 * 2**20  # that the bot itself should still have
_NOBODY = 0  # the actor of what is made unasked
_NEVER_S = float("inf")
_FIRST_S = 60.0  # after the start, which has other things to do
_AGAIN_S = 600.0
_PATTERN = "easel-%Y%m%d-%H%M%S"
_NAME = re.compile(r"easel-\d{8}-\d{6}\.db")


@dataclass(frozen=True, slots=True)
class Backup:
    """One that is complete.

    Attributes:
        file: The database; the list of its pictures lies beside it and ends in .txt.
        made_at: Its time, which is in its name.
        pictures: Picture files that it refers to; 0 when that was not looked up.
    """

    file: Path
    made_at: datetime
    size_bytes: int
    pictures: int = 0


class Backups:
    """The folder `backups` in the data directory."""

    def __init__(self, db: Database, data_dir: Path, *, keep: int, clock: Clock = utc_now) -> None:
        """Keeps the newest `keep`; takes the clock as an argument for the tests."""
        self._db = db
        self._source = data_dir / DATABASE_NAME
        self._folder = data_dir / "backups"
        self._keep = keep
        self._clock = clock
        self._making = asyncio.Lock()

    async def make(self, actor_id: int) -> Backup:
        """Returns a new one, and removes those that are too many.

        Raises:
            NotAllowedError: Another one is being made, or the disk lacks room.
            DataDirectoryError: It could not be made, or is not sound; the log says why.
        """
        if self._making.locked():
            raise NotAllowedError(BUSY)
        async with self._making:
            try:
                await self._check_room()
                backup = await self._make(self._clock())
                await asyncio.to_thread(self._remove_old)
            except (OSError, sqlite3.Error) as error:
                log.exception("The backup could not be made")
                raise DataDirectoryError("The backup could not be made.") from error
            detail = {"file": backup.file.name, "bytes": backup.size_bytes}
            async with self._db.transaction() as tx:
                await note(tx, self._clock(), actor_id, MADE, detail)
        log.info("Made the backup %s", backup.file)
        return backup

    async def run(self, every_h: float) -> None:
        """Makes one as often as that until cancelled, also counting those of before; 0: never."""
        while every_h > 0:
            newest = await self.newest()
            age_s = _NEVER_S if newest is None else self._age_s(newest)
            await asyncio.sleep(max(every_h * 3600 - age_s, _FIRST_S))
            try:
                await self.make(_NOBODY)
            except EngineError as error:
                log.error("There is no new backup: %s", error)
                await asyncio.sleep(_AGAIN_S)

    def _age_s(self, backup: Backup) -> float:
        return (self._clock() - backup.made_at).total_seconds()

    async def newest(self) -> Backup | None:
        """Returns the last one, or None."""

        def look() -> Backup | None:
            files = self._files()
            return _described(files[-1]) if files else None

        return await asyncio.to_thread(look)

    async def _check_room(self) -> None:
        size = await self._db.size_bytes()
        needed = 2 * size + _MARGIN_BYTES  # the copy, and the packed one beside it
        self._folder.mkdir(mode=0o700, exist_ok=True)
        free = (await asyncio.to_thread(shutil.disk_usage, self._folder)).free
        if free < needed:
            raise NotAllowedError(NO_ROOM, needed=needed >> 20, free=free >> 20)

    async def _make(self, now: datetime) -> Backup:
        final = self._folder / f"{now.astimezone(UTC).strftime(_PATTERN)}.db"
        part = self._folder / "unfinished.part"
        await asyncio.to_thread(self._clear)
        try:
            await self._run_child(part)
            return await asyncio.to_thread(_publish, part, final)
        finally:
            await asyncio.to_thread(self._clear)

    async def _run_child(self, part: Path) -> None:
        process = None
        try:
            async with self._db.still():
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", backup_child.__file__, self._source, part),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                assert process.stdout is not None  # a pipe
                await process.stdout.readline()
            _, complaint = await process.communicate()
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            lines = complaint.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise OSError(f"the process for it ended with {process.returncode}: {lines[-1]}")

    def _files(self) -> list[Path]:
        """Returns the backups, oldest first: their names sort by their time."""
        found = self._folder.glob("easel-*.db")
        return sorted(path for path in found if _NAME.fullmatch(path.name))

    def _remove_old(self) -> None:
        for path in self._files()[: -self._keep]:
            path.unlink()
            path.with_suffix(".txt").unlink(missing_ok=True)

    def _clear(self) -> None:
        """Removes what an interrupted one left."""
        for path in self._folder.glob("unfinished*"):
            path.unlink(missing_ok=True)


def _publish(part: Path, final: Path) -> Backup:
    """Gives the files their names: the list first, so that a database is never without one."""
    listed = part.with_suffix(".txt")
    with listed.open() as file:
        pictures = sum(1 for _ in file)
    part.chmod(0o600)
    listed.replace(final.with_suffix(".txt"))
    part.replace(final)
    folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return _described(final, pictures)


def _described(file: Path, pictures: int = 0) -> Backup:
    made_at = datetime.strptime(file.stem, _PATTERN).replace(tzinfo=UTC)
    return Backup(file, made_at, file.stat().st_size, pictures)
