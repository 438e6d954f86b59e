"""`/remix`: from one of my pictures, a link or a file to a new picture, or to one clear sentence."""

from __future__ import annotations

from typing import Any

import discord
import pytest

from cogs import _remix, _sources
from cogs._source_options import NO_SOURCE, TWO_SOURCES
from engine.errors import InvalidRequestError
from engine.types import Generation
from tests.cogs.acts import Recorder, forge
from tests.cogs.cdn import Cdn, photo
from tests.cogs.conftest import World
from tests.cogs.test_styles import put


async def newest(world: World, person: Any = None) -> Generation:
    (found, *_) = await world.parts.history.recent((person or world.ann).id)
    return found


async def newest_of(world: World, message: Any) -> Generation:
    found = await world.parts.history.by_message(message.id)
    assert found is not None
    return found


def link_to(world: World, message: Any, guild_id: object = None) -> str:
    return f"https://discord.com/channels/{guild_id or world.guild.id}/{message.channel.id}/{message.id}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("+a hat", ("a cat, in snow, a hat", "text")),
        ("+a red hat -snow", ("a cat, in, a red hat", "text, snow")),
        ("-in snow", ("a cat", "text, in snow")),
        ("-Cat +dog", ("a, in snow, dog", "text, Cat")),
        ("-people", ("a cat, in snow", "text, people")),
        ("+one, +two", ("a cat, in snow, one, two", "text")),
        ("a dog", None),
        ("--ar 1:1", None),
        ("- dog", None),
        ("5+5", None),
    ],
)
def test_plus_and_minus_edit_the_old_prompt(text: str, wanted: tuple[str, str] | None) -> None:
    assert _remix.edited(text, "a cat, in snow", "text") == wanted


def test_an_edit_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Nothing would be left"):
        _remix.edited("-a cat", "a cat", "")


@pytest.mark.parametrize(
    ("name", "amount", "wanted"),
    [(None, None, 0.55), ("subtle", None, 0.35), ("Strong", None, 0.75), ("subtle", 0, 0.0)],
)
def test_strength_has_names_and_an_amount_that_wins(
    name: object, amount: object, wanted: float
) -> None:
    assert _remix.strength_of(name, amount) == wanted


async def test_own_picture_is_remixed_without_being_fetched(world: World, cdn: Cdn) -> None:
    await world.ann.slash(
        world.channel, "imagine", prompt="a cat", aspect="3:2", negative="text", seed=5, count=2
    )
    await world.result()
    parent = await newest(world)
    shown = await world.ann.autocomplete(world.channel, "remix", "source", "cat")
    assert [choice["value"] for choice in shown] == [parent.id, f"{parent.id}:2"]
    assert shown[1]["name"] == f"a cat (2 of 2, {parent.id})"
    await world.ann.slash(world.channel, "remix", source=shown[1]["value"], strength="strong")
    await world.result(2)
    child = await newest(world)
    request, old = child.request, parent.request
    assert request.init_image == parent.pictures[1]
    assert request.strength == 0.75
    assert request.prompt == "a cat"
    assert (request.width, request.height) == (old.width, old.height)
    assert request.negative_prompt == "text"
    assert request.num_images == 1
    assert request.seed not in parent.seeds
    assert child.submission.parent_id == parent.id
    assert child.submission.action == "remix"
    assert not cdn.asked


