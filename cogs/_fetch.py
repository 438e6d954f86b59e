"""Fetches the files that people attach: from Discord's own hosts and from nowhere else.

No redirect is followed and nothing is unpacked, so a link cannot lead into the operator's network and
a small answer cannot become a large one. What the file is, `engine.intake` finds out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import BinaryIO

import aiohttp
import yarl

from cogs._resolver import Resolver
from engine.errors import RefusedFileError
from engine.words import N_

log = logging.getLogger(__name__)

_MIB = 2**20
_CHUNK = 64 * 1024
_GONE = (401, 403, 404, 410)
_NETWORK = (aiohttp.ClientError, OSError)

NOT_DISCORD = N_("Only files that were uploaded to Discord are fetched. Attach the file itself.")
GONE = N_(
    "Discord does not have the file any more: its link has expired, or it was deleted. "
    "Attach it again."
)
NOT_NOW = N_("Discord does not hand out the file at the moment. Try again in a minute.")
TOO_LARGE = N_("The file has {size:.1f} MiB, at most {limit:g} MiB are read. Make it smaller.")
NO_ROOM = N_(
    "There is no room on the disk of this bot for the file. Its operator has to make some."
)
PACKED = N_("The file came packed, which is not read. Attach it again, as the file itself.")


class Fetcher:
    """Fetches attachments; close it at the end."""

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        max_bytes: int,
        deadline_s: float = 30.0,
        pauses_s: Sequence[float] = (0.5, 2.0),
        at_once: int = 4,
    ) -> None:
        """Connects nothing yet.

        Args:
            hosts: "host" or "host:port", the only ones.
            max_bytes: Of one file.
            deadline_s: For one file, all tries together.
            pauses_s: Before each new try after trouble that may pass.
            at_once: Files at the same time, each of which may fill its budget of memory.
        """
        self._hosts = {host.casefold() for host in hosts}
        self._max_bytes = max_bytes
        self._deadline_s = deadline_s
        self._pauses_s = pauses_s
        self._turns = asyncio.Semaphore(at_once)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Fetcher:
        """Has nothing to do."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    def check(self, address: str, size: int | None = None) -> None:
        """Raises RefusedFileError for what `fetch` would refuse without asking Discord."""
        self._url(address)
        if size is not None:
            self._check_size(size)

    async def fetch(self, address: str) -> bytes:
        """Returns the content of an attachment.

        Raises:
            RefusedFileError: It is not fetched; the message says why.
        """
        content = bytearray()

        async def begin() -> None:
            content.clear()

        async def add(chunk: bytes) -> None:
            content.extend(chunk)

        await self._try(address, begin, add)
        return bytes(content)

    async def fetch_to(self, address: str, file: BinaryIO) -> None:
        """Writes the content of an attachment into a file, which is empty but for it afterwards.

        Raises:
            RefusedFileError: It is not fetched, or there is no room for it; the message says why.
        """

        async def begin() -> None:
            await asyncio.to_thread(_empty, file)

        async def add(chunk: bytes) -> None:
            try:
                await asyncio.to_thread(file.write, chunk)
            except OSError as error:
                log.error("An attachment cannot be stored: %s", error)
                raise RefusedFileError(NO_ROOM) from error

        await self._try(address, begin, add)

    async def _try(
        self,
        address: str,
        begin: Callable[[], Awaitable[None]],
        add: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Hands the content over in chunks; a new try begins anew."""
        url = self._url(address)
        try:
            async with self._turns, asyncio.timeout(self._deadline_s):
                for pause in self._pauses_s:
                    try:
                        return await self._get(url, begin, add)
                    except _NETWORK as error:
                        log.info("An attachment is not fetched yet: %r", error)
                    await asyncio.sleep(pause)
                return await self._get(url, begin, add)
        except TimeoutError as error:
            log.warning("An attachment took longer than %g s", self._deadline_s)
            raise RefusedFileError(NOT_NOW) from error
        except _NETWORK as error:
            log.warning("An attachment cannot be fetched: %r", error)
            raise RefusedFileError(NOT_NOW) from error

    async def _get(
        self,
        url: yarl.URL,
        begin: Callable[[], Awaitable[None]],
        add: Callable[[bytes], Awaitable[None]],
    ) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=Resolver()),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=self._deadline_s),  # aiohttp's own is 5 minutes
            )
        await begin()
        headers = {"Accept-Encoding": "identity"}
        async with self._session.get(url, allow_redirects=False, headers=headers) as answer:
            if answer.status in _GONE or 300 <= answer.status < 400:
                raise RefusedFileError(GONE)
            answer.raise_for_status()
            if answer.status != 200:
                raise RefusedFileError(NOT_NOW)
            if answer.headers.get("Content-Encoding", "identity").strip().casefold() != "identity":
                raise RefusedFileError(PACKED)
            if answer.content_length is not None:
                self._check_size(answer.content_length)
            size = 0
            async for chunk in answer.content.iter_chunked(_CHUNK):
                size += len(chunk)
                self._check_size(size)
                await add(chunk)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise RefusedFileError(
                TOO_LARGE, size=size / _MIB, limit=round(self._max_bytes / _MIB, 1)
            )

    def _url(self, address: str) -> yarl.URL:
        """Returns the address when it is one of Discord's files."""
        try:
            url = yarl.URL(address)
            host = (url.host or "").casefold()
            names = (
                {host, f"{host}:{url.port}"} if url.is_default_port() else {f"{host}:{url.port}"}
            )
        except ValueError as error:
            raise RefusedFileError(NOT_DISCORD) from error
        is_safe = url.scheme == "https" or (url.scheme == "http" and _is_this_machine(host))
        if not host or not is_safe or not names & self._hosts or url.user or url.password:
            raise RefusedFileError(NOT_DISCORD)
        return url


def _is_this_machine(host: str) -> bool:
    """True for an address of this machine's own, which only an operator's setting can allow."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()
