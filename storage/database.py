"""The one SQLite connection of Easel: locked data directory, transactions, orderly closing.

SQLite before 3.51.3 can corrupt a WAL database that is written through two connections, so there
is one connection in one process: an exclusive `flock` keeps a second Easel out, and SQLite's own
exclusive locking mode keeps everybody else out ("database is locked") while Easel runs.

`synchronous=NORMAL` in WAL mode: a committed transaction is with the operating system and survives
`kill -9` at any point. A power cut may lose the last moments before it (never the file's
soundness); `FULL` would cost a flush of the disk before every acknowledgement.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from engine.errors import (
    DatabaseDamagedError,
    DatabaseVersionError,
    DataDirectoryError,
    StartError,
)
from storage.migrate import MIGRATIONS, migrate, newest_version
from storage.search import search_text

log = logging.getLogger(__name__)

T = TypeVar("T")
Value = str | int | float | bytes | None

DATABASE_NAME = "easel.db"
LOCK_NAME = "easel.lock"
_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
_LOG_PAGES = 1000  # SQLite's own choice of when the log is emptied into the file
_LOG_BYTES = 8 * 2**20  # what the log keeps of the disk when it had to grow, as during a backup
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
_PASSING = frozenset({
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
})  # fmt: skip
_CHECK_BYTES = 64 * 2**20  # a database up to this size is checked whole at every start, in < 0.5 s


class Transaction:
    """The connection, while `Database.transaction()` holds it."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        """Is made by `Database.transaction()` only."""
        self._connection = connection

    async def rows(self, sql: str, values: Sequence[Value] = ()) -> list[sqlite3.Row]:
        """Runs one statement and returns all its rows: none for a write without RETURNING."""
        return list(await self._connection.execute_fetchall(sql, values))

    async def row(self, sql: str, values: Sequence[Value] = ()) -> sqlite3.Row | None:
        """Runs one statement and returns its first row, or None."""
        rows = await self.rows(sql, values)
        return rows[0] if rows else None


class Database:
    """One open database. Coroutines take turns: each holds it for one read or one transaction."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        """Is made by `Database.open()` only."""
        self._connection = connection
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None
        self._file = asyncio.Lock()  # who empties the log or writes the file anew, or forbids it

    @classmethod
    @asynccontextmanager
    async def open(
        cls, data_dir: Path, migrations: Path = MIGRATIONS, *, busy_timeout_s: float = 5.0
    ) -> AsyncIterator[Database]:
        """Locks the directory (made when missing), opens the database and brings it up to date.

        Raises:
            DataDirectoryError: The directory is in use by another copy, or cannot be written.
            DatabaseVersionError: A newer Easel wrote the database; it is left as it is.
            DatabaseDamagedError: The file is no sound database; it is left as it is.
            StartError: This Python's SQLite is too old.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            wanted = ".".join(map(str, _OLDEST_SQLITE))
            raise StartError(
                f"This Python has SQLite {sqlite3.sqlite_version}; Easel needs {wanted} or newer."
            )
        lock = _lock_directory(data_dir)
        try:
            async with _connect(data_dir / DATABASE_NAME, migrations, busy_timeout_s) as connection:
                yield cls(connection)
        finally:
            os.close(lock)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Holds the connection from BEGIN IMMEDIATE to COMMIT; an exception inside rolls back.

        A cancellation rolls back too, unless COMMIT was already asked for: then the transaction is
        committed before the cancellation goes on. Not re-entrant.
        """
        async with self._held() as tx:
            try:
                await tx.rows("BEGIN IMMEDIATE")
                yield tx
            except BaseException:
                # The connection's thread works in order, so this also undoes a statement whose
                # awaiting was cancelled before it ran.
                await _uninterrupted(self._connection.rollback())
                raise
            await _uninterrupted(self._commit())

    async def rows(self, sql: str, values: Sequence[Value] = ()) -> list[sqlite3.Row]:
        """Returns the rows of one SELECT, as committed."""
        async with self._held() as tx:
            return await tx.rows(sql, values)

    async def row(self, sql: str, values: Sequence[Value] = ()) -> sqlite3.Row | None:
        """Returns the first row of one SELECT, or None."""
        async with self._held() as tx:
            return await tx.row(sql, values)

    async def scrub(self, *, vacuum: bool) -> None:
        """Leaves nothing of what was deleted in the files of the database.

        Deleted rows are overwritten at once (`secure_delete`), but copies of them stay in the
        write-ahead log, which is emptied here, and now and then in pages that were split: a
        vacuum writes every page anew. It takes about a second for each 100 MB.
        """
        async with self._file, self._held() as tx:
            if vacuum:
                await tx.rows("VACUUM")
            await tx.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Keeps the database's file as it is now, complete, while everybody goes on.

        What is written meanwhile stays in the write-ahead log. So another process can copy the
        file; not this one, since closing a file gives up all locks that a process has on it.

        Raises:
            sqlite3.OperationalError: The log could not be emptied into the file.
        """
        async with self._file:
            async with self._held() as tx:
                row = await tx.row("PRAGMA wal_checkpoint(TRUNCATE)")
                if row is None or row[0]:
                    raise sqlite3.OperationalError("the log could not be emptied into the file")
                await tx.rows("PRAGMA wal_autocheckpoint = 0")
            try:
                yield
            finally:
                await _uninterrupted(self._let_move())

    async def _let_move(self) -> None:
        async with self._held() as tx:
            await tx.rows(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")

    async def size_bytes(self) -> int:
        """Returns how large the database is, without its log."""
        row = await self.row(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        )
        return 0 if row is None else int(row[0])

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[Transaction]:
        task = asyncio.current_task()
        if self._holder is not None and self._holder is task:
            raise RuntimeError("This task holds the database already: use its Transaction.")
        async with self._lock:
            self._holder = task
            try:
                yield Transaction(self._connection)
            finally:
                self._holder = None

    async def _commit(self) -> None:
        try:
            await self._connection.execute_fetchall("COMMIT")
        except BaseException:
            await self._connection.rollback()
            raise


def _lock_directory(data_dir: Path) -> int:
    """Returns the file descriptor that holds the lock; closing it, or dying, releases it."""
    hint = "Set EASEL_DATA_DIR to another folder."
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (FileExistsError, NotADirectoryError) as error:
        raise DataDirectoryError(
            f"The data directory {data_dir} is a file, or lies below one. {hint}"
        ) from error
    except OSError as error:
        raise DataDirectoryError(
            f"The data directory {data_dir} cannot be written ({error.strerror}). {hint}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        process = f" (process {owner})" if owner.isdigit() else ""
        raise DataDirectoryError(
            f"The data directory {data_dir} is in use by another Easel{process}. "
            "Stop it, or set EASEL_DATA_DIR to another folder."
        ) from error
    except OSError as error:
        os.close(lock)
        raise DataDirectoryError(
            f"The data directory {data_dir} cannot be locked ({error.strerror}). {hint}"
        ) from error
    return lock


@asynccontextmanager
async def _connect(
    path: Path, migrations: Path, busy_timeout_s: float
) -> AsyncIterator[aiosqlite.Connection]:
    connection: aiosqlite.Connection | None = None
    try:
        try:
            connection = await aiosqlite.connect(path, isolation_level=None, timeout=busy_timeout_s)
            connection.row_factory = sqlite3.Row
            await _prepare(connection, path, migrations)
        except sqlite3.Error as error:
            raise _start_error(error, path) from error
        yield connection
    finally:
        if connection is not None:  # its thread is no daemon: an open one hangs the exit
            await _uninterrupted(connection.close())


async def _prepare(connection: aiosqlite.Connection, path: Path, migrations: Path) -> None:
    async def pragma(text: str) -> Any:
        rows = list(await connection.execute_fetchall(f"PRAGMA {text}"))
        return rows[0][0] if rows else None

    await pragma("locking_mode = EXCLUSIVE")
    newest = newest_version(migrations)
    version = int(await pragma("user_version"))
    if version > newest:
        raise DatabaseVersionError(
            f"{path} was written by a newer Easel (database version {version}, this one knows "
            f"{newest}). Update Easel, or set EASEL_DATA_DIR to another folder."
        )
    size_bytes = await pragma("page_count") * await pragma("page_size")
    if size_bytes <= _CHECK_BYTES and await pragma("quick_check(1)") != "ok":
        raise _damaged(path)
    await pragma("journal_mode = WAL")
    await pragma("synchronous = NORMAL")
    await pragma(f"journal_size_limit = {_LOG_BYTES}")
    await pragma("secure_delete = ON")  # what people delete must not stay in free pages
    await connection.create_function("search_text", 1, search_text, deterministic=True)
    await migrate(connection, migrations)
    await pragma("foreign_keys = ON")


def is_passing(error: BaseException) -> bool:
    """True for trouble of the world outside that may end: a full disk, a lock, too little memory.

    Not for what another try meets again: a table that is not there, a mistake in a statement.
    """
    if isinstance(error, sqlite3.OperationalError):
        code = getattr(error, "sqlite_errorcode", None)  # None: it does not come from SQLite itself
        return code is None or code & 0xFF in _PASSING
    return isinstance(error, OSError)


def is_of_disk(error: BaseException) -> bool:
    """True for a disk that is full, broken or read-only, whether SQLite met it or we did."""
    if isinstance(error, sqlite3.OperationalError):
        return is_passing(error)
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS


def _damaged(path: Path) -> DatabaseDamagedError:
    return DatabaseDamagedError(
        f"The database {path} is damaged. Put a backup in its place, or move it away to start "
        "with an empty one."
    )


def _start_error(error: sqlite3.Error, path: Path) -> StartError:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(path)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DataDirectoryError(
                f"The database {path} is open in another program. Close it and start again."
            )
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return DataDirectoryError(
                f"The database {path} cannot be written or read ({error}). Is the disk full? "
                "Make room and start again; what is stored is as it was before."
            )
        case _:
            return DataDirectoryError(f"The database {path} cannot be used ({error}).")


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work` to its end even when the caller is cancelled, then lets the cancellation go on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("A database operation failed while its caller was cancelled", exc_info=failure)
    raise cancelled