async def test_options_change_what_the_picture_was_made_with(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", seed=5, count=2, steps=7)
    await world.result()
    parent = await newest(world)
    await world.ann.slash(
        world.channel,
        "remix",
        source=f"{parent.id}:2",
        prompt="a dog --ar 16:9",
        amount=0.2,
        strength="strong",
        keep_seed=True,
        count=3,
        negative="none",
    )
    await world.result(2)
    request = (await newest(world)).request
    assert request.prompt == "a dog"
    assert request.width > request.height
    assert (request.seed, request.num_images, request.strength) == (6, 3, 0.2)
    assert (request.negative_prompt, request.num_inference_steps) == ("", 7)


async def test_attached_picture_is_remixed_with_a_prompt(world: World) -> None:
    answer = await world.ann.slash(world.channel, "remix", image=photo(), prompt="a hat")
    assert answer.acknowledged
    await world.result()
    request = (await newest(world)).request
    assert (request.width, request.height) == (96, 48)  # its shape
    assert request.strength == 0.55
    answer = await world.ann.slash(world.channel, "remix", image=photo())
    assert answer.ephemeral
    assert answer.response.content == _remix.NO_PROMPT
    answer = await world.ann.slash(world.channel, "remix", image=("a.png", b"MZ"), prompt="a hat")
    await world.until(lambda: answer.followups, "the refusal")
    assert answer.followups[0].ephemeral
    assert "PNG, JPEG or WebP" in answer.followups[0].content


async def test_one_source_is_needed(world: World) -> None:
    answer = await world.ann.slash(world.channel, "remix", prompt="a hat")
    assert answer.response.content == NO_SOURCE
    answer = await world.ann.slash(world.channel, "remix", source="cat", image=photo())
    assert answer.response.content == TWO_SOURCES
    answer = await forge(world, world.ann, world.channel, "remix", source="cat", strength="very")
    assert 'no strength "very"' in answer.response.content
    answer = await world.ann.slash(world.channel, "remix", source="nothing like that")
    assert answer.ephemeral
    assert "no such picture" in answer.response.content


async def test_a_link_leads_to_anybodys_picture_that_one_can_read(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    link = link_to(world, await world.result())
    parent = await newest(world)
    await world.ben.slash(world.channel, "remix", source=link)
    await world.result(2)
    child = await newest(world, world.ben)
    assert child.request.init_image == parent.pictures[0]
    assert child.submission.parent_id == parent.id
    assert child.submission.owner_id == world.ben.id


async def test_a_link_to_a_channel_that_one_cannot_read_is_refused(world: World) -> None:
    secret = world.guild.create_text_channel(
        "secret", overwrites={world.ben: discord.PermissionOverwrite(view_channel=False)}
    )
    await world.ann.slash(secret, "imagine", prompt="a cat")
    link = link_to(world, await world.result(channel=secret))
    answer = await world.ben.slash(world.channel, "remix", source=link)
    assert answer.ephemeral
    assert answer.response.content == _sources.NOT_READABLE
    await world.ann.slash(world.channel, "remix", source=link)
    await world.result()


async def test_a_link_to_another_server_is_for_its_members(world: World) -> None:
    elsewhere = world.env.create_guild("Elsewhere")
    channel = elsewhere.create_text_channel("art")
    cara = elsewhere.add_member(world.env.create_user("cara"))
    await cara.slash(channel, "imagine", prompt="a cat")
    link = link_to(world, await world.result(channel=channel), elsewhere.id)
    for wrong in (link, link_to(world, world.messages(channel)[-1], 1234)):
        answer = await world.ann.slash(world.channel, "remix", source=wrong)
        assert answer.ephemeral
        assert answer.response.content == _sources.NOT_READABLE
    elsewhere.add_member(world.ann.user)
    await world.ann.slash(world.channel, "remix", source=link)
    await world.result()


async def test_a_link_into_dms_is_for_its_owner(world: World) -> None:
    await world.ann.user.slash("imagine", prompt="a cat")
    dm = world.ann.user.dm_channel
    message = await world.result(channel=dm)
    link = f"https://discord.com/channels/@me/{dm.id}/{message.id}"
    answer = await world.ben.slash(world.channel, "remix", source=link)
    assert answer.ephemeral
    assert answer.response.content == _sources.NOT_READABLE
    await world.ann.slash(world.channel, "remix", source=link)
    await world.result()


async def test_deleted_pictures_and_wrong_numbers_are_said(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    parent = await newest(world)
    answer = await world.ann.slash(world.channel, "remix", source=f"{parent.id}:3")
    assert answer.response.content.replace("\\", "") == (
        "This result has one picture, so there is no number 3."
    )
    await world.parts.history.delete_pictures(parent.id)
    answer = await world.ann.slash(world.channel, "remix", source=parent.id)
    assert answer.ephemeral
    assert "deleted" in answer.response.content


async def test_a_remix_of_a_private_picture_is_private(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a secret", private=True)
    await world.until(lambda: world.parts.queue.waiting() == [], "the private picture")

    async def made() -> Generation:
        while not (found := await world.parts.history.recent(world.ann.id)):
            world.changed.clear()
            await world.changed.wait()
        return found[0]

    parent = await made()
    answer = await world.ann.slash(world.channel, "remix", source=parent.id)
    assert answer.ephemeral
    await world.until(lambda: answer.response.attachments, "the private remix")
    assert not world.messages()


async def test_an_upscaled_picture_is_remixed_at_the_models_size(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    small = await newest_of(world, await world.result())
    await world.ann.click(world.results()[-1], label="Upscale")
    await world.result(2)
    large = await newest(world)
    assert large.request.width == 2 * small.request.width
    await world.ann.slash(world.channel, "remix", source=large.id)
    await world.result(3)
    request = (await newest(world)).request
    assert (request.width, request.height) == (small.request.width, small.request.height)
    assert (request.init_image, request.upscaler) == (large.pictures[0], None)


async def test_a_style_stays_until_another_one_is_named(world: World) -> None:
    neon, sepia = await put(world, "neon", "sepia")
    await world.ann.slash(world.channel, "imagine", prompt="a cat", style="neon:0.5")
    await world.result()
    first = await newest(world)
    for number, (style, wanted) in enumerate(
        {None: neon.sha256, "sepia": sepia.sha256, "none": None}.items(), 2
    ):
        chosen = {} if style is None else {"style": style}
        await world.ann.slash(world.channel, "remix", source=first.id, **chosen)
        await world.result(number)
        used = [one.sha256 for one in (await newest(world)).request.adapters]
        assert used == ([wanted] if wanted else [])
    shown = await world.ann.autocomplete(world.channel, "remix", "style", "sep")
    assert [choice["value"] for choice in shown] == ["sepia"]


async def test_the_form_offers_the_styles_for_one_picture(world: World) -> None:
    neon, sepia = await put(world, "neon", "sepia")
    await world.ann.slash(world.channel, "imagine", prompt="a cat", style="neon")
    message = await world.result()
    wanted = {":keep": [neon.sha256], "sepia": [sepia.sha256], "none": []}
    for number, (style, adapters) in enumerate(wanted.items(), 2):
        form = await world.ann.click(message, label="Remix")
        fields = {
            one["component"]["custom_id"]: one["component"] for one in form.modal["components"]
        }
        assert list(fields) == ["prompt", "negative", "strength", "style", "file"]
        assert [o["label"] for o in fields["style"]["options"]][2:] == ["neon", "sepia"]
        values = {"prompt": "a dog", "negative": "", "strength": "medium", "style": [style]}
        await world.ann.submit_modal(form, values)
        await world.result(number)
        assert [one.sha256 for one in (await newest(world)).request.adapters] == adapters


async def test_the_same_remix_twice_makes_one_job(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    recorder = Recorder(world)
    await world.ann.slash(world.channel, "remix", source=(await newest(world)).id)
    await recorder.again()
    await world.result(2)
    assert len(await world.parts.history.recent(world.ann.id)) == 2


async def test_suggestions_are_recent_pictures_or_the_link(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", count=4)
    await world.result()
    shown = await world.ann.autocomplete(world.channel, "remix", "source", "")
    assert len(shown) == 4
    link = "https://discord.com/channels/1/2/3"
    shown = await world.ann.autocomplete(world.channel, "remix", "source", link)
    assert [choice["value"] for choice in shown] == [link]
