"""`/admin channel allow`, `deny` and `mode`: who decides, and that it holds however a job begins."""

from __future__ import annotations

from typing import Any

import discord
import pytest
from simcord.builders import ChannelHandle
from simcord.results import InteractionResult

from storage.channel_rules import ALLOWED, DENIED, SET_MODE, WHOLE_SERVER, ChannelRule, Mode
from tests.cogs.acts import start_among_friends
from tests.cogs.cdn import Cdn, photo
from tests.cogs.conftest import World, labels
from tests.cogs.test_authority import admin_commands
from tests.cogs.test_places import person_who_may
from tests.cogs.test_styles import put
from tests.cogs.test_unprivileged import Try, data_of

ALLOW, DENY, MODE = "admin channel allow", "admin channel deny", "admin channel mode"
SHOW = "admin channel show"
CLOSED = "This server does not allow pictures in this channel. Use me in "


def said(answer: InteractionResult) -> str:
    assert answer.ephemeral, answer.response
    assert answer.response is not None
    return str(answer.response.content)


def card(answer: InteractionResult) -> list[str]:
    assert answer.response is not None
    return str(answer.response.embeds[0].description).splitlines()


async def acts(world: World) -> list[str]:
    return [entry.act for entry in reversed(await world.parts.audit.newest())]


async def deny(world: World, channel: ChannelHandle | None = None) -> None:
    channel_id = WHOLE_SERVER if channel is None else channel.id
    await world.parts.channel_rules.set_allowed(world.guild.id, channel_id, False, actor_id=1)


async def set_mode(world: World, mode: Mode) -> None:
    rules = world.parts.channel_rules
    await rules.set_mode(world.guild.id, world.channel.id, mode, actor_id=1)


def thread_in(world: World, channel: ChannelHandle) -> ChannelHandle:
    stored = world.env.backend.create_thread(channel.id, "a thread", world.ann.id)
    return ChannelHandle(world.env, world.guild, stored)


# Who decides


async def test_a_manager_allows_and_denies_channels_of_this_server_alone(world: World) -> None:
    manager = world.manager()
    art, talk = (world.guild.create_text_channel(name) for name in ("art", "talk"))
    answer = await manager.slash(world.channel, DENY, channel=talk)
    assert said(answer).startswith(f"No pictures can be made in <#{talk.id}> any more.")
    assert card(answer) == [f"<#{talk.id}>: denied", "in all other channels: allowed · no mode"]
    assert said(await world.ann.slash(talk, "imagine", prompt="a cat")) == (
        f"{CLOSED}<#{world.channel.id}>, <#{art.id}> or by DM."
    )
    answer = await manager.slash(world.channel, DENY, where="server")
    assert "no channel of this server but those that are allowed" in said(answer)
    assert said(await world.ann.slash(art, "imagine", prompt="a cat")).endswith("Use me by DM.")
    answer = await manager.slash(world.channel, ALLOW, channel=art)
    assert said(answer) == f"Pictures can be made in <#{art.id}>."
    assert card(answer) == [
        f"<#{art.id}>: allowed",
        f"<#{talk.id}>: denied",
        "in all other channels: denied · no mode",
    ]
    assert card(await manager.slash(world.channel, SHOW)) == card(answer)
    await world.ann.slash(art, "imagine", prompt="a cat")
    await world.result(1, art)
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
    assert said(answer) == f"{CLOSED}<#{art.id}> or by DM."
    await manager.slash(world.channel, ALLOW, where="server")
    await manager.slash(talk, ALLOW)  # the channel that it is used in
    for number, channel in enumerate((world.channel, talk)):
        await world.ann.slash(channel, "imagine", prompt=f"a cat {number}")
        await world.result(1, channel)
    assert await acts(world) == [DENIED, DENIED, ALLOWED, ALLOWED, ALLOWED]


async def test_nothing_of_it_is_seen_or_holds_in_another_server_or_in_dms(world: World) -> None:
    manager = world.manager()
    other = world.env.create_guild("other")
    channel, ann_there = other.create_text_channel("there"), other.add_member(world.ann.user)
    for command in (DENY, MODE):
        given = {"mode": "spoiler"} if command == MODE else {}
        await manager.slash(world.channel, command, where="server", **given)
    await ann_there.slash(channel, "imagine", prompt="a cat")
    result = await world.result(1, channel)
    assert not result.attachments[0].is_spoiler()
    there = world.manager(other)
    assert card(await there.slash(channel, SHOW)) == ["in all other channels: allowed · no mode"]
    await world.ann.user.slash("imagine", prompt="a cat")
    dm = world.ann.user.dm_channel
    await world.until(lambda: world.results(dm), "a picture by DM")
    answer = start_among_friends(world, world.ann, "imagine", prompt="a cat")
    await world.until(
        lambda: answer.response is not None and answer.response.attachments, "one among friends"
    )


