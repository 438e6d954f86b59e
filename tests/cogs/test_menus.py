"""The Apps menus, and the form that Remix opens."""

from __future__ import annotations

from typing import Any

import discord
import pytest
from simcord.actors import MemberActor
from simcord.results import InteractionResult

from cogs import _remix_form, _reports, _sources, menus
from engine.types import Generation
from storage.gallery import GONE
from tests.cogs.cdn import Cdn, photo
from tests.cogs.conftest import World


@pytest.fixture(autouse=True)
def _avatars(cdn: Cdn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Avatars are served where attachments are."""
    monkeypatch.setattr(discord.Asset, "BASE", cdn.base)


async def made(world: World, prompt: str = "a cat", **options: Any) -> tuple[Any, Generation]:
    """Ann's picture: the message and what is stored of it."""
    await world.ann.slash(world.channel, "imagine", prompt=prompt, **options)
    message = await world.result()
    return message, await newest(world)


async def made_more(world: World, number: int, **options: Any) -> tuple[Any, Generation]:
    """The same, when it is not the first result."""
    await world.ann.slash(world.channel, "imagine", prompt="a cat", **options)
    message = await world.result(number)
    return message, await newest(world)


async def newest(world: World, person: MemberActor | None = None) -> Generation:
    (found, *_) = await world.parts.history.recent((person or world.ann).id)
    return found


async def report(
    actor: MemberActor, world: World, message: Any, reason: str = ""
) -> InteractionResult:
    """Opens the form of **Report image**, and sends it."""
    form = await actor.context_menu(world.channel, "Report image", message)
    return await actor.submit_modal(form, {"reason": reason})


def shown(form: InteractionResult) -> dict[str, Any]:
    """The form's fields by their id."""
    assert form.modal is not None
    inner = [label["component"] for label in form.modal["components"]]
    return {field["custom_id"]: field for field in inner}


async def test_remix_this_opens_the_old_prompt_and_makes_it_anew(world: World) -> None:
    message, parent = await made(world, count=2, negative="text")
    form = await world.ben.context_menu(world.channel, "Remix this", message)
    fields = shown(form)
    assert fields["prompt"]["value"] == "a cat"
    assert fields["negative"]["value"] == "text"
    assert set(fields) == {"prompt", "negative", "strength", "picture", "file"}
    entered = {"prompt": "a dog", "strength": "strong", "picture": "2", "negative": ""}
    answer = await world.ben.submit_modal(form, entered)
    assert answer.acknowledged
    await world.result(2)
    child = await newest(world, world.ben)
    request = child.request
    assert (request.prompt, request.strength, request.negative_prompt) == ("a dog", 0.75, "")
    assert request.init_image == parent.pictures[1]
    assert child.submission.parent_id == parent.id
    form = await world.ben.context_menu(world.channel, "Remix this", message)
    entered = {"prompt": "a fox", "strength": "words", "picture": "1", "negative": ""}
    await world.ben.submit_modal(form, entered)
    await world.result(3)
    request = (await newest(world, world.ben)).request
    assert (request.prompt, request.init_image) == ("a fox", None)


async def test_a_file_in_the_form_takes_the_place_of_the_picture(world: World) -> None:
    message, parent = await made(world)
    form = await world.ben.context_menu(world.channel, "Remix this", message)
    await world.ben.submit_modal(form, {"prompt": "a cat", "strength": "subtle", "file": photo()})
    await world.result(2)
    child = await newest(world, world.ben)
    assert child.request.prompt == "a cat"
    assert child.request.init_image not in parent.pictures
    assert (child.request.width, child.request.height) == (96, 48)
    assert child.submission.parent_id == parent.id


async def test_the_button_opens_the_same_form_also_after_a_restart(world: World) -> None:
    message, _ = await made(world)
    await world.stop()
    await world.start()
    form = await world.ben.click(message, label="Remix")
    assert shown(form)["prompt"]["value"] == "a cat"
    await world.ben.submit_modal(form, {"prompt": "a dog", "strength": "medium"})
    await world.result(2)
    assert (await newest(world, world.ben)).request.prompt == "a dog"


async def test_remix_this_takes_anybodys_picture(world: World) -> None:
    message = await world.ann.send(world.channel, "look", attachments=[photo()])
    form = await world.ben.context_menu(world.channel, "Remix this", message)
    assert set(shown(form)) == {"prompt", "strength"}
    await world.ben.submit_modal(form, {"prompt": "a hat", "strength": "subtle"})
    await world.result()
    child = await newest(world, world.ben)
    assert (child.request.prompt, child.request.strength) == ("a hat", 0.35)
    form = await world.ben.context_menu(world.channel, "Remix this", message)
    await world.stop()
    await world.start()
    answer = await world.ben.submit_modal(form, {"prompt": "a hat", "strength": "subtle"})
    assert answer.ephemeral
    assert "I was restarted" in answer.response.content
    assert answer.response.content.endswith("```\na hat\n```")  # typed for nothing, but not lost


async def test_messages_without_a_picture_are_told_so(world: World) -> None:
    text = await world.ann.send(world.channel, "hello")
    for name in ("Remix this", "Image info", "Report image"):
        answer = await world.ben.context_menu(world.channel, name, text)
        assert answer.ephemeral
        assert answer.response.content == menus.NOTHING_HERE
    message, parent = await made(world)
    await world.parts.history.delete_pictures(parent.id)
    answer = await world.ben.context_menu(world.channel, "Remix this", message)
    assert answer.response.content == GONE


async def test_a_picture_that_is_not_finished_is_told_so(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    line = await world.line("a cat")
    answer = await world.ben.context_menu(world.channel, "Remix this", line)
    assert answer.response.content == _sources.NOT_FINISHED
    world.go()
    await world.result()


async def test_image_info_knows_own_pictures_and_says_what_it_sees_of_others(world: World) -> None:
    message, parent = await made(world)
    answer = await world.ben.context_menu(world.channel, "Image info", message)
    assert answer.ephemeral
    assert parent.id in str(answer.response.embeds[0].title)
    foreign = await world.ann.send(world.channel, "look", attachments=[photo()])
    answer = await world.ben.context_menu(world.channel, "Image info", foreign)
    assert answer.ephemeral
    assert "photo.png" in answer.response.content


async def test_reports_are_stored_once(world: World) -> None:
    message, parent = await made(world)
    answer = await report(world.ben, world, message, "it is\nugly")
    assert answer.ephemeral
    assert answer.response.content == _reports.REPORTED
    answer = await report(world.ben, world, message)
    assert answer.response.content == _reports.REPORTED_BEFORE
    (stored,) = await world.parts.reports.newest()
    assert stored.reason == "it is\nugly"
    assert (stored.job_id, stored.reporter_id) == (parent.id, world.ben.id)
    assert (stored.channel_id, stored.message_id) == (world.channel.id, message.id)
    foreign = await world.ann.send(world.channel, "look", attachments=[photo()])
    answer = await world.ben.context_menu(world.channel, "Report image", foreign)
    assert answer.response.content == menus.REPORT_OTHERS


async def test_upscale_is_for_one_picture(world: World) -> None:
    message, parent = await made(world)
    await world.ben.context_menu(world.channel, "Upscale", message)
    await world.result(2)
    child = await newest(world, world.ben)
    assert child.submission.action == "upscale"
    assert child.request.width == 2 * parent.request.width
    several, _ = await made_more(world, 3, count=2)
    answer = await world.ben.context_menu(world.channel, "Upscale", several)
    assert answer.response.content == menus.SEVERAL.format(count=2)
    foreign = await world.ann.send(world.channel, "look", attachments=[photo()])
    await world.ben.context_menu(world.channel, "Upscale", foreign)
    await world.result(4)
    child = await newest(world, world.ben)
    assert child.submission.action == "upscale"
    assert child.submission.parent_id is None
    assert (child.request.width, child.request.height) == (240, 120)


async def test_an_avatar_is_remixed(world: World, cdn: Cdn) -> None:
    cdn.anything = photo()[1]
    form = await world.ben.context_menu(world.channel, "Remix avatar", world.ann)
    await world.ben.submit_modal(form, {"prompt": "a hat", "strength": "medium"})
    await world.result()
    child = await newest(world, world.ben)
    assert (child.request.prompt, child.request.strength) == ("a hat", 0.55)
    assert cdn.asked == 1


def test_offered_pictures_are_forgotten_oldest_first() -> None:
    offers = _remix_form.Offers()
    source = _sources.Source(address="https://cdn.discordapp.com/a.png")
    for number in range(1001):
        offers.keep(str(number), source)
    assert offers.get("0") is None
    assert offers.get("1000") == source
