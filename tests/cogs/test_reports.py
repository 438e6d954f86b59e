"""Reports in a server's own moderation channel: who sets it, what it shows, and that each act is one."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest
from simcord.actors import MemberActor
from simcord.builders import ChannelHandle
from simcord.enums import InteractionType
from simcord.interactions import base_payload
from simcord.results import InteractionResult

from cogs import _authority, _blocking, _mod_channel, _reports
from engine.errors import UnknownJobError
from storage.blocks import BLOCKED
from storage.cases import DELETED, DISMISSED, Kind
from storage.safety import SET_REPORTS
from tests.cogs.conftest import SOON_S, World, labels, parts_of
from tests.cogs.test_admin_limits import acts, another, words
from tests.cogs.test_menus import made, report

SET = "admin safety reports"
BUTTONS = ["Delete", "Block", "Dismiss"]


async def with_channel(world: World) -> tuple[MemberActor, ChannelHandle]:
    """The server's manager, and the channel that they chose."""
    manager = world.manager()
    mods = world.guild.create_text_channel("mods")
    answer = await manager.slash(world.channel, SET, channel=mods)
    assert f"go to <#{mods.id}> from now on" in words(answer)
    return manager, mods


async def case(world: World, mods: ChannelHandle, text: str = "Reported picture") -> Any:
    """The newest message to the moderators, once it says that."""

    def seen() -> Any:
        return next((m for m in reversed(world.messages(mods)) if text in m.content), None)

    return await world.until(seen, f"{text!r} in the moderators' channel")


async def is_open(world: World, job_id: str) -> bool:
    try:
        await world.parts.cases.get(job_id, Kind.REPORT, world.guild.id)
    except UnknownJobError:
        return False
    return True


async def press(
    world: World,
    person: MemberActor,
    shown: Any,
    job_id: str,
    label: str,
    kind: str = "case",
    channel: ChannelHandle | None = None,
) -> InteractionResult:
    """Presses a button as the message showed it once, whatever has become of it."""
    custom_id = f"easel:{job_id}:{kind}_{label.lower()}:0"
    channel = channel or world.channel
    message = {
        "id": str(shown.id), "channel_id": str(shown.channel.id), "content": "", "embeds": [],
        "author": {"id": str(world.bot.application_id), "username": "x", "discriminator": "0",
                   "avatar": None},
        "attachments": [], "timestamp": "2026-01-01T00:00:00+00:00", "edited_timestamp": None,
        "tts": False, "mention_everyone": False, "mentions": [], "mention_roles": [],
        "pinned": False, "type": 0, "components": [{"type": 1, "components": [
            {"type": 2, "style": 4, "label": label, "custom_id": custom_id}]}],
    }  # fmt: skip
    data = {"custom_id": custom_id, "component_type": 2}
    record, payload = base_payload(
        world.env.backend,
        type=InteractionType.MESSAGE_COMPONENT,
        channel_id=channel.id,
        guild_id=channel.guild.id,
        user_id=person.id,
        data=data,
    )
    payload["message"] = message
    with world.env.time_context():
        world.bot._connection.parse_interaction_create(payload)
    result = InteractionResult(world.env, record)
    await world.until(  # under load it is deferred first
        lambda: result.response and result.response.content, f"an answer to {label}"
    )
    return result


async def test_a_report_comes_to_the_moderators_without_the_reporters_name(world: World) -> None:
    _, mods = await with_channel(world)
    message, generation = await made(world)
    answer = await report(world.ben, world, message, "not @everyone's\n**taste** ")
    assert answer.ephemeral
    assert answer.response.content == _reports.REPORTED_HERE
    shown = await case(world, mods)
    link = f"https://discord.com/channels/{world.guild.id}/{world.channel.id}/{message.id}"
    assert link in shown.content
    assert f"<@{world.ann.id}>" in shown.content
    assert "1 report\n" in shown.content
    assert "not \\@everyone's \\*\\*taste\\*\\*" in shown.content
    assert str(world.ben.id) not in shown.content
    assert "ben" not in shown.content
    assert labels(shown) == BUTTONS
    (file,) = shown.attachments
    assert file.filename == f"SPOILER_easel-{generation.id}.webp"
    assert file.description == "a cat"
    await report(world.moderator(), world, message, "mine, too")
    shown = await case(world, mods, "mine, too")
    assert "2 reports\n" in shown.content
    assert len(world.messages(mods)) == 1


async def test_without_a_channel_reports_wait_for_the_owners_as_before(world: World) -> None:
    message, _ = await made(world)
    answer = await report(world.ben, world, message)
    assert answer.response.content == _reports.REPORTED
    manager, mods = await with_channel(world)
    answer = await manager.slash(world.channel, SET)
    assert words(answer) == f"Reports of pictures that are shown in this server go to <#{mods.id}>."
    assert words(await manager.slash(world.channel, SET, off=True)) == _reports.OFF
    assert words(await manager.slash(world.channel, SET)) == _reports.NOW_OFF
    answer = await report(world.ann, world, message)
    assert answer.response.content == _reports.REPORTED
    assert len(await world.parts.reports.newest()) == 2
    assert await world.parts.cases.to_show(9) == []
    assert await acts(world) == [SET_REPORTS, SET_REPORTS]


