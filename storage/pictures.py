"""Picture files, named by the sha256 of their content, so that equal pictures are one file.

A file is complete or not there: it is written beside its place, flushed to disk and renamed. Which
rows use a file is the subject of `storage.references`.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from engine.errors import UnknownJobError
from engine.words import N_

log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GONE = N_("The picture is not there any more. It may have been deleted.")
_temporary_numbers = itertools.count()


class PictureFiles:
    """The folder of picture files: `<root>/ab/ab12...`."""

    def __init__(self, root: Path) -> None:
        """Makes the folder with the first picture."""
        self._root = root
        self._removing = asyncio.Lock()
        self._pins: Counter[str] = Counter()

    async def put(self, data: bytes) -> str:
        """Returns the sha256 once the bytes are safely on disk."""
        sha256 = await asyncio.to_thread(sha256_of, data)
        async with self.pinned([sha256]):
            await asyncio.to_thread(self._write, sha256, data)
        return sha256

    async def get(self, sha256: str) -> bytes:
        """Returns the bytes. Raises UnknownJobError when they are not there, or not these any more."""
        return await asyncio.to_thread(self._read, sha256)

    async def size(self, sha256: str) -> int | None:
        """Returns the bytes of the file, or None when there is none."""
        return await asyncio.to_thread(self._size, sha256)

    async def delete(self, sha256: str) -> None:
        """Removes the file, if it is there, whoever uses it: see `references.drop_unused`."""
        await asyncio.to_thread(self._path(sha256).unlink, missing_ok=True)

    @asynccontextmanager
    async def pinned(self, hashes: Iterable[str]) -> AsyncIterator[None]:
        """Keeps files from being removed between `put` and the commit of the row that uses them."""
        hashes = list(hashes)
        async with self._removing:
            self._pins.update(hashes)
        try:
            yield
        finally:
            self._pins.subtract(hashes)
            for sha256 in hashes:
                if self._pins[sha256] <= 0:
                    del self._pins[sha256]

    @asynccontextmanager
    async def removable(self, hashes: Iterable[str]) -> AsyncIterator[list[str]]:
        """Yields those of the hashes that nobody has pinned; until the end nobody can."""
        async with self._removing:
            yield [sha256 for sha256 in hashes if sha256 not in self._pins]

    async def names(self, first_digit: str) -> set[str]:
        """Returns the file names that begin with a hex digit, unfinished files (`*.tmp`) too."""
        return await asyncio.to_thread(self._names, first_digit)

    async def remove_names(self, names: Iterable[str]) -> None:
        """Removes files by name, as `names` gave them."""
        await asyncio.to_thread(self._remove_names, names)

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):  # it may come from a button or a link
            raise UnknownJobError(_GONE)
        return self._root / sha256[:2] / sha256

    def _names(self, first_digit: str) -> set[str]:
        return {path.name for path in self._root.glob(f"{first_digit}[0-9a-f]/*")}

    def _remove_names(self, names: Iterable[str]) -> None:
        for name in names:
            (self._root / name[:2] / name).unlink(missing_ok=True)

    def _size(self, sha256: str) -> int | None:
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def _write(self, sha256: str, data: bytes) -> None:
        path = self._path(sha256)
        with suppress(UnknownJobError):  # missing, or damaged: then this mends it
            self._read(sha256)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f"{sha256}.{next(_temporary_numbers)}.tmp")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        for folder in (path.parent, self._root):
            _sync_folder(folder)

    def _read(self, sha256: str) -> bytes:
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise UnknownJobError(_GONE) from error
        if sha256_of(data) != sha256:
            log.error("Picture %s is damaged on disk (%d bytes)", sha256, len(data))
            raise UnknownJobError("The picture's file is damaged and cannot be shown.")
        return data


def sha256_of(data: bytes) -> str:
    """Returns the name of a content: 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Puts the name of a renamed file on disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
