"""ZIP files of pictures with their metadata, as large as Discord takes and as many as one message takes.

They are written to files without a name, which are gone when they are closed, whatever happens.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import discord

from cogs import _parcel
from cogs._language import t
from engine.errors import UnknownJobError
from storage.pictures import PictureFiles

MAX_PARTS = 4
_MAX_PART = 25 * 2**20  # where Discord takes more, a phone would rather not
_OVERHEAD = 400  # of a file in a ZIP: both its headers, with its name
_RESERVE = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One job of an archive: `<name>.json` and its pictures beside it.

    Attributes:
        pictures: (ending of the file's name, sha256) in order.
    """

    job_id: str
    name: str
    metadata: Mapping[str, Any]
    pictures: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Archive:
    """What was packed.

    Attributes:
        files: The ZIP files, rewound.
        jobs: Entries in them.
        pictures: Pictures in them.
        last: Job id of the last entry when something was left out, otherwise None.
        shrunk: Pictures that were too large for a file of their own, and are WebP now.
        missing: Pictures that could not be read.
    """

    files: list[io.BufferedRandom] = field(default_factory=list)
    jobs: int = 0
    pictures: int = 0
    last: str | None = None
    shrunk: int = 0
    missing: int = 0

    def attachments(self, name: str) -> list[discord.File]:
        """Returns the files to send."""
        many = len(self.files) > 1
        return [
            discord.File(file, f"{name}-{number}.zip" if many else f"{name}.zip")
            for number, file in enumerate(self.files, 1)
        ]

    def close(self) -> None:
        """Closes, and so removes, the files."""
        for file in self.files:
            file.close()

    def notes(self, limit_bytes: int) -> list[str]:
        """Returns what is not as expected, a sentence each."""
        notes = []
        if self.last is not None:
            size = min(limit_bytes, _MAX_PART) / 2**20
            notes.append(
                t(
                    "Older ones are left out, since a file may have {size:.4g} MB here and a "
                    "message {count} of them: press **Next part** for these.",
                    size=size,
                    count=MAX_PARTS,
                )
            )
        if self.shrunk:
            notes.append(t("{count} too large for that became WebP files.", count=self.shrunk))
        if self.missing:
            notes.append(t("{count} could not be read from the disk.", count=self.missing))
        return notes


async def pack(
    entries: AsyncIterator[Entry],
    store: PictureFiles,
    limit_bytes: int,
    *,
    first: tuple[str, Mapping[str, Any]] | None = None,
) -> Archive:
    """Returns as many entries as fit, in their order.

    Args:
        entries: What to pack.
        store: Where the pictures are.
        limit_bytes: Of one file.
        first: Name and content of a JSON file that stands before them.
    """
    limit = min(limit_bytes, _MAX_PART) - _RESERVE
    archive = Archive()
    room = 0
    zipped: zipfile.ZipFile | None = None
    try:
        if first is not None:
            data = _json(first[1])
            zipped, room = _new_part(archive), limit - len(data) - _OVERHEAD
            await asyncio.to_thread(zipped.writestr, first[0], data, zipfile.ZIP_DEFLATED)
        last = None
        async for entry in entries:
            files = await _files_of(entry, store, limit - _OVERHEAD, archive)
            size = sum(len(data) + _OVERHEAD for _, data in files)
            if zipped is None or size > room:
                if zipped is not None:
                    await asyncio.to_thread(zipped.close)
                    zipped = None
                if len(archive.files) == MAX_PARTS:
                    archive.last = last
                    break
                zipped, room = _new_part(archive), limit
            await asyncio.to_thread(_write, zipped, files)
            room -= size
            last = entry.job_id
            archive.jobs += 1
            archive.pictures += len(files) - 1
    except BaseException:
        archive.close()
        raise
    finally:
        if zipped is not None:
            zipped.close()
    for file in archive.files:
        file.seek(0)
    return archive


async def _files_of(
    entry: Entry, store: PictureFiles, limit: int, archive: Archive
) -> list[tuple[str, bytes]]:
    # Not compressed, the metadata may be a little larger than in the file: room is never short.
    files = [(f"{entry.name}.json", _json(entry.metadata))]
    room = limit - len(files[0][1]) - _OVERHEAD
    share = room // max(len(entry.pictures), 1) - _OVERHEAD
    for ending, sha256 in entry.pictures:
        try:
            data = await store.get(sha256)
        except UnknownJobError:
            archive.missing += 1
            continue
        kind = "png"
        if len(data) > share and data.startswith(b"\x89PNG"):
            data, kind = await asyncio.to_thread(_parcel.smaller, data, share), "webp"
            archive.shrunk += 1
        files.append((f"{entry.name}{ending}.{kind}", data))
    return files


def _write(zipped: zipfile.ZipFile, files: list[tuple[str, bytes]]) -> None:
    for name, data in files:
        method = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
        zipped.writestr(name, data, method)


def _new_part(archive: Archive) -> zipfile.ZipFile:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # discord.File closes it
    archive.files.append(file)
    return zipfile.ZipFile(file, "w")


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1, default=str).encode()
