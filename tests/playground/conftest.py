"""Fixtures: a loopback Discord with one server, and real bots that connect to it."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from playground import Playground
from tests.playground.client import Bot, Rest, Scene, Start, point


@pytest.fixture
def options() -> dict[str, object]:
    """How to make the loopback; a test module may override it."""
    return {"rate_limits": None}


@pytest.fixture
async def scene(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    async with Playground(**options) as server:
        point(monkeypatch, server)
        guild = server.guild("Studio")
        channel = guild.channel("art")
        yield Scene(server, guild, channel, guild.member("Ana"), guild.member("Ben"))


@pytest.fixture
async def start(scene: Scene) -> AsyncIterator[Start]:
    """Starts bots and closes them before the server goes."""
    running: list[Bot] = []

    async def run(bot: Bot | None = None, *, sync: bool = True) -> Bot:
        bot = bot or Bot()
        # discord.py waits this long after the last GUILD_CREATE before it says "ready".
        bot._connection.guild_ready_timeout = 0.05
        await bot.login(scene.discord.token)
        if sync and bot.tree.get_commands():
            await bot.tree.sync()
        bot.running = asyncio.create_task(bot.connect())
        running.append(bot)
        async with asyncio.timeout(10):
            await bot.wait_until_ready()
        return bot

    yield run
    for bot in running:
        await bot.close()
        if bot.running is not None:
            await asyncio.gather(bot.running, return_exceptions=True)


@pytest.fixture
async def rest(scene: Scene) -> AsyncIterator[Rest]:
    async with aiohttp.ClientSession() as session:
        yield Rest(scene.discord, session)


@pytest.fixture
def png() -> bytes:
    """A picture 3 wide and 2 high."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(2 * (1 + 3 * 3)))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
