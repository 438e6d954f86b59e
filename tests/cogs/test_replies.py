"""Replies to pictures and messages that mention the bot: a new picture, or one sentence that helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import discord
import pytest
from simcord.actors import MemberActor
from simcord.backend.models.message import AllowedMentions
from simcord.builders import ChannelHandle

from cogs import _buttons, _remix, _wishes, replies
from cogs._wishes import Wish
from engine.errors import InvalidRequestError
from engine.types import Generation
from storage.gallery import GONE
from storage.people import Preferences
from tests.cogs.cdn import photo
from tests.cogs.conftest import World, labels

ME = 42
ACTIONS = {
    _buttons.UPSCALE,
    _buttons.VARY,
    _buttons.VARY_SUBTLE,
    _buttons.VARY_STRONG,
    _buttons.ZOOM,
    _buttons.REROLL,
    _buttons.INFO,
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("in snow", Wish("in snow")),
        ("<@42> in snow", Wish("in snow")),
        ("2: in snow", Wish("in snow", 1)),
        ("#2: in snow", Wish("in snow", 1)),
        ("16:9 picture", Wish("16:9 picture")),
        ("2:", Wish("", 1)),
        ("Up!", Wish("", 0, _buttons.UPSCALE)),
        ("3: up", Wish("", 2, _buttons.UPSCALE)),
        ("u2", Wish("", 1, _buttons.UPSCALE)),
        ("V 3", Wish("", 2, _buttons.VARY)),
        ("vary  Strong", Wish("", 0, _buttons.VARY_STRONG)),
        ("zoom 2", Wish("", 0, _buttons.ZOOM)),
        ("zoom out 2x", Wish("", 0, _buttons.ZOOM)),
        ("zoom in on the cat", Wish("zoom in on the cat")),
        ("Thanks!", None),
        ("thank you", None),
        ("\N{SMILING FACE WITH HEART-SHAPED EYES}", None),
        (
            "\N{WHITE HEAVY CHECK MARK} \N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-3}",
            None,
        ),
        (":)", None),
        ("\N{CAT FACE}" * 30, Wish("\N{CAT FACE}" * 30)),  # nobody laughs for so long
        ("+\N{CAT FACE}", Wish("+\N{CAT FACE}")),
        ("!!!", None),
        ("a cat, thanks", Wish("a cat, thanks")),
        ("\N{CAT FACE} in snow", Wish("\N{CAT FACE} in snow")),
        ("\u732b", Wish("\u732b")),
        ("delete", Wish("delete")),  # an action that is not there
        ("reroll it please", Wish("reroll it please")),
        ("", Wish()),
    ],
)
def test_a_text_is_a_prompt_unless_all_of_it_is_a_keyword_or_chat(
    text: str, wanted: Wish | None
) -> None:
    assert _wishes.read(text, ME, ACTIONS) == wanted


@pytest.mark.parametrize("text", ["zoom 3", "zoom out 1.2x", "zoom x4"])
def test_another_zoom_than_there_is_is_no_prompt(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"zoom 2 or zoom 1\.5"):
        _wishes.read(text, ME, ACTIONS)


async def made(world: World, prompt: str = "a cat", **options: Any) -> tuple[Any, Generation]:
    """Ann's picture: the message and what is stored of it."""
    await world.ann.slash(world.channel, "imagine", prompt=prompt, **options)
    message = await world.result()
    return message, await newest(world)


async def newest(world: World, person: MemberActor | None = None) -> Generation:
    (found, *_) = await world.parts.history.recent((person or world.ann).id)
    return found


async def unpinged(
    world: World,
    to: Any,
    content: str = "",
    attachments: Sequence[tuple[str, bytes]] = (),
) -> None:
    """Ben replies with the ping switched off."""
    backend, channel = world.env.backend, world.channel.id
    backend.create_message(
        channel,
        world.ben.id,
        content,
        reference=backend.normalize_message_reference(
            channel, {"channel_id": str(channel), "message_id": str(to.id)}
        ),
        attachments=backend.store_attachments(channel, attachments),
        allowed_mentions=AllowedMentions(replied_user=False),
    )
    await world.env.settle()


