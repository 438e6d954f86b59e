"""The buttons below results and status lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import discord

from cogs import _buttons
from engine.types import JobState
from storage.gallery import GONE
from tests.cogs.acts import Recorder, press
from tests.cogs.conftest import World, labels, settings_for, world_of


async def made(world: World, **options: Any) -> discord.Message:
    """A finished picture of Ann."""
    await world.ann.slash(world.channel, "imagine", **({"prompt": "a cat", "seed": 5} | options))
    result = await world.result()
    assert isinstance(result, discord.Message)
    return result


def job_id_of(message: discord.Message) -> str:
    row = message.components[0]
    assert isinstance(row, discord.ActionRow)
    custom_id = row.children[0].custom_id
    assert custom_id is not None
    press = _buttons.parse(custom_id)
    assert press is not None
    return press.job_id


async def test_reroll_belongs_to_the_presser_and_differs_in_the_seed(world: World) -> None:
    first = await made(world, steps=3, aspect="3:2", spoiler=True)
    answer = await world.ben.click(first, label="Reroll")
    assert answer.acknowledged
    second = await world.result(2)
    assert f"<@{world.ben.id}>" in second.content
    assert [user.id for user in second.mentions] == [world.ben.id]
    assert second.attachments[0].is_spoiler()
    (generation,) = await world.parts.history.recent(world.ben.id)
    before = await world.parts.history.get(job_id_of(first))
    assert generation.submission.parent_id == before.id
    assert generation.submission.action == "reroll"
    assert generation.request.seed != before.request.seed
    assert generation.request.num_inference_steps == 3
    assert generation.request.width == before.request.width
    usage = await world.parts.ledger.usage(world.ben.id, world.parts.limits)
    assert usage.used_today > 0


async def test_reroll_pressed_once_but_delivered_twice_is_one_job(world: World) -> None:
    first = await made(world)
    recorder = Recorder(world)
    await world.ben.click(first, label="Reroll")
    await recorder.again()
    await world.result(2)
    assert len(await world.parts.history.recent(world.ben.id)) == 1


async def test_info_shows_the_parameters_and_a_command_that_makes_the_same_picture(
    world: World,
) -> None:
    first = await made(world, negative="blue", guidance=7.25, sampler="ddim", quality="hd")
    answer = await world.ben.click(first, label="Info")
    assert answer.ephemeral
    assert answer.response is not None
    (embed,) = answer.response.embeds
    fields = {field.name: field.value for field in embed.fields}
    assert fields["Seed"] == "5"
    assert fields["Size"] == "64 x 64"
    assert fields["Sampler"] == "ddim"
    assert fields["Second pass"] == "1.5x the size, strength 0.5"
    line = next(x for x in (embed.description or "").splitlines() if x.startswith("/imagine"))
    parts = dict(re.findall(r"(\w+):(.*?)(?= \w+:|$)", line.removeprefix("/imagine ")))
    numbers = {"width", "height", "count", "seed", "steps"}
    options: dict[str, Any] = {k: int(v) if k in numbers else v for k, v in parts.items()}
    options["guidance"] = float(options["guidance"])
    await world.ben.slash(world.channel, "imagine", **options)
    await world.result(2)
    (again,) = await world.parts.history.recent(world.ben.id)
    before = await world.parts.history.get(job_id_of(first))
    assert again.request == before.request
    assert again.pictures == before.pictures


async def test_info_of_a_prompt_that_would_leave_the_code_block_is_a_file(world: World) -> None:
    first = await made(world, prompt="a ``` b")
    answer = await world.ben.click(first, label="Info")
    assert answer.response is not None
    (file,) = answer.response.attachments
    assert file.filename == "imagine.txt"


async def test_owner_deletes_message_and_pictures(world: World) -> None:
    first = await made(world)
    generation = await world.parts.history.get(job_id_of(first))
    answer = await world.ann.click(first, label="Delete")
    assert [m.content for m in answer.followups] == ["The picture was deleted."]
    assert answer.followups[0].ephemeral
    assert world.messages() == []
    assert await world.parts.history.recent(world.ann.id) == []
    assert await world.parts.pictures.size(generation.pictures[0]) is None


async def test_deleted_from_history_it_is_gone_from_the_channel_too(world: World) -> None:
    first = await made(world)
    shown = await world.ann.slash(world.channel, "history show", picture=job_id_of(first))
    assert shown.response is not None
    answer = await world.ann.click(shown.response, label="Delete")
    assert [m.content for m in answer.followups] == ["The picture was deleted."]
    assert world.messages() == []


async def test_message_that_is_gone_already_is_no_trouble(world: World) -> None:
    first = await made(world)
    shown = await world.ann.slash(world.channel, "history show", picture=job_id_of(first))
    assert shown.response is not None
    await world.moderator().delete(first)
    answer = await world.ann.click(shown.response, label="Delete")
    assert [m.content for m in answer.followups] == ["The picture was deleted."]


async def test_delete_is_refused_to_others_and_allowed_to_moderators(world: World) -> None:
    first = await made(world)
    answer = await world.ben.click(first, label="Delete")
    assert answer.ephemeral
    assert answer.response is not None
    assert "Manage Messages" in answer.response.content
    assert len(world.results()) == 1
    await world.moderator().click(first, label="Delete")
    assert world.messages() == []


async def test_moderators_of_another_server_delete_and_cancel_nothing_here(world: World) -> None:
    first = await made(world)
    await world.ben.slash(world.channel, "imagine", prompt="a dog engine:hold")
    (waiting,) = await world.parts.jobs.unfinished()
    other = world.env.create_guild("other")
    other._guild.everyone_role.permissions = world.guild._guild.everyone_role.permissions
    role = other.create_role("mods", permissions=discord.Permissions(manage_messages=True))
    channel = other.create_text_channel("there")
    moderator = other.add_member(world.env.create_user("cid"), roles=[role])
    await moderator.slash(channel, "imagine", prompt="a fish")
    theirs = await world.result(1, channel)
    for custom_id in (f"easel:{job_id_of(first)}:delete:0", f"easel:{waiting.id}:cancel:0"):
        answer = await press(world, moderator, theirs, custom_id)
        assert answer.ephemeral
        assert answer.response is not None
        assert "Manage Messages" in answer.response.content
    assert first in world.messages()
    assert (await world.parts.jobs.get(waiting.id)).state is not JobState.CANCELLED
    world.go()
    await world.result(2)


async def test_buttons_of_a_deleted_picture_say_so(world: World) -> None:
    first = await made(world)
    await world.parts.history.delete_pictures(job_id_of(first))
    for label in ("Reroll", "Info"):
        answer = await world.ben.click(first, label=label)
        assert answer.ephemeral
        assert answer.response is not None
        assert answer.response.content == GONE


async def test_unknown_jobs_and_buttons_get_a_sentence(world: World) -> None:
    first = await made(world)
    answer = await press(world, world.ben, first, "easel:aaaaaaaaaaaaa:reroll:0")
    assert answer.ephemeral
    assert answer.response is not None
    assert "not in the history" in answer.response.content
    for custom_id in ("easel:aaaaaaaaaaaaa:teleport:0", "easel:", "easel:x", "easel:a:b:c:d"):
        answer = await press(world, world.ben, first, custom_id)
        assert answer.ephemeral, custom_id
        assert answer.response is not None
        assert answer.response.content == _buttons.UNKNOWN_BUTTON


async def test_cancel_ends_a_waiting_job_and_gives_the_cost_back(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, "--never-ready"), ready=False) as world:
        answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
        assert answer.response is not None
        refused = await world.ben.click(answer.response, label="Cancel")
        assert refused.ephemeral
        assert refused.response is not None
        assert "Manage Messages" in refused.response.content
        (job,) = await world.parts.jobs.waiting_of(world.ann.id)
        await world.ann.click(answer.response, label="Cancel")
        (line,) = world.messages()
        assert line.content.endswith("Cancelled. The cost was given back.")
        assert labels(line) == []
        assert await world.parts.jobs.with_status_line() == []  # nothing left to do about it
        assert (await world.parts.jobs.get(job.id)).state is JobState.CANCELLED
        usage = await world.parts.ledger.usage(world.ann.id, world.parts.limits)
        assert usage.used_today == 0


async def test_moderator_stops_a_running_job(world: World) -> None:
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    await world.line("Starting")
    moderator = world.moderator()
    await moderator.click(world.messages()[0], label="Stop")
    (line,) = world.messages()
    assert line.content.endswith(f"Cancelled by <@{moderator.id}>. The cost was given back.")
    assert labels(line) == []
    assert answer.acknowledged
    again = await world.ann.slash(world.channel, "imagine", prompt="a dog")
    assert again.acknowledged
    await world.result()


async def test_cancel_after_the_end_says_so(world: World) -> None:
    first = await made(world)
    answer = await press(world, world.ann, first, f"easel:{job_id_of(first)}:cancel:0")
    assert answer.response is not None
    assert answer.response.content == "This job has ended already."
    assert answer.ephemeral


async def test_private_result_has_private_rerolls(world: World) -> None:
    answer = await world.ann.slash(world.channel, "imagine", prompt="a secret", private=True)

    def is_done(one: Any) -> bool:
        return one.response is not None and bool(one.response.attachments)

    await world.until(lambda: is_done(answer))
    assert answer.response is not None
    again = await world.ann.click(answer.response, label="Reroll")
    assert again.ephemeral
    await world.until(lambda: is_done(again))
    assert world.messages() == []


async def test_failed_job_can_be_tried_again_just_as_it_was(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:fail", seed=77)
    apology = await world.line("The cost was given back")
    assert labels(apology) == ["Try again"]
    assert [user.id for user in apology.mentions] == [world.ann.id]
    await world.until(lambda: len(world.messages()) == 1, "the end of the status line")
    usage = await world.parts.ledger.usage(world.ann.id, world.parts.limits)
    assert usage.used_today == 0
    await world.ben.click(apology, label="Try again")

    def apologies() -> bool:
        return len([m for m in world.messages() if labels(m) == ["Try again"]]) == 2

    await world.until(apologies, "a second apology")
    job_id = _buttons.parse(world.messages()[-1].components[0].children[0].custom_id)  # type: ignore
    assert job_id is not None
    job = await world.parts.jobs.get(job_id.job_id)
    assert (job.owner_id, job.request.seed) == (world.ben.id, 77)


async def test_reroll_of_another_models_picture_says_what_to_do_instead(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path)) as world:
        picture = await made(world)
        await world.stop()
        world.settings = settings_for(tmp_path, "--model", "newer")
        await world.start()
        await world.engine_ready()
        answer = await world.ann.click(picture, label="Reroll")
        assert answer.ephemeral
        assert answer.response is not None
        assert "'newer'" in answer.response.content
        assert answer.response.content.endswith("**Info** shows the prompt and the options.")
