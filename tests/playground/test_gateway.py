"""The gateway: who hears what, resume with replay, invalid sessions, shards, close codes."""

from __future__ import annotations

import asyncio
import json
import zlib

import aiohttp
import discord
import pytest

from playground import File
from tests.playground.client import Bot, Rest, Scene, Start


async def test_dropped_line_resumes_and_replays_what_was_missed(scene: Scene, start: Start) -> None:
    bot = await start()
    assert bot.events.get_nowait() == "connected"
    await scene.discord.gateway.drop()
    await scene.discord.offline()
    await scene.ana.send(f"{bot.user.mention} while away")
    async with asyncio.timeout(10):
        heard = await bot.heard.get()
        assert await bot.events.get() == "resumed"
    assert heard.content.endswith("while away")
    assert len(scene.discord.gateway.sessions) == 1


async def test_asked_to_reconnect_the_client_resumes(scene: Scene, start: Start) -> None:
    bot = await start()
    bot.events.get_nowait()
    scene.discord.gateway.ask_reconnect()
    async with asyncio.timeout(10):
        assert await bot.events.get() == "resumed"


async def test_invalid_session_identifies_anew(scene: Scene, start: Start) -> None:
    bot = await start()
    bot.events.get_nowait()
    old = set(scene.discord.gateway.sessions)
    scene.discord.gateway.invalidate()
    async with asyncio.timeout(10):
        assert await bot.events.get() == "connected"
    assert not old & set(scene.discord.gateway.sessions)


async def test_session_cannot_be_resumed_after_its_window(scene: Scene, start: Start) -> None:
    bot = await start()
    bot.events.get_nowait()
    await scene.discord.gateway.drop()
    await scene.discord.offline()
    scene.discord.clock.advance(121)
    async with asyncio.timeout(10):
        assert await bot.events.get() == "connected"


async def test_shards_share_the_servers(scene: Scene, start: Start) -> None:
    for number in range(3):
        scene.discord.guild(f"More {number}")
    bot = await start(Bot(shard_count=2))
    assert len(bot.guilds) == 4
    assert {guild.shard_id for guild in bot.guilds} == {0, 1}
    await scene.ana.send(f"{bot.user.mention} hi")
    async with asyncio.timeout(5):
        heard = await bot.heard.get()
    assert heard.guild.id == scene.guild.id
    assert bot.heard.empty()


async def test_fatal_close_codes_end_the_client(scene: Scene, start: Start) -> None:
    greedy = Bot(intents=discord.Intents.all())
    await greedy.login(scene.discord.token)
    async with greedy, asyncio.timeout(10):
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await greedy.connect()
    bot = await start()
    await scene.discord.gateway.drop(code=4004)
    async with asyncio.timeout(10):
        with pytest.raises(discord.ConnectionClosed) as closed:
            await bot.running
    assert closed.value.code == 4004


async def test_content_is_hidden_without_the_intent(
    scene: Scene, start: Start, rest: Rest, png: bytes
) -> None:
    bot = await start()
    own = await bot.get_channel(scene.channel.id).send("a result")
    result = scene.channel.messages[-1]
    file = [File("cat.png", png)]

    async def heard(**how: object) -> discord.Message:
        await scene.ana.send("words", file, **how)
        async with asyncio.timeout(5):
            return await bot.heard.get()

    def is_empty(message: discord.Message) -> bool:
        return not message.content and not message.attachments

    assert is_empty(await heard())
    assert is_empty(await heard(reply_to=result, ping=False))
    pinging = await heard(reply_to=result)
    assert (pinging.content, len(pinging.attachments)) == ("words", 1)
    assert pinging.reference.message_id == own.id
    assert pinging.reference.resolved.content == "a result"
    direct = await heard(where=scene.ana.dm)
    assert direct.content == "words"

    quoted = scene.channel.messages[-3]
    await scene.ben.send(f"{bot.user.mention} this one", reply_to=quoted)
    async with asyncio.timeout(5):
        mention = await bot.heard.get()
    assert mention.content.endswith("this one")
    assert is_empty(mention.reference.resolved)
    status, body, _ = await rest("GET", f"/channels/{scene.channel.id}/messages/{quoted.id}")
    assert (status, body["content"]) == (200, "")


