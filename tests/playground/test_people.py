"""People outside of interactions: talking, replying, reacting, deleting; waiting; the recorder."""

from __future__ import annotations

import asyncio
import json

import discord
import pytest

from playground import ClientRefused, File, NoResponse
from playground.clock import Clock
from tests.playground.client import Bot, Scene, Start


async def test_reply_pings_unless_told_not_to(scene: Scene) -> None:
    first = await scene.ana.send("first")
    assert (await scene.ben.send("re", reply_to=first)).pings(scene.ana.user)
    assert not (await scene.ben.send("re", reply_to=first, ping=False)).pings(scene.ana.user)
    assert (await scene.ben.send("re", reply_to=first)).type == 19


async def test_client_refuses_what_discord_would(scene: Scene, png: bytes) -> None:
    with pytest.raises(ClientRefused, match="empty"):
        await scene.ana.send("  ")
    with pytest.raises(ClientRefused, match="2000"):
        await scene.ana.send("x" * 2001)
    scene.channel.set_permissions(scene.ana, attach_files=False)
    await scene.ana.send("text")
    with pytest.raises(ClientRefused, match="attach_files"):
        await scene.ana.send("picture", [File("a.png", png)])
    theirs = await scene.ben.send("mine")
    with pytest.raises(ClientRefused, match="manage_messages"):
        await scene.ana.delete(theirs)
    await scene.ben.delete(theirs)
    with pytest.raises(ClientRefused, match="deleted"):
        await scene.ana.send("re", reply_to=theirs)
    with pytest.raises(ClientRefused, match="in no channel"):
        await scene.discord.person("Stranger").send("hello")
    scene.guild.remove(scene.ben)
    with pytest.raises(ClientRefused, match="view_channel"):
        await scene.ben.send("am I in?")
    scene.channel.delete()
    with pytest.raises(ClientRefused, match="gone"):
        await scene.ana.send("hello?")


async def test_reactions_and_deletions_reach_the_bot(scene: Scene, start: Start) -> None:
    intents = discord.Intents(guilds=True, messages=True, reactions=True)
    bot = await start(Bot(intents=intents))
    own = await bot.get_channel(scene.channel.id).send("a result")
    message = scene.channel.messages[0]
    async with asyncio.timeout(5):
        reacted = bot.loop.create_task(bot.wait_for("raw_reaction_add"))
        deleted = bot.loop.create_task(bot.wait_for("raw_message_delete"))
        await asyncio.sleep(0)
        await scene.ana.react(message, "⭐")
        event = await reacted
        assert (event.user_id, event.message_id, str(event.emoji)) == (scene.ana.id, own.id, "⭐")
        await own.add_reaction("👍")
        assert message.reactions == {"⭐": [scene.ana.id], "👍": [bot.user.id]}
        await scene.discord.operator.delete(message)
        assert (await deleted).message_id == own.id


async def test_waiting_ends_with_a_reason(scene: Scene) -> None:
    await scene.ana.send("something else")
    with pytest.raises(NoResponse, match="something else"):
        await scene.channel.wait_for(lambda m: m.content == "never", timeout_s=0.01)
    with pytest.raises(ZeroDivisionError):
        await scene.channel.wait_for(lambda m: 1 / 0, timeout_s=0.01)
    with pytest.raises(NoResponse, match="no bot"):
        await scene.discord.ready(timeout_s=0.01)


async def test_record_is_json_and_holds_no_token(scene: Scene, start: Start, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bot = Bot()

    @bot.tree.command(description="Say hi")
    async def hi(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("hi")
        await interaction.followup.send("there")

    await start(bot)
    invocation = await scene.ana.slash("hi")
    await invocation.followup()
    scene.discord.recorder.save(tmp_path / "history.jsonl")
    text = (tmp_path / "history.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    assert scene.discord.token not in text
    assert invocation.interaction.token not in text
    kinds = [record["kind"] for record in records]
    assert {"request", "gateway", "interaction", "ack", "message"} <= set(kinds)
    (ack,) = [record for record in records if record["kind"] == "ack"]
    assert 0 < ack["latency_s"] < 3
    assert [record["seq"] for record in records] == list(range(len(records)))


@pytest.mark.parametrize("options", [{"keep_payloads": False}])
async def test_long_runs_may_keep_ids_only(scene: Scene, start: Start) -> None:
    bot = await start()
    sent = await bot.get_channel(scene.channel.id).send("words")
    (request,) = scene.discord.recorder.of("request", path="/channels/{channel_id}/messages")
    assert request["response"] == {"id": str(sent.id)}
    (event,) = scene.discord.recorder.of("gateway", event="MESSAGE_CREATE")
    assert event["data"] == {"id": str(sent.id)}
    (message,) = scene.discord.recorder.of("message")
    assert message["content"] == "words"


async def test_clock_fires_what_is_due_in_order() -> None:
    clock = Clock()
    fired: list[str] = []
    clock.call_later(20, lambda: fired.append("twenty"))
    clock.call_later(10, lambda: fired.append("ten"))
    cancelled = clock.call_later(5, lambda: fired.append("never"))
    cancelled.cancel()
    before = clock.time()
    clock.advance(9)
    assert fired == []
    clock.advance(100)
    assert fired == ["ten", "twenty"]
    assert clock.time() - before >= 109
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
    soon = asyncio.Event()
    clock.call_later(0.01, soon.set)
    async with asyncio.timeout(5):
        await soon.wait()
