"""Star, Send to DM and Publish below results, and copies by DM."""

from __future__ import annotations

from typing import Any

import discord
from simcord.builders import ChannelHandle

from storage.gallery import Wanted
from storage.people import Preferences
from tests.cogs.conftest import World, labels
from tests.cogs.test_buttons import job_id_of, made


async def made_in_private(world: World, channel: ChannelHandle | None = None) -> Any:
    """The private answer with Ann's finished picture."""
    answer = await world.ann.slash(
        channel or world.channel, "imagine", prompt="a secret", private=True
    )
    await world.until(lambda: answer.response is not None and answer.response.attachments)
    return answer.response


def said(answer: Any) -> str:
    assert answer.ephemeral
    return str(answer.response.content)


async def test_star_is_toggled_by_everybody_for_themselves(world: World) -> None:
    picture = await made(world)
    assert said(await world.ben.click(picture, label="Star")).startswith("Starred")
    starred = await world.parts.gallery.find(world.ben.id, Wanted(starred=True), limit=9)
    assert [one.id for one in starred] == [job_id_of(picture)]
    assert await world.parts.gallery.find(world.ann.id, Wanted(starred=True), limit=9) == []
    assert said(await world.ben.click(picture, label="Star")) == "The star is gone."
    await world.parts.history.delete_pictures(job_id_of(picture))
    assert "deleted" in said(await world.ben.click(picture, label="Star"))


async def test_send_to_dm_gives_the_presser_the_pictures_and_buttons(world: World) -> None:
    picture = await made(world, prompt="a @everyone cat", count=2, spoiler=True)
    assert said(await world.ben.click(picture, label="Send to DM")) == "Sent to you by DM."
    (copy,) = world.messages(world.ben.user.dm_channel)
    assert copy.content == r"**a \@everyone cat** — seeds 5-6"
    assert len(copy.attachments) == 2
    assert copy.attachments[0].is_spoiler()
    assert "Reroll" in labels(copy)
    assert copy.mentions == []


async def test_closed_dms_are_said(world: World) -> None:
    picture = await made(world)
    path = f"/channels/{world.ben.user.dm_channel.id}/messages"
    world.env.inject_error("POST", path, status=403, code=50007)
    answer = await world.ben.click(picture, label="Send to DM")
    assert "cannot send you a DM" in said(answer)


async def test_private_result_is_published_once_by_its_owner_after_a_restart(world: World) -> None:
    private = await made_in_private(world)
    assert "Publish" in labels(private)
    assert world.messages() == []
    await world.stop()
    await world.start()
    answer = await world.ann.click(private, label="Publish")
    public = await world.result()
    assert said(answer).endswith(str(public.id))
    assert f"<@{world.ann.id}>" in public.content
    assert "a secret" in public.content
    assert labels(public) == [label for label in labels(private) if label != "Publish"]
    assert "public already" in said(await world.ann.click(private, label="Publish"))
    assert len(world.messages()) == 1
    await world.ann.click(public, label="Delete")
    assert world.messages() == []


async def test_publish_needs_the_permission_to_post(world: World) -> None:
    closed = world.guild.create_text_channel(
        "closed",
        overwrites={world.env.bot.user: discord.PermissionOverwrite(send_messages=False)},
    )
    private = await made_in_private(world, channel=closed)
    answer = await world.ann.click(private, label="Publish")
    assert "I lack Send Messages" in said(answer)
    assert world.messages() == []


async def test_copies_come_by_dm_when_they_are_wanted(world: World) -> None:
    await world.parts.people.set_preferences(world.ann.id, "Ann", Preferences(dm_copies=True))
    await made(world)
    dm = world.ann.user.dm_channel
    await world.until(lambda: world.messages(dm), "a copy by DM")
    (copy,) = world.messages(dm)
    assert len(copy.attachments) == 1
    await world.ann.user.slash("imagine", prompt="a dog")
    await world.until(lambda: len(world.messages(dm)) == 2, "the result of the DM itself")
