"""`/admin user`: blocks hold where they were set, at every entrance, and hit nobody by mistake."""

from __future__ import annotations

from typing import Any

import discord
import pytest
from simcord.actors import MemberActor
from simcord.builders import ChannelHandle

from engine.limits import EVERYWHERE
from storage.blocks import ANYWHERE, BLOCKED, HERE, UNBLOCKED
from tests.cogs.acts import start_among_friends
from tests.cogs.conftest import World
from tests.cogs.test_admin_limits import ONLY_MANAGERS, ONLY_OWNERS, acts, another, card, words

BLOCK = "admin user block"


def turned_away(answer: Any) -> bool:
    return words(answer) == HERE


async def test_a_block_stops_every_entrance_here_and_none_elsewhere(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    message = await world.result()
    form = await world.ann.click(message, label="Remix")
    channel, ann_there = another(world)
    assert "cannot use me in this server any more" in words(
        await world.manager().slash(world.channel, BLOCK, person=world.ann)
    )
    thread = ChannelHandle(
        world.env,
        world.guild,
        world.env.backend.create_thread(world.channel.id, "a thread", world.ben.id),
    )
    for answer in (
        await world.ann.slash(world.channel, "imagine", prompt="a cat"),
        await world.ann.slash(thread, "imagine", prompt="a cat"),
        await world.ann.slash(world.channel, "imagine", prompt="a cat", private=True),
        await world.ann.slash(world.channel, "pose", prompt="a cat", pose="wave"),
        await world.ann.slash(world.channel, "me"),
        await world.ann.slash(world.channel, "history list"),
        await world.ann.click(message, label="Reroll"),
        await world.ann.click(message, label="Info"),
        await world.ann.click(message, label="Remix"),
        await world.ann.submit_modal(form, {"prompt": "a dog", "strength": "medium"}),
        await world.ann.context_menu(world.channel, "Remix this", message),
        await world.ann.context_menu(world.channel, "Image info", message),
        await world.ann.context_menu(world.channel, "Remix avatar", world.ben),
    ):
        assert turned_away(answer)
    own = world.bot.user
    assert own is not None
    await world.ann.send(world.channel, "a dog", reply_to=message)
    await world.line("have turned me off for you here")
    before = len(world.messages())
    await world.ann.send(world.channel, "reroll", reply_to=message)
    await world.ann.send(world.channel, f"<@{own.id}> a dog")
    # Everybody would see it, so it is said once.
    assert len(world.messages()) == before + 2
    assert await world.ann.autocomplete(world.channel, "imagine", "sampler", "") == []
    assert await world.parts.jobs.waiting_of(world.ann.id) == []
    # Others here, another server and a DM are as before.
    await world.ben.slash(world.channel, "imagine", prompt="a dog")
    await world.result(2)
    await ann_there.slash(channel, "imagine", prompt="a dog")
    await world.result(1, channel)
    assert "cat" in str((await world.ann.user.slash("imagine", prompt="a cat")).response)


async def test_privacy_and_help_stay_open_and_an_erasure_lifts_no_block(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    await world.manager().slash(world.channel, BLOCK, person=world.ann)
    for command in ("help", "privacy notice", "privacy export"):
        answer = await world.ann.slash(world.channel, command)
        assert answer.response is not None
        assert answer.response.content != HERE
    asked = await world.ann.slash(world.channel, "privacy delete")
    await world.ann.click(asked.response, label="Delete everything")
    assert (await world.parts.privacy.about(world.ann.id))["person"] == []
    await world.stop()
    await world.start()
    await world.engine_ready()
    assert turned_away(await world.ann.slash(world.channel, "imagine", prompt="a cat"))


async def test_an_owner_blocks_everywhere_and_a_manager_cannot_end_that(world: World) -> None:
    owner, manager = world.owner(), world.manager()
    channel, ann_there = another(world)
    assert "anywhere any more" in words(
        await owner.slash(world.channel, BLOCK, person=world.ann, everywhere=True)
    )
    for answer in (
        await world.ann.slash(world.channel, "imagine", prompt="a cat"),
        await ann_there.slash(channel, "imagine", prompt="a cat"),
        await world.ann.user.slash("imagine", prompt="a cat"),
    ):
        assert words(answer) == ANYWHERE
    among_friends = start_among_friends(world, world.ann, "imagine", prompt="a cat")
    await world.until(lambda: among_friends.response, "an answer among friends")
    assert words(among_friends) == ANYWHERE
    said = words(await manager.slash(world.channel, "admin user unblock", person=world.ann))
    assert "is not blocked in this server. The owners of this bot have blocked" in said
    assert words(await world.ann.slash(world.channel, "me")) == ANYWHERE
    await owner.slash(world.channel, "admin user unblock", person=world.ann, everywhere=True)
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    assert await acts(world) == [BLOCKED, UNBLOCKED]


async def test_a_block_cancels_the_jobs_of_this_server_and_gives_their_cost_back(
    world: World,
) -> None:
    channel, ann_there = another(world)
    for person, where in (
        (world.ann, world.channel),
        (world.ann, world.channel),
        (ann_there, channel),
    ):
        await person.slash(where, "imagine", prompt="a cat engine:hold")
    await world.ben.slash(world.channel, "imagine", prompt="a dog engine:hold")
    said = words(await world.manager().slash(world.channel, BLOCK, person=world.ann))
    assert "Jobs that were cancelled, at no cost: 2." in said
    (left,) = await world.parts.jobs.waiting_of(world.ann.id)
    assert left.submission.destination.guild_id == channel.guild.id
    usage = await world.parts.ledger.usage(world.ann.id, world.parts.limits)
    assert usage.used_today == left.cost
    assert len(await world.parts.jobs.waiting_of(world.ben.id)) == 1
    world.go()
    await world.result(1)
    await world.result(1, channel)


async def test_nobody_is_blocked_by_mistake(world: World) -> None:
    owner, manager = world.owner(), world.manager()
    role = world.guild.create_role("admin", permissions=discord.Permissions(administrator=True))
    admin = world.guild.add_member(world.env.create_user("ada"), roles=[role])
    for actor, target, options, reason in (
        (manager, manager, {}, "block yourself"),
        (manager, owner, {}, "an owner of this bot"),
        (manager, admin, {}, "manages this server"),
        (admin, manager, {}, "manages this server"),
        (owner, owner, {"everywhere": True}, "block yourself"),
    ):
        answer = await actor.slash(world.channel, BLOCK, person=target, **options)
        assert reason in words(answer)
        assert world.parts.blocks.of(target.id, world.guild.id) is None
        assert world.parts.blocks.of(target.id, EVERYWHERE) is None
    assert await acts(world) == []


@pytest.mark.parametrize("command", ["block", "unblock", "info"])
async def test_others_and_managers_everywhere_do_nothing(world: World, command: str) -> None:
    manager, owner = world.manager(), world.owner()
    world.show_admin(world.ben)
    await world.parts.blocks.block(EVERYWHERE, 5, actor_id=1)
    before = await acts(world)
    tries: list[tuple[MemberActor, dict[str, Any], str]] = [
        (world.ben, {}, ONLY_MANAGERS),
        (world.ben, {"everywhere": True}, ONLY_MANAGERS),
        (manager, {"everywhere": True}, ONLY_OWNERS),
        (owner, {}, ONLY_MANAGERS),
    ]
    for actor, options, reason in tries:
        answer = await actor.slash(
            world.channel, f"admin user {command}", person=world.ann, **options
        )
        assert reason in words(answer)
    assert world.parts.blocks.of(world.ann.id, world.guild.id) is None
    assert world.parts.blocks.of(5, EVERYWHERE) is not None
    assert await acts(world) == before


async def test_info_counts_here_alone_and_shows_no_prompt(world: World) -> None:
    owner, manager = world.owner(), world.manager()
    channel, ann_there = another(world)
    await world.ann.slash(world.channel, "imagine", prompt="a secret cat")
    await world.result()
    for number in (1, 2):
        await ann_there.slash(channel, "imagine", prompt="a foreign secret")
        await world.result(number, channel)
    here = card(await manager.slash(world.channel, "admin user info", person=world.ann))
    assert "started in the last 24 hours: 1\nfinished in the last 30 days: 1" in here
    assert "Jobs waiting or running: 4" in here
    assert "today" not in here  # what is used up elsewhere is nobody's here
    everywhere = card(
        await owner.slash(world.channel, "admin user info", person=world.ann, everywhere=True)
    )
    assert "finished in the last 30 days: 3" in everywhere
    assert "3 of 50 pictures today" in everywhere
    assert "secret" not in here + everywhere
    await manager.slash(world.channel, BLOCK, person=world.ann)
    here = card(await manager.slash(world.channel, "admin user info", person=world.ann))
    assert f"by <@{manager.id}>" in here
