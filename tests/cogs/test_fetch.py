"""Attachments are fetched from Discord's hosts, within a budget, and never from anywhere else."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cogs._fetch import GONE, NOT_DISCORD, NOT_NOW, PACKED, Fetcher
from engine.errors import RefusedFileError

LIMIT = 100_000


class Cdn:
    """Answers as told and counts who asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.failures = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.headers.append(dict(request.headers))
        what = request.match_info["what"]
        if what == "file":
            return web.Response(body=b"a picture")
        if what == "redirect":
            return web.Response(status=302, headers={"Location": "/secret"})
        if what == "packed":
            body = gzip.compress(bytes(10_000_000))
            return web.Response(body=body, headers={"Content-Encoding": "gzip"})
        if what == "packed-unsaid":
            return web.Response(body=gzip.compress(bytes(10_000_000)))
        if what == "long":
            return web.Response(body=bytes(LIMIT + 1))
        if what == "endless":
            return await self.endless(request)
        if what == "flaky":
            self.failures += 1
            return web.Response(status=503) if self.failures < 3 else web.Response(body=b"at last")
        if what == "cut":
            return await self.cut(request)
        if what == "silent":
            await asyncio.sleep(3600)
        return web.Response(status=int(what))

    async def endless(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:  # ends when the other side has hung up
            await answer.write(bytes(10_000))

    async def cut(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "500"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return answer


@pytest.fixture
async def cdn() -> AsyncIterator[tuple[Cdn, str]]:
    served = Cdn()
    app = web.Application()
    app.router.add_get("/{what}", served.serve)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    yield served, f"http://127.0.0.1:{server.port}"
    await server.close()


def fetcher(base: str, **options: Any) -> Fetcher:
    hosts = ["cdn.discordapp.com", base.removeprefix("http://")]
    return Fetcher(hosts=hosts, max_bytes=LIMIT, pauses_s=(0.01, 0.01), **options)


async def refusal(fetching: Fetcher, address: str) -> str:
    with pytest.raises(RefusedFileError) as refused:
        await fetching.fetch(address)
    return str(refused.value)


async def test_a_file_comes_as_it_is(cdn: tuple[Cdn, str]) -> None:
    served, base = cdn
    async with fetcher(base) as fetching:
        assert await fetching.fetch(f"{base}/file?ex=1&hm=2") == b"a picture"
        packed = await fetching.fetch(f"{base}/packed-unsaid")
    assert packed.startswith(b"\x1f\x8b")
    assert len(packed) < LIMIT
    assert served.headers[0]["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization"} & served.headers[0].keys()


async def test_what_discord_does_not_give_is_said(cdn: tuple[Cdn, str]) -> None:
    served, base = cdn
    words = {
        "404": GONE, "403": GONE, "410": GONE, "redirect": GONE, "packed": PACKED,
        "204": NOT_NOW, "500": NOT_NOW, "429": NOT_NOW, "cut": NOT_NOW,
    }  # fmt: skip
    async with fetcher(base) as fetching:
        for what, sentence in words.items():
            assert await refusal(fetching, f"{base}/{what}") == sentence, what
        assert served.asked.count("/500") == 3
        assert served.asked.count("/404") == 1
        assert "/secret" not in served.asked
        assert await fetching.fetch(f"{base}/flaky") == b"at last"


async def test_a_file_is_never_larger_than_the_limit(cdn: tuple[Cdn, str]) -> None:
    _, base = cdn
    async with fetcher(base) as fetching:
        for what in ("long", "endless"):
            assert "at most 0.1 MiB are read" in await refusal(fetching, f"{base}/{what}")
        with pytest.raises(RefusedFileError, match="has 2"):
            fetching.check(f"{base}/file", size=2 * 2**20)


async def test_a_silent_host_is_given_up(cdn: tuple[Cdn, str]) -> None:
    _, base = cdn
    async with fetcher(base, deadline_s=0.2) as fetching:
        assert await refusal(fetching, f"{base}/silent") == NOT_NOW


ELSEWHERE = [
    "https://example.com/a.png",
    "https://cdn.discordapp.com.example.com/a.png",
    "https://cdn.discordapp.com@example.com/a.png",
    "https://person:word@cdn.discordapp.com/a.png",
    "https://cdn.discordapp.com:8443/a.png",
    "http://cdn.discordapp.com/a.png",
    "ftp://cdn.discordapp.com/a.png",
    "file:///etc/passwd",
    "http://localhost/a.png",
    "http://127.0.0.1/a.png",
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]/a.png",
    "//cdn.discordapp.com/a.png",
    "cdn.discordapp.com/a.png",
    "https://",
    "https://cdn.discordapp.com:port/a.png",
    "",
]


@pytest.mark.parametrize("address", ELSEWHERE)
async def test_other_hosts_are_never_asked(cdn: tuple[Cdn, str], address: str) -> None:
    served, base = cdn
    async with fetcher(base) as fetching:
        assert await refusal(fetching, address) == NOT_DISCORD
        fetching.check("https://CDN.discordapp.com/attachments/1/2/a.png?ex=1")
        fetching.check("https://cdn.discordapp.com:443/attachments/1/2/a.png")
    assert not served.asked
