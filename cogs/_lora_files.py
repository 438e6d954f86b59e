"""LoRA files that the bot's owners attach: fetched from Discord into the data directory, checked, registered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from cogs._fetch import NO_ROOM, Fetcher
from engine.errors import RefusedFileError
from engine.settings import Settings
from engine.styles import Styles, Wishes
from engine.types import InstalledAdapter

log = logging.getLogger(__name__)

FOLDER = "incoming"
_MIB = 2**20
_DEADLINE_S = 600.0  # an interaction can be answered for 15 minutes
_SPARE_BYTES = 256 * _MIB  # what the database and pictures need meanwhile


class LoraFiles:
    """Takes one file after the other; close it at the end."""

    def __init__(self, *, settings: Settings, styles: Styles) -> None:
        """Connects nothing yet."""
        self._folder = settings.data_dir / FOLDER
        self._styles = styles
        self._fetcher = Fetcher(
            hosts=settings.attachment_hosts,
            max_bytes=int(settings.max_lora_mb * _MIB),
            deadline_s=_DEADLINE_S,
            at_once=1,
        )

    async def __aenter__(self) -> LoraFiles:
        """Has nothing to do."""
        await self._fetcher.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connections."""
        await self._fetcher.__aexit__(kind, error, trace)

    async def sweep(self) -> None:
        """Removes what a killed process left behind; only before the first command can come."""
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def check(self, address: str, size: int) -> None:
        """Raises RequestError for what would be refused without asking Discord for the file."""
        self._styles.check_room()
        self._fetcher.check(address, size)

    async def add(
        self, address: str, size: int, wishes: Wishes, *, called: str, actor_id: int
    ) -> InstalledAdapter:
        """Fetches an attachment of `size` bytes, called so in Discord, and registers it as a style.

        Raises:
            RequestError: It is not used; the message says why. Nothing of it stays.
        """
        try:
            await asyncio.to_thread(self._make_room, size)
            with _temporary(self._folder) as path:
                with path.open("wb") as file:
                    await self._fetcher.fetch_to(address, file)
                return await self._styles.add_sent(path, wishes, called=called, actor_id=actor_id)
        except OSError as error:
            log.error("A LoRA that was sent cannot be stored: %s", error)
            raise RefusedFileError(NO_ROOM) from error

    def _make_room(self, size: int) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It is there twice for a moment: as it came, and as the registry's own copy.
        if shutil.disk_usage(self._folder).free < 2 * size + _SPARE_BYTES:
            raise RefusedFileError(NO_ROOM)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()