async def test_a_private_picture_and_one_of_a_dm_are_the_owners_to_look_at(world: World) -> None:
    _, mods = await with_channel(world)
    hidden = await world.ann.slash(world.channel, "imagine", prompt="a cat", private=True)
    await world.until(lambda: hidden.response is not None and hidden.response.attachments)
    answer = await report(world.ann, world, hidden.response)
    assert answer.response.content == _reports.REPORTED
    assert world.messages(mods) == []


async def test_delete_takes_the_picture_and_its_message_away(world: World) -> None:
    _, mods = await with_channel(world)
    message, generation = await made(world)
    await report(world.ben, world, message)
    shown = await case(world, mods)
    mod = world.moderator()
    answer = await mod.click(shown, label="Delete")
    assert words(answer) == _reports.DELETED
    await world.gone(message)
    shown = await case(world, mods, f"Deleted by <@{mod.id}>.")
    assert labels(shown) == ["Block"]
    assert shown.attachments == []
    assert (await world.parts.history.get(generation.id)).deleted_at is not None
    with pytest.raises(UnknownJobError):
        await world.parts.pictures.get(generation.pictures[0])
    assert await acts(world) == [SET_REPORTS, DELETED]


async def test_block_does_what_the_command_does(world: World) -> None:
    manager, mods = await with_channel(world)
    message, _ = await made(world)
    await world.ann.slash(world.channel, "imagine", prompt="engine:hold a dog")
    await report(world.ben, world, message)
    answer = await manager.click(await case(world, mods), label="Block")
    assert "cannot use me in this server any more. Jobs that were cancelled: 1." in words(answer)
    assert world.parts.blocks.of(world.ann.id, world.guild.id) is not None
    shown = await case(world, mods, f"was blocked by <@{manager.id}>")
    assert labels(shown) == ["Delete"]
    assert await acts(world) == [SET_REPORTS, BLOCKED]


async def test_block_is_for_managers_and_hits_no_manager(world: World) -> None:
    manager, mods = await with_channel(world)
    await manager.slash(world.channel, "imagine", prompt="a cat")
    await report(world.ben, world, await world.result())
    shown = await case(world, mods)
    answer = await world.moderator().click(shown, label="Block")
    assert words(answer) == _authority.NEEDS_MANAGER
    answer = await world.manager().click(shown, label="Block")
    assert words(answer) == _blocking.NO_MANAGERS
    assert world.parts.blocks.of(manager.id, world.guild.id) is None
    assert await acts(world) == [SET_REPORTS]


async def test_dismiss_leaves_the_picture_and_ends_the_case(world: World) -> None:
    _, mods = await with_channel(world)
    message, generation = await made(world)
    await report(world.ben, world, message)
    mod = world.moderator()
    answer = await mod.click(await case(world, mods), label="Dismiss")
    assert words(answer) == _reports.DISMISSED
    shown = await case(world, mods, f"Dismissed by <@{mod.id}>.")
    assert labels(shown) == []
    assert (await world.parts.history.get(generation.id)).deleted_at is None
    assert [m.id for m in world.results()] == [message.id]
    assert await acts(world) == [SET_REPORTS, DISMISSED]


@pytest.mark.parametrize("label", BUTTONS)
async def test_pressed_twice_also_after_a_restart_is_one_act(world: World, label: str) -> None:
    manager, mods = await with_channel(world)
    message, _ = await made(world)
    await report(world.ben, world, message)
    shown = await case(world, mods)
    (generation,) = await world.parts.history.recent(world.ann.id)
    await world.stop()
    await world.start()
    first, second = await asyncio.gather(
        *(press(world, manager, shown, generation.id, label) for _ in range(2))
    )
    third = await press(world, manager, shown, generation.id, label)
    said = [words(answer) for answer in (first, second, third)]
    assert said.count(_reports.DECIDED) == 2
    assert len(await acts(world)) == 2
    await case(world, mods, f"by <@{manager.id}>")
    assert len(world.messages(mods)) == 1


async def test_a_report_that_was_not_shown_before_a_kill_is_shown_once(world: World) -> None:
    _, mods = await with_channel(world)
    message, generation = await made(world)
    await world.stop()
    async with asyncio.timeout(SOON_S):
        async with parts_of(world.settings) as parts:  # reported, and killed before it was sent
            assert await parts.reports.add(
                generation.id,
                world.ben.id,
                guild_id=world.guild.id,
                channel_id=world.channel.id,
                message_id=message.id,
                for_moderators=True,
            )
    await world.start()
    await case(world, mods)
    assert len(world.messages(mods)) == 1


