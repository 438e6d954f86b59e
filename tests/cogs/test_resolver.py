"""Names are looked up as aiohttp does it, and without holding up the end."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp import web

from cogs._resolver import Resolver


async def test_a_name_leads_to_its_server() -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        connector = aiohttp.TCPConnector(resolver=Resolver())
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://localhost:{port}/") as response,
        ):
            assert await response.text() == f"localhost:{port}"
    finally:
        await runner.cleanup()


async def test_a_name_that_is_not_known_is_an_error() -> None:
    with pytest.raises(OSError):  # noqa: PT011 (each system has its own words)
        await Resolver().resolve("name.invalid", 443, socket.AF_UNSPEC)