def said(world: World, channel: ChannelHandle | None = None) -> list[discord.Message]:
    """What the bot said besides results and status lines."""
    me = world.bot.user
    assert me is not None
    return [
        m
        for m in world.messages(channel)
        if m.author.id == me.id and not set(labels(m)) & {"Reroll", "Cancel", "Stop"}
    ]


async def told(
    world: World, person: MemberActor, text: str, channel: ChannelHandle | None = None
) -> Any:
    """Returns the bot's reply with the text once it is there; it mentions the person alone."""
    found = await world.until(
        lambda: next(
            (m for m in said(world, channel) if text in m.content.replace("\\", "")), None
        ),
        f"a reply with {text!r}",
    )
    assert found.content.startswith(f"<@{person.id}> ")
    assert [user.id for user in found.mentions] == [person.id]
    return found


async def test_text_alone_remixes_the_picture_for_the_one_who_replies(world: World) -> None:
    message, parent = await made(world, aspect="3:2", seed=5)
    reply = await world.ben.send(world.channel, "a dog engine:hold", reply_to=message)
    line = await world.line("a dog")
    assert labels(line) in (["Cancel"], ["Stop"])
    assert line.reference is not None
    assert line.reference.message_id == reply.id
    world.go()
    await world.result(2)
    child = await newest(world, world.ben)
    request = child.request
    assert request.init_image == parent.pictures[0]
    assert request.strength == 0.55
    assert (request.width, request.height) == (parent.request.width, parent.request.height)
    assert child.submission.parent_id == parent.id
    assert child.submission.origin == f"message:{reply.id}"
    usage = await world.parts.ledger.usage(world.ben.id, world.parts.limits)
    assert usage.used_today > 0


async def test_image_weight_in_a_reply_says_how_far_it_goes(world: World) -> None:
    message, _ = await made(world)
    await world.ben.send(world.channel, "a dog --iw 1.5", reply_to=message)
    await world.result(2)
    request = (await newest(world, world.ben)).request
    assert (request.prompt, request.strength) == ("a dog", 0.25)


async def test_cancel_below_the_answer_to_a_reply_ends_it(world: World) -> None:
    message, _ = await made(world)
    await world.ben.send(world.channel, "a dog engine:hold", reply_to=message)
    line = await world.line("a dog")
    await world.ben.click(line, label=labels(line)[0])
    await world.line("Cancelled")
    assert not await world.parts.jobs.waiting_of(world.ben.id)


async def test_a_number_picks_one_and_plus_and_minus_edit_the_prompt(world: World) -> None:
    message, parent = await made(world, "a cat, in snow", count=2, negative="text")
    await world.ann.send(world.channel, "2: +a hat -snow --ar 16:9", reply_to=message)
    await world.result(2)
    request = (await newest(world)).request
    assert request.prompt == "a cat, in, a hat"
    assert request.negative_prompt == "text, snow"
    assert request.init_image == parent.pictures[1]
    assert request.width > request.height
    await world.ann.send(world.channel, "3: in snow", reply_to=message)
    await told(world, world.ann, "This result has 2 pictures, so there is no number 3.")


async def test_a_picture_alone_gets_the_prompt_of_the_result(world: World) -> None:
    message, parent = await made(world, "a cat", steps=7)
    await world.ben.send(world.channel, reply_to=message, attachments=[photo()])
    await world.result(2)
    child = await newest(world, world.ben)
    assert child.request.prompt == "a cat"
    assert child.request.num_inference_steps == 7
    assert child.request.init_image not in parent.pictures
    assert (child.request.width, child.request.height) == (96, 48)  # its own shape
    assert child.submission.parent_id == parent.id


async def test_one_of_several_files_is_used_and_that_is_said(world: World) -> None:
    message, _ = await made(world)
    files = [("notes.txt", b"hello"), photo(), ("other.png", photo()[1])]
    await world.ben.send(world.channel, reply_to=message, attachments=files)
    await told(world, world.ben, "I took photo.png")
    await world.result(2)