@pytest.mark.parametrize("label", BUTTONS)
async def test_others_and_moderators_of_other_servers_decide_nothing(
    world: World, label: str
) -> None:
    _, mods = await with_channel(world)
    message, generation = await made(world)
    await report(world.ben, world, message)
    shown = await case(world, mods)
    before = await acts(world)
    for person in (world.ann, world.ben, world.owner()):
        answer = await person.click(shown, label=label)
        assert words(answer) in (_authority.NEEDS_MODERATOR, _authority.NEEDS_MANAGER)
    # A manager of another server presses a button of theirs that names the job.
    channel, ann_there = another(world)
    stranger = world.manager(channel.guild)
    await ann_there.slash(channel, "imagine", prompt="a dog")
    theirs = await world.result(1, channel)
    stored = world.env.backend.get_message(channel.id, theirs.id)
    action = {"Delete": "case_delete", "Block": "case_block", "Dismiss": "case_dismiss"}[label]
    custom_id = f"easel:{generation.id}:{action}:0"
    stored.components[0]["components"][0]["custom_id"] = custom_id
    answer = await stranger.click(theirs, custom_id=custom_id)
    assert "for the moderators of this server to decide about" in words(answer)
    assert await acts(world) == before
    assert (await world.parts.history.get(generation.id)).deleted_at is None
    assert world.parts.blocks.of(world.ann.id, world.guild.id) is None


async def test_a_server_sees_its_own_reports_alone(world: World) -> None:
    _, mods = await with_channel(world)
    channel, ann_there = another(world)
    await ann_there.slash(channel, "imagine", prompt="a dog")
    theirs = await world.result(1, channel)
    form = await ann_there.context_menu(channel, "Report image", theirs)
    answer = await ann_there.submit_modal(form, {"reason": ""})
    assert answer.response.content == _reports.REPORTED
    assert world.messages(mods) == []


async def test_thumbnails_of_age_restricted_channels_stay_out_of_others(world: World) -> None:
    _, mods = await with_channel(world)
    world.env.backend.channels[world.channel.id].nsfw = True
    world.bot.get_channel(world.channel.id).nsfw = True  # type: ignore[union-attr]
    message, _ = await made(world)
    await report(world.ben, world, message)
    shown = await case(world, mods)
    assert shown.attachments == []
    assert _mod_channel.NO_THUMBNAIL in shown.content


async def test_a_channel_that_closed_leaves_the_report_to_the_owners(world: World) -> None:
    _, mods = await with_channel(world)
    message, generation = await made(world)
    world.env.backend.delete_channel(mods.id)
    await report(world.ben, world, message)
    async with asyncio.timeout(SOON_S):
        while await is_open(world, generation.id):
            pass
    assert len(await world.parts.reports.newest()) == 1


async def test_what_the_reporter_or_the_owner_erases_goes_from_the_moderators_too(
    world: World,
) -> None:
    _, mods = await with_channel(world)
    message, _ = await made(world)
    await report(world.ben, world, message, "a secret reason")
    await case(world, mods, "a secret reason")
    asked = await world.ben.slash(world.channel, "privacy delete")
    await world.ben.click(asked.response, label="Delete everything")
    shown = await world.until(
        lambda: next((m for m in world.messages(mods) if "secret" not in m.content), None),
        "a message without the reason",
    )
    assert "report" not in shown.content
    asked = await world.ann.slash(world.channel, "privacy delete")
    await world.ann.click(asked.response, label="Delete everything")
    await world.until(lambda: not world.messages(mods), "no message to the moderators")


async def test_only_managers_set_the_channel_and_only_one_of_their_own(world: World) -> None:
    manager = world.manager()
    world.show_admin(world.ann, world.moderator())
    for person in (world.ann, world.shown_admin[-1], world.owner()):
        for options in ({}, {"channel": world.channel}, {"off": True}):
            answer: InteractionResult = await person.slash(world.channel, SET, **options)
            assert words(answer) == _authority.NEEDS_MANAGER
    answer = await manager.slash(world.channel, SET, channel=world.channel, off=True)
    assert words(answer) == _reports.ONE_OF_BOTH
    answer = await manager.slash(world.channel, SET, channel=world.channel)
    assert words(answer).endswith(_reports.SET_FOR_ALL_TO_SEE)
    own = world.bot.user
    assert own is not None
    deaf = world.guild.create_text_channel(
        "deaf", overwrites={own: discord.PermissionOverwrite(send_messages=False)}
    )
    answer = await manager.slash(world.channel, SET, channel=deaf)
    assert "I cannot post in" in words(answer)
    assert world.parts.safety.of(world.guild.id).reports == world.channel.id
    assert await acts(world) == [SET_REPORTS]