@pytest.mark.parametrize(
    ("permissions", "may_channel", "may_server"),
    [
        ({}, False, False),
        ({"manage_messages": True}, False, False),
        ({"manage_channels": True}, True, False),
        ({"manage_guild": True}, True, True),
        ({"administrator": True}, True, True),
    ],
)
async def test_who_may(
    world: World, permissions: dict[str, bool], may_channel: bool, may_server: bool
) -> None:
    mia = person_who_may(world, **permissions)
    world.show_admin(mia)
    other = world.guild.create_text_channel("other")
    tries: list[tuple[str, dict[str, Any], bool]] = [
        (SHOW, {}, may_channel),
        *((command, {}, may_channel) for command in (ALLOW, DENY)),
        (MODE, {"mode": "sfw"}, may_channel),
        *((command, {"channel": other}, may_channel) for command in (ALLOW, DENY)),
        (MODE, {"mode": "sfw", "channel": other}, may_channel),
        *((command, {"where": "server"}, may_server) for command in (ALLOW, DENY)),
        (MODE, {"mode": "sfw", "where": "server"}, may_server),
    ]
    for command, given, may in tries:
        before = (world.parts.channel_rules.of_server(world.guild.id), await acts(world))
        answer = await mia.slash(world.channel, command, **given)
        now = (world.parts.channel_rules.of_server(world.guild.id), await acts(world))
        if may:
            assert answer.ephemeral
            assert card(answer)
            assert (now != before) is (command != SHOW)
        else:
            assert said(answer).startswith("Only people with the permission Manage ")
            assert now == before


async def test_managing_one_channel_is_not_managing_another(world: World) -> None:
    mia = world.guild.add_member(world.env.create_user("mia"))
    hers = discord.PermissionOverwrite(manage_channels=True)
    garden = world.guild.create_text_channel("garden", overwrites={mia: hers})
    world.show_admin(mia)
    await mia.slash(garden, DENY)
    assert world.parts.channel_rules.of_server(world.guild.id) == {
        garden.id: ChannelRule(allowed=False)
    }
    answer = await mia.slash(garden, DENY, channel=world.channel)
    assert said(answer).startswith("Only people with the permission Manage Channels in that chan")
    answer = await mia.slash(world.channel, DENY)
    assert said(answer).startswith("Only people with the permission Manage Channels or Manage Serv")
    answer = await mia.slash(garden, ALLOW, where="server")
    assert said(answer).startswith("Only people with the permission Manage Server")
    assert await acts(world) == [DENIED]
    await mia.slash(garden, MODE, channel=garden, mode="spoiler")
    assert await acts(world) == [DENIED, SET_MODE]


async def test_what_makes_no_sense_is_refused_in_one_sentence(world: World) -> None:
    manager = world.manager()
    answer = await manager.slash(world.channel, DENY, channel=world.channel, where="server")
    assert said(answer).startswith("The whole server is more than that channel: give ")
    assert world.parts.channel_rules.of_server(world.guild.id) == {}
    assert await acts(world) == []


async def test_a_forged_channel_of_another_server_and_a_forged_mode_change_nothing_there(
    world: World,
) -> None:
    manager = world.manager()
    other = world.env.create_guild("other")
    channel, ann_there = other.create_text_channel("there"), other.add_member(world.ann.user)
    commands = {one.qualified_name: one for one in admin_commands(world)}
    forged = {"id": str(channel.id), "name": "there", "type": 0, "permissions": str(2**40)}
    for name in (DENY, MODE):
        data = data_of(world, commands[name], channel.id)
        options = [o for o in data["options"][0]["options"][0]["options"] if o["name"] != "where"]
        for option in options:
            if option["name"] == "mode":
                option["value"] = "spoiler"
        data["options"][0]["options"][0]["options"] = options
        for permissions in ("0", str(discord.Permissions.all().value)):
            forged["permissions"] = permissions
            data["resolved"]["channels"] = {str(channel.id): forged}
            assert (await Try(manager, data).send(world)).ephemeral
    await ann_there.slash(channel, "imagine", prompt="a cat")
    assert not (await world.result(1, channel)).attachments[0].is_spoiler()
    data = data_of(world, commands[MODE], world.channel.id)
    options = data["options"][0]["options"][0]["options"]
    data["options"][0]["options"][0]["options"] = [o for o in options if o["name"] == "mode"]
    data["options"][0]["options"][0]["options"][0]["value"] = "anything"
    before = world.parts.channel_rules.of_server(world.guild.id)
    answer = await Try(manager, data).send(world)
    assert said(answer).startswith("There is no such mode. Choose one of: none, sfw, spoiler")
    assert world.parts.channel_rules.of_server(world.guild.id) == before


