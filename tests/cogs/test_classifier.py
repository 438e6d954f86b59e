"""What becomes of unsafe pictures: by each mode, once, in the own server, also over restarts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from simcord.actors import MemberActor
from simcord.builders import ChannelHandle

from cogs import _authority, _classifier, _held, _parcel, _reports, _unsafe
from engine.errors import UnknownJobError
from engine.types import JobState
from storage.cases import NOT_RELEASED, RELEASED
from storage.channel_rules import Mode
from storage.safety import SET_CLASSIFIER, SET_REPORTS, Classifier
from tests.cogs.conftest import SOON_S, World, labels
from tests.cogs.test_admin_limits import acts, another, words
from tests.cogs.test_reports import case, press

pytestmark = pytest.mark.parametrize("world", [("--classifier",)], indirect=True)

SET = "admin safety classifier"
UNSAFE = "a cat engine:unsafe"
REFUSED = "This server shows only pictures that the safety checker finds safe, and this one is not."
HELD = "Held back"
BUTTONS = ["Release", "Delete", "Show"]


async def choose(world: World, mode: str) -> tuple[MemberActor, ChannelHandle]:
    """The server's manager, who has chosen the mode, and the moderators' channel."""
    manager = world.manager()
    mods = world.guild.create_text_channel("mods")
    await manager.slash(world.channel, "admin safety reports", channel=mods)
    answer = await manager.slash(world.channel, SET, mode=mode)
    expected = _classifier.WORDS[Classifier(mode)].format(channel=f"<#{mods.id}>")
    assert words(answer).startswith(expected)
    return manager, mods


async def usage(world: World) -> float:
    return (await world.parts.ledger.usage(world.ann.id, world.parts.limits)).used_today


def hidden(message: Any) -> list[bool]:
    return [file.is_spoiler() for file in message.attachments]


async def ask(world: World, prompt: str = UNSAFE, **options: Any) -> Any:
    return await world.ann.slash(world.channel, "imagine", prompt=prompt, **options)


def age_restrict(world: World, channel: ChannelHandle) -> None:
    world.env.backend.channels[channel.id].nsfw = True
    world.bot.get_channel(channel.id).nsfw = True  # type: ignore[union-attr]


async def test_off_shows_everything_and_scores_are_stored(world: World) -> None:
    await ask(world, UNSAFE)
    assert hidden(await world.result()) == [False]
    await ask(world, "a dog")
    await world.result(2)
    dog, cat = await world.parts.history.recent(world.ann.id)
    assert (dog.scores, cat.scores) == ((-0.05,), (0.123,))
    assert cat.is_unsafe
    assert not dog.is_unsafe


async def test_spoiler_hides_unsafe_pictures_alone(world: World) -> None:
    await choose(world, "spoiler")
    await ask(world, UNSAFE, count=2)
    assert hidden(await world.result()) == [True, True]
    await ask(world, "a dog")
    assert hidden(await world.result(2)) == [False]
    await ask(world, "a dog engine:unlooked")  # nobody knows
    assert hidden(await world.result(3)) == [True]


async def test_block_says_why_gives_the_cost_back_and_keeps_nothing(world: World) -> None:
    await choose(world, "block")
    before = await usage(world)
    await ask(world)
    told = await world.line(REFUSED)
    assert f"<@{world.ann.id}>" in told.content
    assert "The cost was given back." in told.content
    assert labels(told) == ["Try again"]
    assert told.attachments == []
    assert await usage(world) == before
    assert await world.parts.history.recent(world.ann.id) == []
    assert not [
        path for path in (world.settings.data_dir / "pictures").rglob("*") if path.is_file()
    ]
    await ask(world, "a dog")  # the others are shown
    await world.result()


async def test_try_again_draws_with_another_seed(world: World) -> None:
    await choose(world, "block")
    await ask(world, seed=5)
    told = await world.line(REFUSED)
    await world.ann.click(told, label="Try again")
    await world.until(lambda: len([m for m in world.messages() if REFUSED in m.content]) == 2)
    rows = await world.parts.jobs._db.rows("SELECT id FROM jobs ORDER BY number")
    first, second = await world.parts.jobs.get_many([row["id"] for row in rows])
    assert first.request.seed != second.request.seed
    assert first.state is second.state is JobState.FAILED


async def test_a_held_picture_comes_when_a_moderator_releases_it(world: World) -> None:
    _, mods = await choose(world, "hold")
    await ask(world)
    notice = await world.line(_parcel.WAITS)
    assert notice.attachments == []
    assert labels(notice) == ["Delete"]
    shown = await case(world, mods, HELD)
    assert labels(shown) == BUTTONS
    assert f"<@{world.ann.id}> for <#{world.channel.id}>" in shown.content
    assert shown.attachments == []  # it may be for adults, and this channel is for all
    assert await world.parts.history.recent(world.ann.id) == []  # nobody gets at it meanwhile
    mod = world.moderator()
    looked = await mod.click(shown, label="Show")
    assert looked.ephemeral
    assert hidden(looked.response) == [True]
    answer = await mod.click(shown, label="Release")
    assert words(answer) == _held.RELEASED
    result = await world.result()
    assert hidden(result) == [False]
    await world.gone(notice)
    shown = await case(world, mods, f"Released by <@{mod.id}>.")
    assert labels(shown) == []
    assert len(await world.parts.history.recent(world.ann.id)) == 1
    assert await acts(world) == [SET_REPORTS, SET_CLASSIFIER, RELEASED]


async def test_a_held_picture_that_is_deleted_is_told_to_its_owner_and_refunded(
    world: World,
) -> None:
    _, mods = await choose(world, "hold")
    before = await usage(world)
    await ask(world)
    notice = await world.line(_parcel.WAITS)
    mod = world.moderator()
    answer = await mod.click(await case(world, mods, HELD), label="Delete")
    assert words(answer) == _held.DELETED
    told = await world.line("do not want it shown here")
    assert "The cost was given back." in told.content
    await world.gone(notice)
    shown = await case(world, mods, f"Deleted by <@{mod.id}>.")
    assert labels(shown) == []
    assert await usage(world) == before
    assert await acts(world) == [SET_REPORTS, SET_CLASSIFIER, NOT_RELEASED]
    assert not [
        path for path in (world.settings.data_dir / "pictures").rglob("*") if path.is_file()
    ]


@pytest.mark.parametrize("label", ["Release", "Delete"])
async def test_pressed_twice_and_over_restarts_the_owner_is_told_once(
    world: World, label: str
) -> None:
    manager, mods = await choose(world, "hold")
    await ask(world)
    notice = await world.line(_parcel.WAITS)
    shown = await case(world, mods, HELD)
    job_id = shown_id(shown)
    await delivered(world, job_id)
    await world.stop()
    await world.start()
    await world.engine_ready()
    answers = [await press_held(world, manager, shown, job_id, label) for _ in range(2)]
    assert [words(answer) for answer in answers] == [
        _held.RELEASED if label == "Release" else _held.DELETED,
        _held.DECIDED,
    ]
    await world.gone(notice)
    await case(world, mods, f"by <@{manager.id}>")
    if label == "Release":
        await world.result()
    else:
        await world.line("do not want it shown here")
    await delivered(world, job_id)
    await world.stop()
    await world.start()
    await world.engine_ready()
    await ask(world, "a dog")
    await world.line("a dog")
    await world.until(lambda: any("**a dog**" in m.content for m in world.results()))
    await world.until(
        lambda: len([m for m in world.messages() if "engine:unsafe" in m.content]) == 1,
        "one message about the held picture",
    )
    assert len(world.messages(mods)) == 1


async def delivered(world: World, job_id: str) -> None:
    """Returns when it is stored that the owner was told: the simulated Discord knows no nonces."""
    async with asyncio.timeout(SOON_S):
        while (await world.parts.jobs.get(job_id)).delivered_at is None:
            pass


def shown_id(shown: Any) -> str:
    return str(shown.components[0].children[0].custom_id).split(":")[1]


async def press_held(world: World, person: MemberActor, shown: Any, job_id: str, label: str) -> Any:
    return await press(world, person, shown, job_id, label, "held")


async def test_the_owner_can_withdraw_what_is_held(world: World) -> None:
    manager, mods = await choose(world, "hold")
    await ask(world)
    notice = await world.line(_parcel.WAITS)
    shown = await case(world, mods, HELD)
    await world.ann.click(notice, label="Delete")
    await world.gone(notice)
    after = await case(world, mods, "The picture is deleted.")
    assert labels(after) == []
    answer = await press_held(world, manager, shown, shown_id(shown), "Release")
    assert words(answer) == _held.DECIDED


async def test_private_pictures_are_not_shown_to_moderators(world: World) -> None:
    _, mods = await choose(world, "hold")
    answer = await ask(world, UNSAFE, private=True)
    await world.until(lambda: answer.response is not None and REFUSED in answer.response.content)
    assert world.messages(mods) == []


async def test_age_restricted_channels_are_left_out_unless_they_are_sfw(world: World) -> None:
    await choose(world, "block")
    age_restrict(world, world.channel)
    await ask(world)
    assert hidden(await world.result()) == [False]
    rules = world.parts.channel_rules
    await rules.set_mode(world.guild.id, world.channel.id, Mode.SFW, actor_id=1)
    await ask(world)
    await world.line(REFUSED)


async def test_an_age_restricted_moderators_channel_sees_a_thumbnail(world: World) -> None:
    _, mods = await choose(world, "hold")
    age_restrict(world, mods)
    await ask(world)
    shown = await case(world, mods, HELD)
    assert hidden(shown) == [True]


async def test_a_mode_counts_in_its_own_server_alone_and_not_in_a_dm(world: World) -> None:
    await choose(world, "block")
    channel, ann_there = another(world)
    await ann_there.slash(channel, "imagine", prompt=UNSAFE)
    assert hidden(await world.result(1, channel)) == [False]
    await world.ann.user.slash("imagine", prompt=UNSAFE)
    await world.result(1, world.ann.user.dm_channel)
    manager_there = world.manager(channel.guild)
    answer = await manager_there.slash(channel, SET)
    assert words(answer) == _classifier.WORDS[Classifier.OFF]


async def test_a_private_picture_of_before_is_not_published_past_it(world: World) -> None:
    answer = await ask(world, UNSAFE, private=True)
    await world.until(lambda: answer.response is not None and answer.response.attachments)
    await choose(world, "block")
    published = await world.ann.click(answer.response, label="Publish")
    assert words(published) == _unsafe.NOT_SHOWN
    assert world.results() == []


async def test_sheets_leave_unsafe_pictures_out(world: World) -> None:
    from tests.cogs.test_styles import put

    await put(world, "neon")
    await choose(world, "block")
    await world.ann.slash(world.channel, "styles try", prompt=UNSAFE, styles="none, neon")
    await world.line(REFUSED)
    assert await world.parts.history.recent(world.ann.id) == []


async def test_previews_are_not_shown_where_pictures_are_checked(world: World) -> None:
    await choose(world, "spoiler")
    destination = (await newest_job(world)).submission.destination
    assert not world.bot.desk.board._may_preview(destination)
    await world.parts.safety.set_classifier(world.guild.id, Classifier.OFF, actor_id=1)
    assert world.bot.desk.board._may_preview(destination)


async def newest_job(world: World) -> Any:
    await ask(world, "a dog")
    await world.result()
    (row,) = await world.parts.jobs._db.rows("SELECT id FROM jobs")
    return await world.parts.jobs.get(row["id"])


async def test_hold_needs_a_channel_and_the_channel_stays_while_it_holds(world: World) -> None:
    manager = world.manager()
    answer = await manager.slash(world.channel, SET, mode="hold")
    assert words(answer) == _classifier.NEEDS_CHANNEL
    _, mods = await choose(world, "hold")
    answer = await manager.slash(world.channel, "admin safety reports", off=True)
    assert words(answer) == _reports.HOLDS
    world.env.backend.delete_channel(mods.id)
    await ask(world)  # nobody would ever decide
    await world.line(REFUSED)


async def test_only_managers_choose(world: World) -> None:
    moderator = world.moderator()
    world.show_admin(world.ann, moderator)
    for person in (world.ann, moderator, world.owner()):
        for options in ({}, {"mode": "off"}, {"mode": "block"}):
            answer = await person.slash(world.channel, SET, **options)
            assert words(answer) == _authority.NEEDS_MANAGER
    assert world.parts.safety.of(world.guild.id).classifier is Classifier.OFF
    assert await acts(world) == []


async def test_others_do_not_decide_about_held_pictures(world: World) -> None:
    _, mods = await choose(world, "hold")
    await ask(world)
    shown = await case(world, mods, HELD)
    job_id = shown_id(shown)
    before = await acts(world)
    for label in BUTTONS:
        for person in (world.ann, world.owner()):
            answer = await person.click(shown, label=label)
            assert words(answer) == _authority.NEEDS_MODERATOR
    channel, _ = another(world)
    stranger = world.manager(channel.guild)
    for label in BUTTONS:
        answer = await press(world, stranger, shown, job_id, label, "held", channel)
        assert "for the moderators of this server to decide about" in words(answer)
    assert await acts(world) == before
    with pytest.raises(UnknownJobError):
        await world.parts.cases.get(job_id, "held", channel.guild.id)  # type: ignore[arg-type]
