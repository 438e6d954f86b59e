"""`/admin limits`: who may set what for whom, and that no entrance goes past it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from simcord.actors import MemberActor
from simcord.builders import ChannelHandle
from simcord.results import InteractionResult

from engine.limits import EVERYWHERE, Kind, Rule, Target
from storage.grants import GRANTED, TAKEN_BACK
from storage.people import Preferences
from storage.rules import RESET, SET
from tests.cogs.cdn import photo
from tests.cogs.conftest import World
from tests.cogs.test_styles import put

ONLY_OWNERS = "Only the owners"
ONLY_MANAGERS = "Only people with the permission Manage Server"


def words(answer: InteractionResult) -> str:
    assert answer.ephemeral
    assert answer.response is not None
    return str(answer.response.content)


def card(answer: InteractionResult) -> str:
    assert answer.ephemeral
    assert answer.response is not None
    (embed,) = answer.response.embeds
    return "\n".join([str(embed.description), *(str(field.value) for field in embed.fields)])


async def acts(world: World) -> list[str]:
    return [entry.act for entry in reversed(await world.parts.audit.newest())]


def another(world: World) -> tuple[ChannelHandle, MemberActor]:
    """A channel of a second server, and Ann in it."""
    guild = world.env.create_guild("other")
    return guild.create_text_channel("there"), guild.add_member(world.ann.user)


async def refusal(answer: InteractionResult) -> str:
    assert answer.ephemeral, answer.response
    return words(answer)


async def limit(world: World, **rule: Any) -> None:
    await world.parts.rules.set(Target(world.guild.id), Rule(**rule), actor_id=1)


async def test_a_manager_sets_shows_and_resets_limits_of_this_server_alone(world: World) -> None:
    manager = world.manager()
    role = world.guild.create_role("gold")
    channel, ann_there = another(world)
    set_ = "admin limits set"
    said = words(await manager.slash(world.channel, set_, steps=9, waiting=2))
    assert said == "Set for everybody here: Jobs waiting or running: 2 · Steps of a picture: 9"
    assert f"<@&{role.id}>" in words(await manager.slash(world.channel, set_, role=role, steps=12))
    said = words(await manager.slash(world.channel, set_, person=world.ann, count=1))
    assert f"<@{world.ann.id}>: Pictures at a time: 1" in said
    await manager.slash(world.channel, set_, count=3)  # the rest of the rule stays
    rules = world.parts.rules.of_server(world.guild.id)
    assert rules == {
        Target(world.guild.id): Rule(waiting=2, steps=9, count=3),
        Target(world.guild.id, Kind.ROLE, role.id): Rule(steps=12),
        Target(world.guild.id, Kind.PERSON, world.ann.id): Rule(count=1),
    }
    shown = card(await manager.slash(world.channel, "admin limits show"))
    assert f"**<@&{role.id}>** · Steps of a picture: 12" in shown
    assert "What this bot allows everybody: Jobs waiting or running: 4" in shown
    shown = card(await manager.slash(world.channel, "admin limits show", person=world.ann))
    assert "Pictures at a time: 1 (set for this person in this server)" in shown
    assert "Steps of a picture: 9 (set for everybody in this server)" in shown
    # Nothing of it is seen or holds in another server.
    assert await ann_there.slash(channel, "imagine", prompt="a cat", steps=20, count=2)
    await world.result(1, channel)
    assert "2 in this server" not in card(await ann_there.slash(channel, "me"))
    assert words(
        await manager.slash(world.channel, "admin limits reset", person=world.ann)
    ).startswith("Limits that were reset: 1")
    assert "2." in words(await manager.slash(world.channel, "admin limits reset", everything=True))
    assert world.parts.rules.of_server(world.guild.id) == {}
    assert await acts(world) == [SET] * 4 + [RESET] * 3


async def test_a_manager_of_one_server_cannot_reach_the_rules_of_another(world: World) -> None:
    channel, _ = another(world)
    theirs = Target(channel.guild.id)
    await world.parts.rules.set(theirs, Rule(steps=5), actor_id=1)
    manager = world.manager()
    assert "steps" not in card(await manager.slash(world.channel, "admin limits show")).lower()
    await manager.slash(world.channel, "admin limits reset", everything=True)
    await manager.slash(world.channel, "admin limits set", steps=50)
    assert world.parts.rules.rule(theirs) == Rule(steps=5)


async def test_others_and_managers_everywhere_change_nothing(world: World) -> None:
    manager, owner = world.manager(), world.owner()
    world.show_admin(world.ann)
    group = "admin limits"
    tries: list[tuple[MemberActor, str, dict[str, Any], str]] = [
        (world.ann, "show", {}, ONLY_MANAGERS),
        (world.ann, "set", {"steps": 5}, ONLY_MANAGERS),
        (world.ann, "set", {"steps": 5, "person": world.ben}, ONLY_MANAGERS),
        (world.ann, "set", {"steps": 5, "everywhere": True}, ONLY_MANAGERS),
        (world.ann, "reset", {"everything": True}, ONLY_MANAGERS),
        (world.ann, "grant", {"person": world.ann, "pictures": 9.0}, ONLY_OWNERS),
        (manager, "show", {"everywhere": True}, ONLY_OWNERS),
        (manager, "set", {"daily": 99.0, "everywhere": True}, ONLY_OWNERS),
        (manager, "set", {"steps": 5, "person": world.ben, "everywhere": True}, ONLY_OWNERS),
        (manager, "reset", {"everywhere": True}, ONLY_OWNERS),
        (manager, "grant", {"person": manager, "pictures": 9.0}, ONLY_OWNERS),
        (owner, "set", {"steps": 5}, ONLY_MANAGERS),  # owns the bot, not the server
        (owner, "reset", {}, ONLY_MANAGERS),
    ]
    for person, command, options, reason in tries:
        answer = await person.slash(world.channel, f"{group} {command}", **options)
        assert reason in words(answer), (person.name, command)
    assert world.parts.rules.of_server(world.guild.id) == {}
    assert world.parts.rules.of_server(EVERYWHERE) == {}
    assert await acts(world) == []


async def test_what_cannot_be_set_is_refused_in_one_sentence(world: World) -> None:
    manager, owner = world.manager(), world.owner()
    role = world.guild.create_role("gold")
    await world.parts.rules.set(Target(EVERYWHERE), Rule(side=768), actor_id=1)
    before = await acts(world)
    tries: list[tuple[MemberActor, dict[str, Any], str]] = [
        (manager, {}, "at least one of the options"),
        (manager, {"steps": 5, "role": role, "person": world.ann}, "one of them, or neither"),
        (manager, {"daily": 5.0}, "Only the owners of this bot limit what people make"),
        (manager, {"per_minute": 0}, "0 would be no limit"),
        (manager, {"per_minute": 11}, "at most 10 here"),
        (manager, {"waiting": 5}, "at most 4 here"),
        (manager, {"size": 769}, "at most 768 here"),
        (owner, {"steps": 5, "role": role, "everywhere": True}, "belongs to its server"),
    ]
    for person, options, reason in tries:
        answer = await person.slash(world.channel, "admin limits set", **options)
        assert reason in words(answer), options
    assert world.parts.rules.of_server(world.guild.id) == {}
    assert await acts(world) == before


async def test_an_owner_limits_everybody_and_grants_pictures(world: World) -> None:
    owner = world.owner()
    channel, ann_there = another(world)
    said = words(await owner.slash(world.channel, "admin limits set", daily=1.0, everywhere=True))
    assert said == "Set for everybody everywhere: Standard pictures in 24 hours: 1"
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    message = await world.result()
    assert "1 of 1 pictures today" in message.content
    for where, person in ((world.channel, world.ann), (channel, ann_there)):
        assert "1 of 1 pictures" in words(await person.slash(where, "imagine", prompt="a cat"))
    assert "1 of 1 pictures" in words(await world.ann.user.slash("imagine", prompt="cat"))
    grant = "admin limits grant"
    said = words(await owner.slash(world.channel, grant, person=world.ann, pictures=1.0))
    assert said.endswith("has 1 extra pictures to be used up once, and 0 more in 24 hours.")
    assert "**1 left**" in card(await world.ann.slash(world.channel, "me"))
    await ann_there.slash(channel, "imagine", prompt="a cat")
    await world.result(1, channel)
    assert "1 of 1 pictures" in words(await world.ann.slash(world.channel, "imagine", prompt="x"))
    await owner.slash(world.channel, grant, person=world.ann, pictures=2.0, days=3)
    await world.ann.slash(world.channel, "imagine", prompt="a cat", count=2)
    await world.result(2)
    said = words(await owner.slash(world.channel, grant, person=world.ann, pictures=0.0))
    assert "2 more in 24 hours" in said
    assert (await acts(world))[-3:] == [GRANTED, GRANTED, TAKEN_BACK]
    await owner.slash(world.channel, "admin limits reset", everything=True, everywhere=True)
    assert "48" not in card(await world.ann.slash(world.channel, "me"))  # 4 of 50 were used
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result(3)


async def test_roles_of_the_asker_count_and_the_most_generous_one(world: World) -> None:
    manager = world.manager()
    gold, silver = world.guild.create_role("gold"), world.guild.create_role("silver")
    rich = world.guild.add_member(world.env.create_user("rich"), roles=[gold, silver])
    for role, count in ((None, 1), (gold, 3), (silver, 2)):
        options = {"count": count} | ({"role": role} if role is not None else {})
        await manager.slash(world.channel, "admin limits set", **options)
    said = await refusal(await world.ann.slash(world.channel, "imagine", prompt="a", count=2))
    assert "2 pictures and at most 1 are allowed at a time (set for everybody" in said
    said = await refusal(await rich.slash(world.channel, "imagine", prompt="a", count=4))
    assert "at most 3 are allowed at a time (set for your roles in this server)" in said
    await rich.slash(world.channel, "imagine", prompt="a cat", count=3)
    message = await world.result()
    await rich.send(world.channel, "a dog --repeat 4", reply_to=message)
    await world.line("at most 3 are allowed at a time (set for your roles")


async def test_no_entrance_goes_past_the_limits(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", count=2, steps=20)
    pair = await world.result(1)
    await world.ann.slash(world.channel, "imagine", prompt="a cat", steps=20)
    one = await world.result(2)
    await limit(world, steps=10, count=1)
    for answer in (
        await world.ben.slash(world.channel, "imagine", prompt="a", steps=11),
        await world.ben.slash(world.channel, "imagine", prompt="a --hd", steps=9),
        await world.ben.slash(world.channel, "imagine", prompt="a", steps=8, quality="hd"),
        await world.ben.slash(world.channel, "imagine", prompt="a --repeat 2", steps=5),
        await world.ben.slash(world.channel, "imagine", prompt="{a, b} cat", steps=5),
        await world.ben.slash(world.channel, "remix", source=one.jump_url, prompt="a", count=2),
        await world.ben.slash(world.channel, "remix", image=photo(), prompt="a --repeat 2"),
        await world.ben.click(one, label="Reroll"),
        await world.ben.click(pair, label="Reroll"),
    ):
        said = await refusal(answer)
        assert "are allowed" in said
        assert "set for everybody in this server" in said
    assert "Use /imagine instead; **Info** shows" in said  # of the last one, a button
    form = await world.ben.click(one, label="Remix")
    entered = {"prompt": "a dog --repeat 2", "strength": "medium"}
    sent = await world.ben.submit_modal(form, entered)
    assert "2 pictures and at most 1" in await refusal(sent)
    await world.ben.send(world.channel, "reroll", reply_to=one)
    await world.line("20 steps and at most 10")
    assert await world.parts.jobs.waiting_of(world.ben.id) == []
    # Where a server has no limits, the same are made.
    dm = await world.ben.user.slash("imagine", prompt="a", steps=11)
    assert not dm.ephemeral or "allowed" not in words(dm)


async def test_what_is_left_out_is_fitted_to_the_limits_at_every_entrance(world: World) -> None:
    await put(world, "neon", "sepia", "ink")
    many = {"count": 3, "steps": 20, "width": 96, "height": 48}
    await world.ann.slash(world.channel, "imagine", prompt="a cat", quality="hd", **many)
    several = await world.result(1)
    (wide,) = await world.parts.history.recent(world.ann.id)
    await world.ann.slash(world.channel, "imagine", prompt="a cat", steps=20)
    one = await world.result(2)
    await world.parts.rules.set(Target(EVERYWHERE), Rule(per_minute=0), actor_id=1)
    await limit(world, steps=3, side=48, count=2)
    mine = Preferences(quality="hd", count=4)
    await world.parts.people.set_preferences(world.ben.id, "Ben", mine)
    ben, channel, styles = world.ben, world.channel, {"style": ["neon"]}
    entered = {"prompt": "a dog", "negative": "", "strength": "medium"} | styles

    async def by_form() -> Any:
        return await ben.submit_modal(await ben.click(one, label="Remix"), entered)

    tries: list[Callable[[], Awaitable[Any]]] = [
        lambda: ben.slash(channel, "imagine", prompt="a cat"),
        lambda: ben.slash(channel, "imagine", prompt="a cat --ar 16:9 --hd"),
        lambda: ben.slash(channel, "imagine", prompt="a cat", quality="draft", count=1),
        lambda: ben.slash(channel, "imagine", prompt="a cat", image=photo()),
        lambda: ben.slash(channel, "remix", source=several.jump_url, prompt="a dog"),
        lambda: ben.slash(channel, "remix", image=photo(), prompt="a dog"),
        lambda: ben.slash(channel, "pose", prompt="a robot", pose="waving"),
        lambda: ben.slash(channel, "pose", prompt="a robot", image=photo()),
        lambda: ben.slash(channel, "inpaint", source=several.jump_url, prompt="b", cells="top"),
        lambda: ben.slash(channel, "inpaint", image=photo(), prompt="a hat", cells="top"),
        lambda: ben.click(several, label="V2"),
        lambda: ben.click(one, label="Vary (Strong)"),
        lambda: ben.click(one, label="Zoom 2x"),
        lambda: ben.send(channel, "a dog", reply_to=several),
        lambda: ben.send(channel, f"<@{world.bot.user.id}> a dog", attachments=[photo()]),  # type: ignore[union-attr]
        by_form,
    ]
    for number, attempt in enumerate(tries, 3):
        await attempt()
        await world.result(number)
        (made,) = await world.parts.history.recent(ben.id, limit=1)
        request = made.request
        assert request.steps_asked <= 3, made
        assert request.longest_side(8) <= 48, made
        assert 1 <= request.num_images <= 2, made
        if made.submission.parent_id == wide.id:
            assert (request.width, request.height, request.num_images) == (48, 24, 2)
    await ben.slash(channel, "imagine", prompt="a {red, blue} cat")
    await world.result(len(tries) + 4)
    await ben.slash(channel, "styles try", prompt="a cat")
    await world.until(
        lambda: [m for m in world.messages() if "the same seed" in m.content], "a sheet"
    )


async def test_size_counts_hd_and_upscaling(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", width=128, height=128)
    message = await world.result()
    await limit(world, side=150)
    said = await refusal(await world.ben.click(message, label="Upscale"))
    assert "256 pixels on its longest side and at most 150" in said
    said = await refusal(
        await world.ben.slash(
            world.channel, "imagine", prompt="a", width=128, height=128, quality="hd"
        )
    )
    assert "192 pixels on its longest side and at most 150" in said


async def test_waiting_and_minute_of_this_server_and_who_set_them(world: World) -> None:
    channel, ann_there = another(world)
    await limit(world, waiting=1)
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    said = await refusal(await world.ann.slash(world.channel, "imagine", prompt="a dog"))
    assert "1 jobs waiting in this server and at most 1 are allowed (set for everybody" in said
    await ann_there.slash(channel, "imagine", prompt="a dog")
    world.go()
    await world.result(1)
    await world.result(1, channel)
    await limit(world, per_minute=1)
    said = await refusal(await world.ann.slash(world.channel, "imagine", prompt="a dog"))
    assert "1 jobs in this server in the last minute and at most 1" in said
    assert "You can try again <t:" in said
    await world.ann.user.slash("imagine", prompt="a dog")


async def test_me_and_help_show_the_limits_that_hold_here(world: World) -> None:
    await limit(world, steps=30, per_minute=2)
    shown = card(await world.ann.slash(world.channel, "me"))
    assert "Jobs a minute: 2 in this server (set for everybody in this server), 10 every" in shown
    assert "Steps of a picture: 30 (set for everybody in this server)" in shown
    shown = card(await world.ann.slash(world.channel, "help", topic="limits"))
    assert "**For you here:**\nJobs waiting or running: 4\nJobs a minute: 2 in this" in shown
    shown = card(await world.ann.user.slash("help", topic="limits"))
    assert "For you here" not in shown


async def test_limits_hold_after_a_restart(world: World) -> None:
    manager = world.manager()
    await manager.slash(world.channel, "admin limits set", count=1)
    await world.stop()
    await world.start()
    await world.engine_ready()
    said = await refusal(await world.ann.slash(world.channel, "imagine", prompt="a", count=2))
    assert "at most 1 are allowed" in said