# It holds however a job begins


async def test_no_way_to_begin_a_job_goes_past_a_denied_channel(
    world: World, cdn: Cdn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord.Asset, "BASE", cdn.base)  # of avatars
    await put(world, "neon", "sepia")
    ann, ben, channel = world.ann, world.ben, world.channel
    await ann.slash(channel, "imagine", prompt="a cat")
    one = await world.result()
    await ann.slash(channel, "imagine", prompt="a cat", count=2)
    pair = await world.result(2)
    await ben.send(channel, "mine", attachments=[photo()])
    foreign = channel.history()[-1]
    private = await ann.slash(channel, "imagine", prompt="a dog", private=True)
    await world.until(lambda: private.response is not None and private.response.attachments)
    preview = await ben.slash(channel, "pose", prompt="a robot", pose="waving", preview=True)
    await world.until(lambda: preview.response is not None and preview.response.attachments)
    asked = await ben.slash(channel, "imagine", prompt="a {red, blue, green} cat", count=2)
    entered = {"prompt": "a dog", "strength": "medium", "style": ["neon"]}
    form = await ben.click(one, label="Remix")
    menu = await ben.context_menu(channel, "Remix this", foreign)
    avatar = await ben.context_menu(channel, "Remix avatar", ann)
    more = await ben.click(one, label="More")
    thread = thread_in(world, channel)
    before = len(world.messages())
    fetched = cdn.asked
    art = world.guild.create_text_channel("art")
    await deny(world, channel)
    answers = [
        await ben.slash(channel, "imagine", prompt="a cat"),
        await ben.slash(channel, "imagine", prompt="a cat", private=True),
        await ben.slash(channel, "imagine", prompt="a {red, blue} cat"),
        await ben.slash(channel, "imagine", prompt="a cat", image=photo()),
        await ben.slash(channel, "remix", source=one.jump_url, prompt="a dog"),
        await ben.slash(channel, "remix", image=photo(), prompt="a dog"),
        await ben.slash(channel, "pose", prompt="a robot", pose="waving"),
        await ben.slash(channel, "pose", prompt="a robot", pose="waving", preview=True),
        await ben.slash(channel, "pose", prompt="a robot", image=photo()),
        await ben.slash(channel, "pose", prompt="a robot", image=photo(), preview=True),
        await ben.slash(channel, "inpaint", source=one.jump_url, prompt="a hat", cells="top"),
        await ben.slash(channel, "inpaint", image=photo(), prompt="a hat", cells="top"),
        await ben.slash(channel, "upscale", source=one.jump_url),
        await ben.slash(channel, "upscale", image=photo()),
        await ben.slash(channel, "styles try", prompt="a cat", styles="neon, sepia"),
        await ben.click(asked.response, label="Make 6 pictures"),
        await ben.click(preview.response, label="Use"),
        await ben.click(more.response, label="Left"),
        await ben.click(more.response, label="Use as pose"),
        await ben.click(pair, label="U1"),
        await ben.click(pair, label="V2"),
        await ann.click(private.response, label="Publish"),
        await ann.click(private.response, label="Reroll"),
        *[
            await ben.click(one, label=label)
            for label in labels(one)
            if label not in ("More", "Info", "Star", "Send to DM", "Delete")
        ],
        await ben.submit_modal(form, entered | {"negative": ""}),
        await ben.submit_modal(menu, entered),
        await ben.submit_modal(avatar, entered),
        *[
            await ben.context_menu(channel, name, message)
            for name in ("Remix this", "Use as pose", "Upscale")
            for message in (one, foreign)
        ],
        await ben.context_menu(channel, "Remix avatar", ann),
        await ben.slash(thread, "imagine", prompt="a cat"),
        await ben.slash(thread, "remix", image=photo(), prompt="a dog"),
    ]
    expected = f"{CLOSED}<#{art.id}> or by DM."
    for number, answer in enumerate(answers):
        assert said(answer) == expected, number
    assert len(world.messages()) == before
    for text, files, about in (
        ("a dog", [], one),
        ("reroll", [], one),
        ("U1", [], pair),
        ("+hat", [], one),
        ("", [photo()], one),
        (f"<@{world.bot.user.id}> a dog", [photo()], None),  # type: ignore[union-attr]
    ):
        sent = len(world.messages())
        await ben.send(channel, text, attachments=files, reply_to=about)
        await world.until(lambda sent=sent: len(world.messages()) == sent + 2, "an answer")
        assert world.messages()[-1].content == f"<@{ben.id}> {expected}", text
    await ben.send(thread, f"<@{world.bot.user.id}> a dog", attachments=[photo()])  # type: ignore[union-attr]
    await world.until(
        lambda: [m for m in world.messages(thread) if expected in m.content], "an answer there"
    )
    assert await world.parts.jobs.waiting_of(ben.id) == []
    assert not await world.parts.arrivals.left_behind()
    assert cdn.asked == fetched, "no file was fetched for nothing"
    # What makes no picture goes on there.
    for label in ("Info", "Star", "Send to DM"):
        assert "does not allow" not in (said(await ben.click(one, label=label)) or "")
    await ann.click(one, label="Delete")
    await world.gone(one)


