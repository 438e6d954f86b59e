"""The real discord.py client that the tests drive the loopback with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from discord.ext import commands

from playground import ChannelHandle, GuildHandle, Person, Playground


@dataclass
class Scene:
    """One server with one channel and two people."""

    discord: Playground
    guild: GuildHandle
    channel: ChannelHandle
    ana: Person
    ben: Person


class Bot(commands.AutoShardedBot):
    """A bot whose re-identify does not wait five seconds, and which tells what it hears."""

    def __init__(self, **options: object) -> None:
        options.setdefault("intents", discord.Intents(guilds=True, messages=True))
        super().__init__(command_prefix=commands.when_mentioned, help_command=None, **options)
        self.heard: asyncio.Queue[discord.Message] = asyncio.Queue()
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.running: asyncio.Task[None] | None = None

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Skips discord.py's pause between identifies."""

    async def on_message(self, message: discord.Message) -> None:
        if self.user is not None and message.author.id != self.user.id:
            self.heard.put_nowait(message)

    async def on_shard_resumed(self, shard_id: int) -> None:
        self.events.put_nowait("resumed")

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self.events.put_nowait("joined")

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        self.events.put_nowait("left")

    async def on_shard_connect(self, shard_id: int) -> None:
        self.events.put_nowait("connected")


Start = Callable[..., Awaitable[Bot]]


def point(patch: pytest.MonkeyPatch, server: Playground) -> None:
    """Points this process's discord.py at the loopback."""
    patch.setattr(discord.http.Route, "BASE", server.api_base)
    patch.setattr(discord.Asset, "BASE", server.cdn_base)
    gateway = yarl.URL(server.gateway_url)
    patch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)


class Rest:
    """Bare requests with the bot's token, for what discord.py would refuse to send."""

    def __init__(self, server: Playground, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session

    async def __call__(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        headers = {"Authorization": f"Bot {token or self._server.token}"}
        url = self._server.api_base + path
        async with self._session.request(method, url, json=body, headers=headers) as response:
            if response.content_type == "application/json":
                return response.status, await response.json(), response.headers
            return response.status, await response.text(), response.headers