async def test_reply_to_an_interactions_answer_pings_nobody(scene: Scene, start: Start) -> None:
    bot = Bot()

    @bot.tree.command(description="Say hi")
    async def hi(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("hi")

    await start(bot)
    answer = await (await scene.ana.slash("hi")).response()
    reply = await scene.ana.send("words", reply_to=answer)
    assert reply.mentions == []
    async with asyncio.timeout(5):
        assert (await bot.heard.get()).content == ""


@pytest.mark.parametrize("options", [{"privileged_intents": ("message_content",)}])
async def test_content_is_shown_with_the_intent(scene: Scene, start: Start, rest: Rest) -> None:
    intents = discord.Intents(guilds=True, messages=True, message_content=True)
    bot = await start(Bot(intents=intents))
    sent = await scene.ana.send("words")
    async with asyncio.timeout(5):
        assert (await bot.heard.get()).content == "words"
    assert (await rest("GET", f"/channels/{scene.channel.id}/messages/{sent.id}"))[1]["content"]


async def test_raw_socket_without_compression_and_its_mistakes(scene: Scene) -> None:
    async with aiohttp.ClientSession() as session:

        async def closes_with(*payloads: object) -> int | None:
            async with session.ws_connect(scene.discord.gateway_url) as socket:
                assert (await socket.receive_json())["op"] == 10
                for payload in payloads:
                    await socket.send_str(
                        payload if isinstance(payload, str) else json.dumps(payload)
                    )
                async for _ in socket:
                    pass
                return socket.close_code

        identify = {"op": 2, "d": {"token": scene.discord.token, "intents": 1}}
        async with asyncio.timeout(10):
            assert await closes_with("not json") == 4002
            assert await closes_with({"op": 3, "d": {}}) == 4003
            assert await closes_with({"op": 2, "d": {"token": "wrong", "intents": 0}}) == 4004
            assert await closes_with(identify, identify) == 4005
            assert await closes_with(identify, {"op": 99}) == 4001
            shard = identify["d"] | {"shard": [2, 2]}
            assert await closes_with({"op": 2, "d": shard}) == 4010


async def test_zlib_stream_is_one_stream(scene: Scene) -> None:
    url = scene.discord.gateway_url + "?v=10&encoding=json&compress=zlib-stream"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        inflate = zlib.decompressobj()
        assert json.loads(inflate.decompress(await socket.receive_bytes()))["op"] == 10
        await socket.send_json({"op": 1, "d": None})
        assert json.loads(inflate.decompress(await socket.receive_bytes()))["op"] == 11
        await socket.send_json({"op": 2, "d": {"token": scene.discord.token, "intents": 1}})
        ready = json.loads(inflate.decompress(await socket.receive_bytes()))
        assert ready["t"] == "READY"
        assert ready["d"]["resume_gateway_url"]
        created = json.loads(inflate.decompress(await socket.receive_bytes()))
        assert (created["t"], created["d"]["name"]) == ("GUILD_CREATE", "Studio")


async def test_changes_reach_the_clients_cache(scene: Scene, start: Start) -> None:
    bot = await start()
    assert bot.events.get_nowait() == "connected"
    guild = bot.get_guild(scene.guild.id)
    place = scene.guild.channel("second", nsfw=True)
    late = scene.discord.guild("Late")

    async with asyncio.timeout(5):
        assert await bot.events.get() == "joined"
    assert guild.get_channel(place.id).is_nsfw()
    scene.channel.set_permissions(send_messages=False)
    place.delete()
    late.remove_bot()
    async with asyncio.timeout(5):
        assert await bot.events.get() == "left"
    assert guild.get_channel(place.id) is None
    own = guild.get_channel(scene.channel.id).permissions_for(guild.me)
    assert not own.send_messages
    assert own.read_message_history
    members = await guild.query_members(user_ids=[scene.ana.id])
    assert [member.id for member in members] == [scene.ana.id]
