"""`/imagine` from the command to the picture, in a simulated Discord."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord.builders import ChannelHandle
from simcord.enums import OptionType

from cogs import _answer
from engine.types import SecondPass
from tests.cogs.acts import Recorder, forge, start
from tests.cogs.conftest import ONE_PICTURE, World, labels, settings_for, world_of


async def only_request(world: World) -> Any:
    """The request of the newest generation of Ann."""
    return (await world.parts.history.recent(world.ann.id))[0].request


async def test_imagine_answers_with_a_status_line_and_delivers_the_picture(world: World) -> None:
    answer = await world.ann.slash(world.channel, "imagine", prompt="a red circle", seed=7)

    assert answer.acknowledged
    assert not answer.ephemeral
    result = await world.result()
    assert result.content.startswith(f"**a red circle** — <@{world.ann.id}> · seed 7 · ")
    assert result.content.endswith("\N{NO-BREAK SPACE}s · 1 of 50 pictures today")
    assert [user.id for user in result.mentions] == [world.ann.id]
    assert labels(result) == ONE_PICTURE
    (picture,) = result.attachments
    assert picture.description == "a red circle"
    assert picture.filename.endswith(".png")
    assert not picture.is_spoiler()
    assert len(world.messages()) == 1
    (generation,) = await world.parts.history.recent(world.ann.id)
    assert generation.message_id == result.id


async def test_options_become_the_request(world: World) -> None:
    await world.ann.slash(
        world.channel,
        "imagine",
        prompt="a red circle",
        negative="blue",
        model="faulty",
        width=64,
        height=128,
        count=3,
        seed=4294967295,
        steps=5,
        guidance=7.5,
        sampler="dpmpp_2m_karras",
        spoiler=True,
    )
    result = await world.result()
    assert "seeds 4294967295-1" in result.content
    assert len(result.attachments) == 3
    assert all(picture.is_spoiler() for picture in result.attachments)
    request = await only_request(world)
    assert (request.width, request.height, request.num_images) == (64, 128, 3)
    assert (request.seed, request.num_inference_steps) == (4294967295, 5)
    assert (request.guidance_scale, request.sampler) == (7.5, "dpmpp_2m_karras")
    assert (request.prompt, request.negative_prompt) == ("a red circle", "blue")


async def test_aspect_and_quality_follow_the_model(world: World) -> None:
    await world.ann.slash(
        world.channel, "imagine", prompt="a hill", aspect="16:9", quality="hd", negative="none"
    )
    await world.result()
    request = await only_request(world)
    assert (request.width, request.height) == (88, 48)
    assert request.second_pass == SecondPass(1.5)
    assert request.num_inference_steps == 6
    assert request.negative_prompt == ""
    await world.ann.slash(world.channel, "imagine", prompt="a hill", quality="draft")
    await world.result(2)
    request = await only_request(world)
    assert request.num_inference_steps == 2
    assert request.second_pass is None
    assert request.negative_prompt == "out of focus"


async def test_autocomplete_offers_what_the_engine_has(world: World) -> None:
    ann, channel = world.ann, world.channel
    models = await ann.autocomplete(channel, "imagine", "model", "")
    assert [choice["value"] for choice in models] == ["faulty"]
    for typed in ("2m", "DPM++", "dpmpp 2"):
        samplers = await ann.autocomplete(channel, "imagine", "sampler", typed)
        names = [choice["value"] for choice in samplers]
        assert names[:2] == ["dpmpp_2m", "dpmpp_2m_karras"]
    nearest = await ann.autocomplete(channel, "imagine", "sampler", "eulr")
    assert [choice["value"] for choice in nearest] == ["euler"]


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"width": 99999}, "width cannot be “99999”|8 to 1024 in steps of 8"),
    ({"height": 100}, "height cannot be “100”|in steps of 8"),
    ({"seed": (OptionType.INTEGER, 2**64)}, "seed cannot be|0 to 4294967295"),
    ({"seed": (OptionType.INTEGER, "18446744073709551616")}, "seed cannot be|4294967295"),
    ({"seed": (OptionType.INTEGER, 2.0**64)}, "seed cannot be|4294967295"),
    ({"seed": (OptionType.INTEGER, -1)}, "seed cannot be|4294967295"),
    ({"steps": 61}, "steps cannot be|1 to 60"),
    ({"steps": (OptionType.INTEGER, True)}, "steps cannot be|1 to 60"),
    ({"guidance": float("nan")}, "guidance cannot be|0 to 20"),
    ({"guidance": (OptionType.NUMBER, "inf")}, "guidance cannot be|0 to 20"),
    ({"count": 5}, "count cannot be|1 to 4"),
    ({"sampler": "eulr"}, "no sampler|Did you mean euler?"),
    ({"model": "faulti"}, "no model|The only one here is faulty"),
    ({"aspect": "16:8"}, "no aspect|Did you mean 16:9?"),
    ({"quality": "best"}, "no quality|draft, standard, hd"),
    ({"prompt": "x" * 6000}, "6,000 characters|1,500|Shorten"),
    ({"prompt": "   "}, "prompt is empty"),
    ({"negative": "y" * 1501}, "negative prompt has 1,501 characters"),
    ({"sampler": "@everyone <@1> [a](https://b.c)"}, "no sampler"),
]


async def test_bad_options_get_one_ephemeral_sentence(world: World) -> None:
    for options, words in BAD_OPTIONS:
        answer = await forge(
            world, world.ann, world.channel, "imagine", **({"prompt": "a cat"} | options)
        )
        assert answer.response is not None, options
        assert answer.ephemeral, options
        shown = answer.response.content.replace("\\", "").replace('"', "")
        for part in words.replace("“", "").replace("”", "").split("|"):
            assert part in shown
        assert answer.response.message.mentions == []
        assert not answer.followups
        assert world.messages() == []
    assert not await world.parts.jobs.waiting_of(world.ann.id)


async def test_missing_permission_is_named_before_queueing(world: World) -> None:
    for missing, name in (("attach_files", "Attach Files"), ("send_messages", "Send Messages")):
        closed = world.guild.create_text_channel(
            missing,
            overwrites={world.env.bot.user: discord.PermissionOverwrite(**{missing: False})},
        )
        answer = await world.ann.slash(closed, "imagine", prompt="a cat")
        assert answer.ephemeral
        assert answer.response is not None
        assert name in answer.response.content
    assert not await world.parts.jobs.waiting_of(world.ann.id)


async def test_thread_needs_its_own_permission(world: World) -> None:
    stored = world.env.backend.create_thread(world.channel.id, "a thread", world.ann.id)
    thread = ChannelHandle(world.env, world.guild, stored)
    await world.ann.slash(thread, "imagine", prompt="a cat")
    await world.result(channel=thread)
    quiet = world.guild.create_text_channel(
        "quiet",
        overwrites={
            world.env.bot.user: discord.PermissionOverwrite(send_messages_in_threads=False)
        },
    )
    stored = world.env.backend.create_thread(quiet.id, "another", world.ann.id)
    thread = ChannelHandle(world.env, world.guild, stored)
    answer = await world.ann.slash(thread, "imagine", prompt="a cat")
    assert answer.ephemeral
    assert answer.response is not None
    assert "Send Messages in Threads" in answer.response.content


async def test_private_needs_no_permission_and_only_the_owner_sees_it(world: World) -> None:
    closed = world.guild.create_text_channel(
        "closed",
        overwrites={world.env.bot.user: discord.PermissionOverwrite(send_messages=False)},
    )
    answer = await world.ann.slash(closed, "imagine", prompt="a secret", private=True)
    assert answer.ephemeral

    def seen() -> bool:
        return answer.response is not None and bool(answer.response.attachments)

    await world.until(seen, "the private picture")
    assert answer.response is not None
    assert labels(answer.response)[-2:] == ["Publish", "Delete"]
    assert "a secret" in answer.response.content
    assert world.messages(closed) == []


async def test_direct_message_works(world: World) -> None:
    await world.ann.user.slash("imagine", prompt="a cat")
    await world.result(channel=world.ann.user.dm_channel)


async def test_waiting_limit_names_limit_and_way_out(world: World) -> None:
    for _ in range(4):
        await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
    assert answer.ephemeral
    assert answer.response is not None
    assert "You have 4 jobs waiting" in answer.response.content.replace("\\", "")
    assert "/queue cancel" in answer.response.content
    world.go()
    await world.result(4)


async def test_used_up_allowance_says_when_to_come_back(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, daily_allowance=1.5)
    async with world_of(settings) as world:
        await world.ann.slash(world.channel, "imagine", prompt="a cat")
        await world.result()
        answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
        assert answer.ephemeral
        assert answer.response is not None
        assert ":R>" in answer.response.content
        assert "1.5 pictures" in answer.response.content.replace("\\", "")


async def test_answers_with_a_place_while_the_engine_loads(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "--never-ready")
    async with world_of(settings, ready=False) as world:
        answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
        assert answer.response is not None
        assert "The engine is loading" in answer.response.content
        assert "You are #1 in line." in answer.response.content
        assert labels(answer.response) == ["Cancel"]


async def test_same_interaction_twice_makes_one_job(world: World) -> None:
    recorder = Recorder(world)
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    await recorder.again()
    assert len(await world.parts.jobs.waiting_of(world.ann.id)) == 1
    world.go()
    await world.result()
    await recorder.again()
    assert len(world.results()) == 1
    assert len(await world.parts.history.recent(world.ann.id)) == 1


async def test_slow_disk_defers_the_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_answer, "DEFER_AFTER_S", 0.01)

    async with world.parts.facts._db.transaction():  # the disk is busy with something else
        answer = start(world, world.ann, world.channel, "imagine", prompt="a cat")
        await world.until(lambda: answer.deferred, "a deferred answer")
        assert not answer.ephemeral
    result = await world.result()
    assert "**a cat**" in result.content
    assert [message.id for message in world.messages()] == [result.id]


async def test_refusal_after_deferring_is_for_one_pair_of_eyes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_answer, "DEFER_AFTER_S", 0.01)
    for _ in range(4):
        await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    async with world.parts.facts._db.transaction():
        answer = start(world, world.ann, world.channel, "imagine", prompt="a cat")
        await world.until(lambda: answer.deferred, "a deferred answer")
    await world.until(lambda: answer.followups, "the refusal")
    (refusal,) = answer.followups
    assert refusal.ephemeral
    assert "You have 4 jobs waiting" in refusal.content.replace("\\", "")
    assert answer.response is None
    world.go()
    await world.result(4)


async def test_prompt_is_shown_letter_by_letter(world: World) -> None:
    prompt = "@everyone <@1> **x** [a](https://evil.example) \u202egnp.exe \u200bdiscord.gg/abc"
    await world.ann.slash(world.channel, "imagine", prompt=prompt)
    result = await world.result()
    assert r"\@everyone \<\@1> \*\*x\*\* \[a](https\://evil.example)" in result.content
    assert "\u202e" not in result.content + str(result.attachments[0].description)
    assert "discord.gg" not in result.content
    assert not result.mention_everyone
    assert [user.id for user in result.mentions] == [world.ann.id]


async def test_result_counts_nothing_where_nothing_is_limited(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, daily_allowance=0)) as world:
        await world.ann.slash(world.channel, "imagine", prompt="a cat", seed=1)
        result = await world.result()
        assert re.fullmatch(r"\*\*a cat\*\* — <@\d+> · seed 1 · [\d.]+\u00a0s", result.content)


async def test_long_prompt_is_no_wall_of_text_below_the_picture(world: World) -> None:
    prompt = "a cat" + ", very round" * 120
    await world.ann.slash(world.channel, "imagine", prompt=prompt)
    result = await world.result()
    assert "…** — <@" in result.content
    assert len(result.content) < 500
    assert (await only_request(world)).prompt == prompt