async def test_a_picture_with_text_gets_the_text(world: World) -> None:
    message, _ = await made(world)
    await world.ben.send(world.channel, "a dog", reply_to=message, attachments=[photo()])
    await world.result(2)
    assert (await newest(world, world.ben)).request.prompt == "a dog"


async def test_a_mention_with_a_picture_works_without_any_result(world: World) -> None:
    me = world.bot.user
    assert me is not None
    await world.ben.send(world.channel, f"{me.mention} a dog", attachments=[photo()])
    await world.result()
    child = await newest(world, world.ben)
    assert child.request.prompt == "a dog"
    assert child.submission.parent_id is None
    await world.ben.send(world.channel, me.mention, attachments=[photo()])
    await told(world, world.ben, _remix.NO_PROMPT)
    await world.ben.send(world.channel, f"{me.mention} a dog")
    await told(world, world.ben, "Mention me with a picture")


async def test_somebody_elses_picture_is_not_visible_and_that_is_said(world: World) -> None:
    me = world.bot.user
    assert me is not None
    quoted = await world.ann.send(world.channel, "look", attachments=[photo()])
    await world.ben.send(world.channel, f"{me.mention} a dog", reply_to=quoted)
    await told(world, world.ben, "I see no picture in that message.")
    shown = await world.ann.send(world.channel, f"look {me.mention}", attachments=[photo()])
    await world.result()  # of hers
    await world.ben.send(world.channel, f"{me.mention} a dog", reply_to=shown)
    await world.result(2)
    assert (await newest(world, world.ben)).request.prompt == "a dog"


async def test_a_reply_without_the_ping_is_told_how_to_once(world: World) -> None:
    message, _ = await made(world)
    await unpinged(world, message, "a dog", [photo()])
    hint = await told(world, world.ben, "only with the ping")
    await unpinged(world, message, "a dog")
    assert [m.id for m in said(world)] == [hint.id]
    assert len(world.results()) == 1


async def test_chat_is_left_alone(world: World) -> None:
    message, _ = await made(world)
    before = len(world.messages())
    others = await world.ann.send(world.channel, "nice")
    await world.ben.send(world.channel, "yes", reply_to=others)
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    await robot.send(world.channel, "a dog", reply_to=message)
    await world.ben.forward(message, world.channel)
    await world.ben.send(world.channel, "Thank you!", reply_to=message)
    await world.ben.send(world.channel, "\N{FIRE}", reply_to=message)
    assert len(world.messages()) == before + 6


async def test_keywords_press_the_buttons(world: World) -> None:
    message, parent = await made(world, seed=5)
    await world.ben.send(world.channel, "reroll", reply_to=message)
    await world.result(2)
    child = await newest(world, world.ben)
    assert child.submission.action == "reroll"
    assert child.request.seed != 5
    await world.ben.send(world.channel, "info", reply_to=message)
    (card,) = await world.until(lambda: [m for m in said(world) if m.embeds], "the card")
    assert parent.id in str(card.embeds[0].title)
    await world.ben.send(world.channel, "delete", reply_to=message)
    await told(world, world.ben, "Only the person who asked")
    await world.ann.send(world.channel, "delete", reply_to=message)
    await world.gone(message)
    await told(world, world.ann, "deleted")
    assert (await world.parts.history.get(parent.id)).deleted_at is not None


async def test_keywords_change_one_of_several(world: World) -> None:
    message, parent = await made(world, count=2)
    for number, (text, action) in enumerate(
        {"2: vary strong": "vary_strong", "zoom 2": "zoom_2", "u2": "upscale"}.items(), 2
    ):
        await world.ben.send(world.channel, text, reply_to=message)
        await world.result(number)
        child = await newest(world, world.ben)
        assert (child.submission.action, child.submission.parent_id) == (action, parent.id)
        assert (child.request.init_image == parent.pictures[1]) == (action != "zoom_2")
    await world.ben.send(world.channel, "3: up", reply_to=message)
    await told(world, world.ben, "This result has 2 pictures, so there is no number 3.")