async def test_what_was_accepted_before_is_still_made_also_after_a_restart(
    world: World, cdn: Cdn
) -> None:
    cdn.may_answer.clear()
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    await world.ben.slash(world.channel, "remix", image=photo(), prompt="a dog")
    await deny(world)
    await world.stop()
    cdn.may_answer.set()
    await world.start()
    await world.engine_ready()
    world.go()
    await world.result(2)
    answer = await world.ann.slash(world.channel, "imagine", prompt="a bird")
    assert said(answer) == "This server does not allow pictures in this channel. Use me by DM."


async def test_a_private_picture_is_not_published_from_a_dm_where_that_is_denied(
    world: World,
) -> None:
    answer = await world.ann.slash(world.channel, "imagine", prompt="a secret", private=True)
    await world.until(lambda: answer.response is not None and answer.response.attachments)
    shown = await world.ann.user.slash("history show", picture="secret")
    await deny(world, world.channel)
    assert "cannot post in that channel" in said(
        await world.ann.user.click(shown.response, label="Publish")
    )
    assert world.messages() == []
    # Nor by somebody whom the server has turned away.
    await world.parts.channel_rules.set_allowed(world.guild.id, world.channel.id, True, actor_id=1)
    await world.parts.blocks.block(world.guild.id, world.ann.id, actor_id=1)
    answer = await world.ann.user.click(shown.response, label="Publish")
    assert "turned me off for you" in said(answer)
    assert world.messages() == []
    await world.parts.blocks.unblock(world.guild.id, world.ann.id, actor_id=1)
    await set_mode(world, Mode.SPOILER)
    await world.ann.user.click(shown.response, label="Publish")
    (public,) = world.messages()
    assert public.attachments[0].is_spoiler()


async def test_only_channels_that_the_person_can_use_are_named(world: World) -> None:
    everyone = world.guild.roles["@everyone"]
    closed = discord.PermissionOverwrite(view_channel=False)
    mute = discord.PermissionOverwrite(send_messages=False)
    world.guild.create_text_channel("hidden", overwrites={everyone: closed})
    world.guild.create_text_channel("news", overwrites={everyone: mute})
    world.guild.create_text_channel("no bot", overwrites={world.env.bot.user: mute})
    rules = world.parts.channel_rules
    adults = world.guild.create_text_channel("adults")
    await rules.set_mode(world.guild.id, adults.id, Mode.NSFW_ONLY, actor_id=1)
    await deny(world, world.channel)
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
    assert said(answer).endswith("in this channel. Use me by DM.")
    open_to_all = [world.guild.create_text_channel(f"c{n}") for n in range(7)]
    await rules.set_allowed(world.guild.id, open_to_all[-1].id, True, actor_id=1)
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
    named = [open_to_all[-1], *open_to_all[:4]]
    assert said(answer) == f"{CLOSED}{', '.join(f'<#{c.id}>' for c in named)} or by DM."


async def test_a_forum_is_named_and_its_posts_follow_it(world: World) -> None:
    forum = world.guild.create_forum_channel("gallery")
    rules = world.parts.channel_rules
    await deny(world)
    await rules.set_allowed(world.guild.id, forum.id, True, actor_id=1)
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
    assert said(answer) == f"{CLOSED}<#{forum.id}> or by DM."
    post = thread_in(world, forum)
    await world.ann.slash(post, "imagine", prompt="a cat")
    await world.result(1, post)


