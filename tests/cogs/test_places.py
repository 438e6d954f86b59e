"""Defaults of channels and servers: who may set them, where they count, and what wins over them."""

from __future__ import annotations

from typing import Any

import discord
import pytest
from simcord.actors import MemberActor
from simcord.builders import ChannelHandle
from simcord.enums import AppCommandType
from simcord.results import InteractionResult

from storage.people import Preferences
from storage.places import SET_DEFAULTS
from tests.cogs.conftest import World, labels
from tests.cogs.test_settings import fields
from tests.cogs.test_styles import put

SLASH = AppCommandType.CHAT_INPUT
UNSET = {"aspect": ["unset"], "count": ["unset"], "quality": "unset", "negative": "", "style": ""}


def person_who_may(world: World, **permissions: bool) -> MemberActor:
    role = world.guild.create_role("role", permissions=discord.Permissions(**permissions))
    return world.guild.add_member(world.env.create_user("mia"), roles=[role])


async def fill(
    actor: MemberActor, shown: InteractionResult, label: str = "Change", **entered: Any
) -> InteractionResult:
    form = await actor.click(shown.response, label=label)
    return await actor.submit_modal(form, UNSET | entered)


async def newest(world: World, person: MemberActor) -> Any:
    return (await world.parts.history.recent(person.id))[0].request


async def test_option_flag_person_channel_server_and_model_in_this_order(world: World) -> None:
    mia = person_who_may(world, manage_guild=True)
    server = await mia.slash(world.channel, "admin channel defaults", where="server")
    await fill(mia, server, negative="of the server", count=["2"], quality="draft", aspect=["3:2"])
    assert fields(server)["Negative prompt"] == "of the server"
    channel = await mia.slash(world.channel, "admin channel defaults")
    await fill(mia, channel, negative="of the channel", count=["3"])
    await world.parts.people.set_preferences(world.ann.id, "Ann", Preferences(negative="of Ann"))
    expected = (
        (world.ann, {}, "of Ann", 3),
        (world.ben, {}, "of the channel", 3),
        (world.ben, {"prompt": "a cat --no flags --repeat 4"}, "flags", 4),
        (world.ben, {"prompt": "a cat --no flags", "negative": "option", "count": 1}, "option", 1),
    )
    for number, (person, given, negative, count) in enumerate(expected, 1):
        await person.slash(world.channel, "imagine", **({"prompt": "a cat"} | given))
        await world.result(number)
        request = await newest(world, person)
        assert (request.negative_prompt, request.num_images) == (negative, count)
        assert request.width > request.height  # as the server has it
        assert request.num_inference_steps < world.parts.engine.info.default_steps  # type: ignore[union-attr]
    other = world.guild.create_text_channel("other")
    await world.ben.slash(other, "imagine", prompt="a cat")
    await world.result(1, other)
    request = await newest(world, world.ben)
    assert (request.negative_prompt, request.num_images) == ("of the server", 2)


async def test_they_survive_a_restart_and_count_for_remixes_of_files_but_not_of_pictures(
    world: World,
) -> None:
    await world.parts.places.set_server(world.guild.id, Preferences(count=2), actor_id=1)
    await world.stop()
    await world.start()
    await world.engine_ready()
    await world.ann.slash(world.channel, "imagine", prompt="a cat", count=1, negative="mine")
    await world.result()
    defaults = Preferences(negative="theirs")
    await world.parts.places.set_channel(world.guild.id, world.channel.id, defaults, actor_id=1)
    await world.ann.slash(world.channel, "remix", source="cat")
    await world.result(2)
    request = await newest(world, world.ann)
    assert (request.negative_prompt, request.num_images) == ("mine", 2)


async def test_threads_have_what_their_channel_has(world: World) -> None:
    defaults = Preferences(count=2)
    await world.parts.places.set_channel(world.guild.id, world.channel.id, defaults, actor_id=1)
    stored = world.env.backend.create_thread(world.channel.id, "a thread", world.ann.id)
    thread = ChannelHandle(world.env, world.guild, stored)
    await world.ann.slash(thread, "imagine", prompt="a cat")
    await world.result(1, thread)
    assert (await newest(world, world.ann)).num_images == 2


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
async def test_who_may_change_them(
    world: World, permissions: dict[str, bool], may_channel: bool, may_server: bool
) -> None:
    mia = person_who_may(world, **permissions)
    command = world.env.backend.find_command("admin", world.guild.id, type=SLASH)
    assert command is not None
    world.guild.set_command_permissions(int(command["id"]), {mia: True})  # Discord shows it
    for where, may in (("channel", may_channel), ("server", may_server)):
        shown = await mia.slash(world.channel, "admin channel defaults", where=where)
        assert shown.ephemeral
        assert shown.response is not None
        assert (labels(shown.response) == ["Change", "Reset"]) is may, where
        if not may:
            assert "permission" in shown.response.content


async def test_who_lost_the_permission_cannot_use_card_and_form_any_more(world: World) -> None:
    mia = person_who_may(world, manage_guild=True)
    shown = await mia.slash(world.channel, "admin channel defaults", where="server")
    form = await mia.click(shown.response, label="Change")
    for role in world.guild._guild.roles.values():
        role.permissions &= ~discord.Permissions(manage_guild=True).value
    for answer in (
        await mia.submit_modal(form, UNSET | {"count": ["4"]}),
        await mia.click(shown.response, label="Change"),
        await mia.click(shown.response, label="Reset"),
    ):
        assert answer.response is not None
        assert "Only people with the permission Manage Server" in answer.response.content
    assert world.parts.places.server(world.guild.id) == Preferences()


async def test_reset_and_the_audit(world: World) -> None:
    mia = person_who_may(world, manage_channels=True, manage_guild=True)
    shown = await mia.slash(world.channel, "admin channel defaults")
    await fill(mia, shown, count=["4"])
    assert world.parts.places.channel(world.channel.id) == Preferences(count=4)
    await mia.click(shown.response, label="Reset")
    assert world.parts.places.channel(world.channel.id) == Preferences()
    assert set(fields(shown).values()) == {"not set"}
    about = await world.parts.privacy.about(mia.id)
    assert [entry["act"] for entry in about["audit"]] == [SET_DEFAULTS] * 2


async def test_a_default_style_that_is_gone_stops_nobody(world: World) -> None:
    (neon,) = await put(world, "neon")
    mia = person_who_may(world, manage_guild=True)
    shown = await mia.slash(world.channel, "admin channel defaults", where="server")
    await fill(mia, shown, style=" Neon:0.5 ")
    assert world.parts.places.server(world.guild.id).style == "Neon:0.5"
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    assert [one.weight for one in (await newest(world, world.ann)).adapters] == [0.5]
    await world.ann.slash(world.channel, "imagine", prompt="a cat", style="none")
    await world.result(2)
    assert (await newest(world, world.ann)).adapters == ()
    await world.parts.adapters.set_gone(neon.sha256)
    await world.parts.styles.load()
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result(3)
    assert (await newest(world, world.ann)).adapters == ()
    refused = await fill(mia, shown, style="nosuchstyle")
    assert refused.response is not None
    assert "There is no style" in refused.response.content


async def test_a_forged_place_is_refused(world: World) -> None:
    mia = person_who_may(world, manage_guild=True)
    shown = await mia.slash(world.channel, "admin channel defaults")
    form = await mia.click(shown.response, label="Change")
    spec = form._interaction.modal
    assert spec is not None
    spec["custom_id"] = "easel:me:place:0:the neighbours"
    answer = await mia.submit_modal(form, UNSET)
    assert answer.response is not None
    assert "do not know" in answer.response.content