async def test_a_reply_to_a_deleted_picture_is_said(world: World) -> None:
    message, parent = await made(world)
    await world.parts.history.delete_pictures(parent.id)
    await world.ben.send(world.channel, "a dog", reply_to=message)
    await told(world, world.ben, GONE)
    await world.ben.send(world.channel, "reroll", reply_to=message)
    await world.until(lambda: len(said(world)) == 2, "the second refusal")


async def test_a_hostile_file_is_refused_in_one_sentence(world: World) -> None:
    message, _ = await made(world)
    file = ("photo.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    await world.ben.send(world.channel, reply_to=message, attachments=[file])
    await told(world, world.ben, "That is an SVG drawing; send PNG, JPEG or WebP.")
    await world.until(lambda: len(said(world)) == 1, "no status line")
    assert not await world.parts.arrivals.left_behind()
    assert not await world.parts.history.recent(world.ben.id)


async def test_a_restart_between_result_and_reply(world: World) -> None:
    message, parent = await made(world)
    await world.stop()
    await world.start()
    await world.ben.send(world.channel, "a dog", reply_to=message)
    await world.result(2)
    assert (await newest(world, world.ben)).submission.parent_id == parent.id


async def test_the_same_message_twice_makes_one_job(world: World) -> None:
    message, _ = await made(world)
    events: list[tuple[str, Any]] = []
    world.env.backend.subscribers.append(lambda name, payload: events.append((name, payload)))
    await world.ben.send(world.channel, "a dog", reply_to=message)
    await world.result(2)
    (event,) = [payload for name, payload in events if payload_by(name, payload, world.ben.id)]
    world.env.backend.emit("MESSAGE_CREATE", event)
    world.bot.get_cog("Replies")._seen.clear()  # as after a restart
    world.env.backend.emit("MESSAGE_CREATE", event)
    await world.env.settle()
    assert len(await world.parts.history.recent(world.ben.id)) == 1
    assert len(world.results()) == 2


def payload_by(name: str, payload: Any, author_id: int) -> bool:
    return name == "MESSAGE_CREATE" and payload["author"]["id"] == str(author_id)


async def test_replies_in_a_dm(world: World) -> None:
    dm = world.ann.user.dm_channel
    await world.ann.user.slash("imagine", prompt="a cat")
    message = await world.result(channel=dm)
    backend = world.env.backend
    reference = backend.normalize_message_reference(
        dm.id, {"channel_id": str(dm.id), "message_id": str(message.id)}
    )
    await world.ann.send_dm("a dog", reference=reference)
    await world.result(2, channel=dm)
    assert (await newest(world)).request.prompt == "a dog"
    attachments = backend.store_attachments(dm.id, [photo()])
    await world.ann.send_dm("a hat", attachments=attachments)
    await world.result(3, channel=dm)
    assert (await newest(world)).request.prompt == "a hat"


async def test_words_alone_in_a_dm_are_told_what_i_take(world: World) -> None:
    dm = world.ann.user.dm_channel
    await world.ann.send_dm("a cat")
    answer = await told(world, world.ann, "/imagine", dm)
    assert "From words alone" in answer.content
    await world.ann.send_dm("Thanks!")
    assert len(said(world, dm)) == 1


async def test_whoever_wants_everything_private_is_not_shown_in_public(world: World) -> None:
    message, _ = await made(world)
    await world.parts.people.set_preferences(world.ben.id, "ben", Preferences(private=True))
    await world.ben.send(world.channel, "a dog", reply_to=message)
    await told(world, world.ben, "your pictures to be private")
    await world.ann.send(world.channel, "a dog --private", reply_to=message)
    await told(world, world.ann, replies.NO_PRIVATE[:40])


async def test_limits_hold_for_replies(world: World) -> None:
    message, _ = await made(world)
    for _ in range(4):
        await world.ben.send(world.channel, "a dog engine:hold", reply_to=message)
    await world.ben.send(world.channel, "a dog", reply_to=message)
    await told(world, world.ben, "You have 4 jobs waiting")
    world.go()
    await world.result(5)
