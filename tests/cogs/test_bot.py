"""The bot itself: commands are synced when they changed, and it can be pointed elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path

import discord
import pytest
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from simcord.env import Env

from cogs import _bot
from engine.settings import Settings
from tests.cogs.conftest import bot_of, parts_of, settings_for, world_of

PRIVILEGED = discord.Intents(message_content=True, members=True, presences=True)


def syncs(env: Env) -> int:
    """How often the commands were sent."""
    return sum(r.method == "PUT" and r.path.endswith("/commands") for r in env.http_requests)


async def test_commands_are_sent_only_when_they_changed(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path)) as world:
        key = f"commands:{world.bot.application_id}"
        known = await world.parts.facts.get(key)
        assert known is not None
        before = syncs(world.env)
        await world.stop()
        await world.start()
        assert syncs(world.env) == before
        await world.parts.facts.set(key, "of another version")
        await world.stop()
        await world.start()
        assert syncs(world.env) == before + 1
        assert await world.parts.facts.get(key) == known


async def test_failing_sync_does_not_stop_the_bot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with parts_of(settings_for(tmp_path)) as parts:
        bot = bot_of(parts)
        env = Env(bot, strict_sync=False)
        env.inject_error("PUT", "/applications/*/commands", status=400, code=50035)
        with caplog.at_level(logging.ERROR):
            await env.start()
        try:
            assert "could not be sent" in caplog.text
            assert await parts.facts.get(f"commands:{bot.application_id}") is None
        finally:
            await env.shutdown()


async def test_full_disk_does_not_stop_the_bot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with parts_of(settings_for(tmp_path)) as parts:
        database = parts.jobs._db
        await database.rows("PRAGMA query_only = ON")  # every write fails
        bot = bot_of(parts)
        env = Env(bot)
        with caplog.at_level(logging.ERROR):
            await env.start()
        try:
            assert syncs(env) == 1
            assert "next start sends them again" in caplog.text
        finally:
            await env.shutdown()


async def test_command_names_texts_and_options_fit_discords_limits(tmp_path: Path) -> None:
    async with parts_of(settings_for(tmp_path)) as parts:
        bot = bot_of(parts)
        env = Env(bot)
        await env.start()
        try:
            commands = [command.to_dict(bot.tree) for command in bot.tree.get_commands()]
        finally:
            await env.shutdown()
    names = [command["name"] for command in commands if command["type"] == 1]
    assert sorted(names) == [
        *("admin", "help", "history", "imagine", "inpaint", "me", "pose", "poses", "privacy"),
        *("queue", "remix", "settings", "style", "styles", "upscale"),
    ]
    menus = [command["name"] for command in commands if command["type"] != 1]
    assert set(menus) == {
        *("Image info", "Remix avatar", "Remix this", "Report image", "Upscale", "Use as pose"),
    }

    def characters(node: dict[str, object]) -> int:
        own = len(str(node.get("name", ""))) + len(str(node.get("description", "")))
        own += len(str(node.get("value", "")))
        children = [*(node.get("options") or []), *(node.get("choices") or [])]  # type: ignore[misc]
        return own + sum(characters(child) for child in children)

    for command in commands:
        assert characters(dict(command)) < 8000
        assert len(command.get("options") or []) <= 25  # type: ignore[arg-type]


def test_intents_are_not_privileged() -> None:
    wanted = _bot.intents()
    assert not wanted.value & PRIVILEGED.value
    assert wanted.guilds
    assert wanted.guild_messages
    assert wanted.dm_messages


def test_endpoints_of_another_discord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(discord.Asset, "BASE", discord.Asset.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    _bot.use_endpoints(Settings())
    assert Route.BASE == "https://discord.com/api/v10"
    _bot.use_endpoints(
        Settings(
            discord_api_base="http://127.0.0.1:1/api/v10/", discord_gateway_url="ws://127.0.0.1:2/"
        )
    )
    assert discord.Asset.BASE == "http://127.0.0.1:1"
    assert Route("GET", "/gateway").url == "http://127.0.0.1:1/api/v10/gateway"
    assert yarl.URL("ws://127.0.0.1:2/") == DiscordWebSocket.DEFAULT_GATEWAY
