"""Messages over REST: limits, nonces, files, mentions, permissions, history, direct messages."""

from __future__ import annotations

import io

import aiohttp
import discord
import pytest

from playground import File
from tests.playground.client import Rest, Scene, Start


def path(scene: Scene) -> str:
    return f"/channels/{scene.channel.id}/messages"


def row(*buttons: dict[str, object]) -> dict[str, object]:
    return {"type": 1, "components": list(buttons)}


def button(custom_id: str, **more: object) -> dict[str, object]:
    return {"type": 2, "style": 1, "label": "Go", "custom_id": custom_id, **more}


WRONG_BODIES = {
    "content too long": ({"content": "x" * 2001}, "content"),
    "nonce too long": ({"content": "x", "nonce": "n" * 26}, "nonce"),
    "custom_id too long": ({"content": "x", "components": [row(button("i" * 101))]}, "components"),
    "custom_id twice": (
        {"content": "x", "components": [row(button("a"), button("a"))]},
        "components",
    ),
    "label too long": (
        {"content": "x", "components": [row(button("a", label="l" * 81))]},
        "components",
    ),
    "six buttons": ({"content": "x", "components": [row(*map(button, "abcdef"))]}, "components"),
    "six rows": (
        {"content": "x", "components": [row(button(str(i))) for i in range(6)]},
        "components",
    ),
    "no row": ({"content": "x", "components": [button("a")]}, "components"),
    "embed title": ({"embeds": [{"title": "t" * 257}]}, "embeds"),
    "eleven embeds": ({"embeds": [{"title": "t"}] * 11}, "embeds"),
    "empty select": (
        {"content": "x", "components": [row({"type": 3, "custom_id": "s", "options": []})]},
        "components",
    ),
    "two ways to allow users": (
        {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
        "allowed_mentions",
    ),
    "reply to nothing": (
        {"content": "x", "message_reference": {"message_id": "5"}},
        "message_reference",
    ),
}


@pytest.mark.parametrize("name", WRONG_BODIES)
async def test_wrong_body_is_refused_with_the_field_named(
    scene: Scene, rest: Rest, name: str
) -> None:
    body, field = WRONG_BODIES[name]
    status, answer, headers = await rest("POST", path(scene), body)
    assert (status, answer["code"]) == (400, 50035)
    assert field in answer["errors"]
    assert headers["Content-Type"] == "application/json"
    assert scene.channel.messages == []


async def test_limits_themselves_are_accepted(scene: Scene, rest: Rest) -> None:
    components = [
        row(*(button(f"{r}:{c}".ljust(100, "."), label="l" * 80) for c in range(5)))
        for r in range(5)
    ]
    body = {"content": "x" * 2000, "nonce": "n" * 25, "components": components}
    status, answer, _ = await rest("POST", path(scene), body)
    assert status == 200
    assert len(answer["content"]) == 2000
    assert len(scene.channel.messages[0].buttons) == 25


async def test_empty_message_is_refused(scene: Scene, rest: Rest) -> None:
    status, answer, _ = await rest("POST", path(scene), {"content": "  "})
    assert (status, answer["code"]) == (400, 50006)


async def test_wrong_token_is_unauthorized(scene: Scene, rest: Rest) -> None:
    status, answer, _ = await rest("GET", "/users/@me", token="wrong")
    assert (status, answer["code"]) == (401, 0)
    async with discord.Client(intents=discord.Intents.none()) as client:
        with pytest.raises(discord.LoginFailure):
            await client.login("wrong")


async def test_same_nonce_makes_one_message_for_three_minutes(scene: Scene, rest: Rest) -> None:
    body = {"content": "one", "nonce": "job-1", "enforce_nonce": True}
    first = (await rest("POST", path(scene), body))[1]
    again = (await rest("POST", path(scene), body))[1]
    assert again["id"] == first["id"]
    without = (await rest("POST", path(scene), {"content": "two", "nonce": "job-1"}))[1]
    assert without["id"] != first["id"]
    scene.discord.clock.advance(181)
    later = (await rest("POST", path(scene), body))[1]
    assert later["id"] != first["id"]


async def test_edit_keeps_and_replaces_files_and_their_links(
    scene: Scene, start: Start, png: bytes
) -> None:
    bot = await start()
    files = [discord.File(io.BytesIO(png), name) for name in ("a.png", "b.png")]
    message = await bot.get_channel(scene.channel.id).send("two", files=files)
    kept, dropped = message.attachments
    assert await kept.read() == png
    new = discord.File(io.BytesIO(png), "c.png", spoiler=True)
    edited = await message.edit(content="changed", attachments=[kept, new])
    assert [one.filename for one in edited.attachments] == ["a.png", "SPOILER_c.png"]
    assert edited.attachments[1].is_spoiler()
    assert await kept.read() == png
    with pytest.raises(discord.NotFound):
        await dropped.read()
    await message.delete()
    with pytest.raises(discord.NotFound):
        await kept.read()
    with pytest.raises(discord.NotFound) as gone:
        await message.edit(content="late")
    assert gone.value.code == 10008


async def test_attachment_link_needs_its_signature_and_expires(scene: Scene, png: bytes) -> None:
    message = await scene.ana.send("look", [File("cat.png", png)])
    url = scene.discord.cdn.url(message.attachments[0])
    async with aiohttp.ClientSession() as session:

        async def status(link: str) -> int:
            async with session.get(link) as response:
                return response.status

        assert await status(url) == 200
        assert await status(url.split("?")[0]) == 404
        assert await status(url.replace("hm=", "hm=0")) == 404
        scene.discord.clock.advance(25 * 3600)
        assert await status(url) == 404


async def test_too_large_file_is_refused(scene: Scene, start: Start) -> None:
    bot = await start()
    channel = bot.get_channel(scene.channel.id)
    with pytest.raises(discord.HTTPException) as refused:
        await channel.send(file=discord.File(io.BytesIO(bytes(10 * 1024 * 1024 + 1)), "big.bin"))
    assert (refused.value.status, refused.value.code) == (413, 40005)


async def test_missing_permissions_have_discords_codes(
    scene: Scene, start: Start, png: bytes
) -> None:
    bot = await start()
    channel = bot.get_channel(scene.channel.id)
    scene.channel.set_permissions(attach_files=False)
    await channel.send("text is fine")
    with pytest.raises(discord.Forbidden) as refused:
        await channel.send(file=discord.File(io.BytesIO(png), "a.png"))
    assert refused.value.code == 50013
    scene.channel.set_permissions(send_messages=False)
    with pytest.raises(discord.Forbidden) as refused:
        await channel.send("no")
    assert refused.value.code == 50013
    scene.channel.set_permissions(view_channel=False)
    with pytest.raises(discord.Forbidden) as refused:
        await channel.send("no")
    assert refused.value.code == 50001
    scene.channel.delete()
    with pytest.raises(discord.NotFound) as gone:
        await channel.send("no")
    assert gone.value.code == 10003


async def test_others_messages_need_manage_messages_to_delete(scene: Scene, start: Start) -> None:
    bot = await start()
    theirs = await scene.ana.send("mine")
    partial = bot.get_channel(scene.channel.id).get_partial_message(theirs.id)
    with pytest.raises(discord.Forbidden):
        await partial.delete()
    scene.channel.set_permissions(manage_messages=True)
    await partial.delete()
    assert theirs.is_deleted
    other = await scene.ana.send("mine")
    with pytest.raises(discord.Forbidden) as refused:
        await bot.get_channel(scene.channel.id).get_partial_message(other.id).edit(content="x")
    assert refused.value.code == 50005


async def test_mentions_follow_allowed_mentions(scene: Scene, start: Start) -> None:
    bot = await start()
    channel = bot.get_channel(scene.channel.id)
    text = f"{scene.ana.mention} {scene.ben.mention} @everyone"

    async def pinged(allowed: discord.AllowedMentions | None) -> set[str]:
        sent = await channel.send(text, allowed_mentions=allowed)
        stored = await scene.channel.wait_for(lambda m: m.id == sent.id)
        assert not stored.mention_everyone  # the bot may not, whatever it asks
        return {user.display_name for user in stored.mentions}

    assert await pinged(None) == {"Ana", "Ben"}
    assert await pinged(discord.AllowedMentions.none()) == set()
    only_ana = discord.AllowedMentions(
        everyone=False, roles=False, users=[discord.Object(scene.ana.id)]
    )
    assert await pinged(only_ana) == {"Ana"}
    scene.channel.set_permissions(mention_everyone=True)
    loud = await channel.send("@everyone", allowed_mentions=discord.AllowedMentions.all())
    assert loud.mention_everyone


async def test_history_pages_like_discords(scene: Scene, start: Start) -> None:
    bot = await start()
    sent = [await scene.ana.send(str(number)) for number in range(7)]
    channel = bot.get_channel(scene.channel.id)

    async def ids(**options: object) -> list[int]:
        return [message.id async for message in channel.history(**options)]

    expected = [message.id for message in sent]
    assert await ids(limit=3) == expected[:-4:-1]
    assert await ids(limit=2, before=discord.Object(expected[3])) == [expected[2], expected[1]]
    assert await ids(limit=2, after=discord.Object(expected[3])) == [expected[4], expected[5]]
    around = await ids(limit=3, around=discord.Object(expected[3]))
    assert sorted(around) == expected[2:5]
    assert (await channel.fetch_message(expected[0])).author.id == scene.ana.id


async def test_direct_message_arrives_or_is_refused(scene: Scene, start: Start) -> None:
    bot = await start()
    user = await bot.fetch_user(scene.ana.id)
    await user.send("psst")
    assert (await scene.ana.dm.wait_for(lambda m: m.content == "psst")).guild_id is None
    scene.ana.user.accepts_dms = False
    with pytest.raises(discord.Forbidden) as refused:
        await user.send("psst")
    assert refused.value.code == 50007


async def test_avatar_is_a_picture(scene: Scene, start: Start) -> None:
    bot = await start()
    user = await bot.fetch_user(scene.ana.id)
    data = await user.display_avatar.with_size(64).read()
    assert data.startswith(b"\x89PNG")
    assert data[16:24] == (64).to_bytes(4, "big") * 2


async def test_thread_is_a_channel_with_its_own_permission(scene: Scene, start: Start) -> None:
    bot = await start()
    thread = scene.channel.thread("details")
    sent = await bot.get_partial_messageable(thread.id).send("in the thread")
    assert (await thread.wait_for(lambda m: m.id == sent.id)).content == "in the thread"
    scene.channel.set_permissions(send_messages_in_threads=False)
    with pytest.raises(discord.Forbidden):
        await bot.get_partial_messageable(thread.id).send("no")


async def test_unknown_route_is_404(scene: Scene, rest: Rest) -> None:
    status, answer, _ = await rest("GET", "/nothing/here")
    assert (status, answer["code"]) == (404, 0)
