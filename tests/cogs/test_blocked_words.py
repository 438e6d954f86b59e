"""`/admin safety words`: who may change which list, and that no way into the queue goes past it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.moderation import EVERYWHERE, MAX_WORDS
from storage.blocked_words import ADDED, REMOVED
from storage.people import Preferences
from tests.cogs.cdn import photo
from tests.cogs.conftest import World
from tests.cogs.test_channels import thread_in
from tests.cogs.test_styles import put

WORDS = "admin safety words"
REFUSED = "This server does not allow some of the words in your prompt."


def said(answer: Any) -> str:
    assert answer.ephemeral
    return str(answer.response.content)


async def block(world: World, *words: str) -> None:
    await world.parts.moderation.add(world.guild.id, words, actor_id=1)


async def test_manager_changes_the_list_of_the_own_server_alone(world: World) -> None:
    manager = world.manager()
    answer = await manager.slash(
        world.channel, WORDS, action="add", words="Naked, gore*; naked,  blood  bath"
    )
    assert said(answer) == "3 words more on the list of this server, which has 3 words now."
    shown = await manager.slash(world.channel, WORDS, action="list")
    assert r"||blood bath, gore\*, naked||" in said(shown)
    assert REFUSED in said(await world.ann.slash(world.channel, "imagine", prompt="ｎakеd cat"))
    guild = world.env.create_guild()
    guild._guild.everyone_role.permissions = world.guild._guild.everyone_role.permissions
    theirs = guild.create_text_channel("theirs")
    await guild.add_member(world.ann.user).slash(theirs, "imagine", prompt="a naked cat")
    await world.result(1, theirs)
    await world.ann.user.slash("imagine", prompt="a naked cat")
    await world.result(1, world.ann.user.dm_channel)
    await world.stop()
    await world.start()
    await world.engine_ready()
    assert REFUSED in said(await world.ann.slash(world.channel, "imagine", prompt="a blood-bath"))
    answer = await manager.slash(world.channel, WORDS, action="remove", words="NAKED, nothing")
    assert said(answer) == "1 word fewer on the list of this server, which has 2 words now."
    await world.ann.slash(world.channel, "imagine", prompt="naked cat")
    await world.result()
    acts = [(entry.act, dict(entry.detail)) for entry in await world.parts.audit.newest()]
    place = {"guild_id": world.guild.id}
    assert acts == [(REMOVED, place | {"count": 1}), (ADDED, place | {"count": 3})]


async def test_list_for_everywhere_is_the_owners(world: World) -> None:
    owner, manager = world.owner(), world.manager()
    answer = await manager.slash(
        world.channel, WORDS, action="add", words="gore", scope="everywhere"
    )
    assert "Only the owners of this bot" in said(answer)
    answer = await owner.slash(world.channel, WORDS, action="add", words="gore")
    assert "Manage Server" in said(answer)  # owners act on other people's servers in no way
    answer = await owner.slash(world.channel, WORDS, action="add", words="gore", scope="everywhere")
    assert "list for all servers and DMs" in said(answer)
    answer = await world.ann.slash(world.channel, "imagine", prompt="g o r e")
    assert said(answer).startswith("Some of the words in your prompt are not allowed.")
    answer = await world.ann.user.slash("imagine", prompt="gore")
    assert "not allowed" in answer.response.content
    assert "gore" not in said(await manager.slash(world.channel, WORDS, action="list"))
    assert world.parts.moderation.words(EVERYWHERE) == ["gore"]


@pytest.mark.parametrize("action", ["add", "remove", "list"])
@pytest.mark.parametrize("scope", ["server", "everywhere"])
async def test_others_change_and_see_nothing(world: World, action: str, scope: str) -> None:
    await block(world, "secret")
    moderator = world.moderator()
    world.show_admin(world.ann, moderator)
    for person in (world.ann, moderator):
        answer = await person.slash(
            world.channel, WORDS, action=action, words="secret, cat", scope=scope
        )
        assert said(answer).startswith("Only ")
        assert "secret" not in said(answer)
    assert world.parts.moderation.words(world.guild.id) == ["secret"]
    assert world.parts.moderation.words(EVERYWHERE) == []


async def test_words_that_cannot_be_used_are_refused_with_the_reason(world: World) -> None:
    manager = world.manager()
    for words, reason in (
        (None, "Say which"),
        (" , ;", "Say which"),
        ("a", "at least 2 letters"),
        ("x" * 61, "at most 60 characters"),
    ):
        given = {} if words is None else {"words": words}
        answer = await manager.slash(world.channel, WORDS, action="add", **given)
        assert reason in said(answer)
    await block(world, *(f"word{number}" for number in range(MAX_WORDS)))
    answer = await manager.slash(world.channel, WORDS, action="add", words="onemore")
    assert "1,000" in said(answer)
    answer = await manager.slash(world.channel, WORDS, action="list")
    assert [file.filename for file in answer.response.attachments] == ["words.txt"]


async def test_no_way_into_the_queue_goes_past_the_list(world: World) -> None:
    folder = world.settings.wildcard_folder
    folder.mkdir(parents=True)
    (folder / "body.txt").write_text("naked")
    await world.ann.slash(world.channel, "imagine", prompt="a naked cat", count=1)
    old = await world.result()
    private = await world.ann.slash(world.channel, "imagine", prompt="a naked dog", private=True)
    await world.until(lambda: private.response is not None and private.response.attachments)
    await block(world, "naked")
    preferences = Preferences(negative="naked")
    await world.parts.people.set_preferences(world.ben.id, "Ben", preferences)
    ann, ben, channel = world.ann, world.ben, world.channel
    answers = [
        await ann.slash(channel, "imagine", prompt="a {naked, happy} cat"),
        await ann.slash(channel, "imagine", prompt="a __body__ cat"),
        await ann.slash(channel, "imagine", prompt="a cat", negative="n.a.k.e.d"),
        await ann.slash(channel, "imagine", prompt="a cat --no naked"),
        await ann.slash(channel, "imagine", prompt="naked", private=True),
        await ann.slash(channel, "imagine", prompt="naked", image=photo()),
        await ben.slash(channel, "imagine", prompt="a cat"),  # the own default
        await ann.slash(channel, "remix", source="naked"),
        await ann.slash(channel, "remix", image=photo(), prompt="naked"),
        await ann.slash(channel, "pose", prompt="naked", pose="waving"),
        await ann.slash(channel, "pose", prompt="naked", image=photo()),
        await ben.click(old, label="Reroll"),
        await ben.click(old, label="Vary (Subtle)"),
        await ben.click(old, label="Zoom 2x"),
        await ben.click(old, label="Upscale"),
        await ann.click(private.response, label="Publish"),
    ]
    for number, answer in enumerate(answers):
        assert "does not allow some of the words in" in said(answer), number
        assert "naked" not in said(answer)
    assert len(world.messages()) == 1
    assert not await world.parts.arrivals.left_behind()
    await ann.send(channel, "+hat", reply_to=old)  # to the old prompt
    await world.line("does not allow some of the words")
    assert await world.parts.jobs.waiting_of(ann.id) == []


async def test_words_of_a_style_and_names_that_others_see(world: World) -> None:
    await put(world, "neon", trigger_words=["naked glow"])
    await block(world, "naked")
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat", style="neon")
    assert "that this style adds to the prompt" in said(answer)
    answer = await world.ann.slash(
        world.channel, "poses save", name="NАKED", image=photo(), share=True
    )
    assert "in that name" in said(answer)
    answer = await world.ann.slash(world.channel, "styles mix", name="naked", styles="neon:0.5")
    assert "in that name" in said(answer)
    await world.ann.slash(world.channel, "poses save", name="fine", image=photo(), share=True)
    await block(world, "fine")  # shared before
    shown = await world.ben.slash(world.channel, "poses list")
    assert "fine" not in shown.response.embeds[0].description
    await world.ann.slash(world.channel, "poses share", name="fine", on=False)
    answer = await world.ann.slash(world.channel, "poses share", name="fine")
    assert "in that name" in said(answer)


async def test_default_negative_prompt_of_a_channel_counts_in_its_threads_too(world: World) -> None:
    defaults, places = Preferences(negative="naked people"), world.parts.places
    await places.set_channel(world.guild.id, world.channel.id, defaults, actor_id=1)
    await block(world, "naked")
    thread = thread_in(world, world.channel)
    await world.ann.slash(thread, "imagine", prompt="a cat")
    await world.result(1, thread)
    await world.ann.slash(thread, "imagine", prompt="a cat", image=photo())  # checked twice
    await world.result(2, thread)
    for request in [one.request for one in await world.parts.history.recent(world.ann.id)]:
        assert request.negative_prompt == "naked people"
    # It excuses nobody who types it elsewhere.
    other = world.guild.create_text_channel("other")
    answer = await world.ann.slash(other, "imagine", prompt="a cat", negative="naked people")
    assert "does not allow some of the words in the negative prompt" in said(answer)


async def test_default_negative_prompt_of_the_operator_is_never_in_the_way(world: World) -> None:
    await block(world, "blurry", "nothing")
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