# Modes


async def test_spoiler_hides_every_new_public_picture_of_the_channel_and_its_threads(
    world: World,
) -> None:
    manager = world.manager()
    private = await world.ann.slash(world.channel, "imagine", prompt="a secret", private=True)
    await world.until(lambda: private.response is not None and private.response.attachments)
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    before = await world.result()
    assert not before.attachments[0].is_spoiler()
    answer = await manager.slash(world.channel, MODE, mode="spoiler")
    assert "every new picture is hidden" in said(answer)
    assert card(answer)[0] == f"<#{world.channel.id}>: spoiler"
    await world.ann.slash(world.channel, "imagine", prompt="a cat", spoiler=False)
    assert (await world.result(2)).attachments[0].is_spoiler()
    await world.ben.click(before, label="Vary (Strong)")
    assert (await world.result(3)).attachments[0].is_spoiler()
    await world.ben.send(world.channel, "a dog", reply_to=before)
    assert (await world.result(4)).attachments[0].is_spoiler()
    await world.ben.slash(world.channel, "remix", image=photo(), prompt="a dog")
    assert (await world.result(5)).attachments[0].is_spoiler()
    thread = thread_in(world, world.channel)
    await world.ann.slash(thread, "imagine", prompt="a cat")
    assert (await world.result(1, thread)).attachments[0].is_spoiler()
    await world.ann.click(private.response, label="Publish")
    assert (await world.result(6)).attachments[0].is_spoiler()
    hidden = await world.ann.slash(world.channel, "imagine", prompt="mine", private=True)
    await world.until(lambda: hidden.response is not None and hidden.response.attachments)
    assert not hidden.response.attachments[0].is_spoiler(), "nobody else sees it"
    other = world.guild.create_text_channel("other")
    await world.ann.slash(other, "imagine", prompt="a cat")
    assert not (await world.result(1, other)).attachments[0].is_spoiler()
    await manager.slash(world.channel, MODE, mode="none")
    await world.ann.slash(world.channel, "imagine", prompt="a bird")
    assert not (await world.result(7)).attachments[0].is_spoiler()


async def test_nsfw_only_needs_the_age_restriction(world: World) -> None:
    manager = world.manager()
    answer = await manager.slash(world.channel, MODE, mode="nsfw-only")
    assert "or nobody can make pictures there" in said(answer)
    other = world.guild.create_text_channel("other")
    for where in (world.channel, thread_in(world, world.channel)):
        answer = await world.ann.slash(where, "imagine", prompt="a cat")
        assert said(answer) == (
            "This server allows pictures here only while the channel is age-restricted, and it is "
            f"not. Use me in <#{other.id}> or by DM."
        )
    await manager.slash(world.channel, MODE, mode="none")
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()


async def test_a_channels_own_mode_comes_before_that_of_the_server(world: World) -> None:
    manager = world.manager()
    answer = await manager.slash(world.channel, MODE, mode="spoiler", where="server")
    assert said(answer).startswith("In channels without a mode of their own every new picture")
    await manager.slash(world.channel, MODE, mode="none")
    other = world.guild.create_text_channel("other")
    for channel, hidden in ((world.channel, False), (other, True)):
        await world.ann.slash(channel, "imagine", prompt="a cat")
        assert (await world.result(1, channel)).attachments[0].is_spoiler() is hidden
    assert await acts(world) == [SET_MODE, SET_MODE]


async def test_rules_hold_after_a_restart(world: World) -> None:
    await deny(world, world.channel)
    await world.stop()
    await world.start()
    await world.engine_ready()
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
    assert said(answer).startswith("This server does not allow pictures in this channel.")


async def test_a_message_in_a_place_that_is_not_known_is_under_the_strictest_rule(
    world: World,
) -> None:
    """A thread that the bot has never heard of may belong to a closed channel."""
    thread = thread_in(world, world.channel)
    world.bot.get_guild(world.guild.id)._remove_thread(  # type: ignore[union-attr]
        world.bot.get_channel(thread.id)  # type: ignore[arg-type]
    )
    await world.ann.send(thread, f"<@{world.bot.user.id}> a dog", attachments=[photo()])  # type: ignore[union-attr]
    await world.result(1, thread)
    await deny(world, world.channel)
    await world.ann.send(thread, f"<@{world.bot.user.id}> a bird", attachments=[photo()])  # type: ignore[union-attr]
    await world.until(
        lambda: [m for m in world.messages(thread) if "does not allow" in m.content], "a refusal"
    )
