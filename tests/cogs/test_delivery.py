"""Results reach their owners exactly once, whatever fails on the way."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import discord
import pytest
from PIL import Image

from cogs import _buttons, _options, _parcel
from engine.types import Destination, JobState, Submission
from storage.jobs import JobTable
from tests.cogs.acts import start_among_friends
from tests.cogs.conftest import ONE_PICTURE, World, labels, settings_for, world_of


def sends(world: World) -> list[dict[str, Any]]:
    """The bodies of all tries to send an ordinary message."""
    return [
        request.json
        for request in world.env.http_requests
        if request.method == "POST" and request.path.endswith("/messages")
    ]


async def held(world: World, **options: Any) -> str:
    """A running job of Ann that waits for `go`; returns its id."""
    await world.ann.slash(world.channel, "imagine", **({"prompt": "a cat engine:hold"} | options))
    (job,) = await world.parts.jobs.waiting_of(world.ann.id)
    return job.id


async def test_failing_sends_are_repeated_with_the_same_nonce(world: World) -> None:
    world.env.inject_error("POST", "/channels/*/messages", status=502, times=3)
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    (generation,) = await world.parts.history.recent(world.ann.id)
    nonces = [body["nonce"] for body in sends(world)]
    assert nonces == [f"{generation.id}:r"] * 4
    assert all(body["enforce_nonce"] for body in sends(world))
    assert len(nonces[0]) <= 25


@pytest.mark.parametrize("status", [401, 403, 404, 429])
async def test_refusals_that_are_not_about_the_channel_are_waited_out(
    world: World, status: int
) -> None:
    """A token that was reset, or a block by the front of Discord: no word about the channel."""
    for path in ("/channels/*/messages", "/users/@me/channels"):
        world.env.inject_error("POST", path, status=status, code=0, times=3)
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    assert labels(world.messages()[0]) == ONE_PICTURE


async def test_a_stuck_delivery_does_not_hold_up_others(world: World) -> None:
    other = world.guild.create_text_channel("other")
    path = f"/channels/{other.id}/messages"
    world.env.inject_error("POST", path, status=503, times=None)
    await world.ann.slash(other, "imagine", prompt="a cat")
    await world.until(lambda: len(sends(world)) > 1, "several tries")
    await world.ben.slash(world.channel, "imagine", prompt="a dog")
    await world.result()
    assert world.results(other) == []
    world.env.backend.faults.clear()
    await world.result(channel=other)


async def test_closed_channel_leads_to_a_direct_message(world: World) -> None:
    job_id = await held(world)
    path = f"/channels/{world.channel.id}/messages"
    world.env.inject_error("POST", path, status=403, code=50013, times=None)
    world.go()
    result = await world.result(channel=world.ann.user.dm_channel)
    assert f"<@{world.ann.id}>" in result.content
    assert f"I could not post it in <#{world.channel.id}>" in result.content
    await world.until(lambda: world.messages() == [], "the end of the status line")
    assert (await world.parts.jobs.get(job_id)).result_message_id == result.id


async def test_deleted_channel_leads_to_a_direct_message(world: World) -> None:
    await held(world)
    world.env.backend.delete_channel(world.channel.id)
    world.go()
    dm = world.ann.user.dm_channel
    await world.until(lambda: world.results(dm), "a result by DM")


async def test_closed_direct_messages_leave_the_picture_in_history(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = await held(world)
    world.env.inject_error("POST", "/channels/*/messages", status=403, code=50013, times=None)
    with caplog.at_level(logging.WARNING):
        world.go()
        await world.until(lambda: world.messages() == [], "the end of the status line")
    job = await world.parts.jobs.get(job_id)
    assert job.delivered_at is not None
    assert job.result_message_id is None
    assert [one.id for one in await world.parts.history.recent(world.ann.id)] == [job_id]
    assert "kept for /history" in caplog.text
    answer = await world.ann.slash(world.channel, "history show", picture=job_id)
    assert answer.response is not None
    assert len(answer.response.attachments) == 1


async def test_message_of_an_earlier_try_is_found_and_not_sent_again(world: World) -> None:
    job_id = await held(world)
    earlier = JobTable(world.parts.jobs._db, world.parts.pictures, clock=world.env.now)
    assert await earlier.begin_sending(job_id) is None
    channel = world.bot.get_partial_messageable(world.channel.id, guild_id=world.guild.id)
    with world.env.time_context():
        sent = await channel.send("of before the kill", view=_buttons.result_view(job_id))
    tries = len(sends(world))
    world.go()
    await world.result()
    assert len(sends(world)) == tries
    assert (await world.parts.jobs.get(job_id)).result_message_id == sent.id


async def test_an_earlier_try_that_left_nothing_is_repeated(world: World) -> None:
    job_id = await held(world)
    earlier = JobTable(world.parts.jobs._db, world.parts.pictures, clock=world.env.now)
    await earlier.begin_sending(job_id)
    world.go()
    result = await world.result()
    assert (await world.parts.jobs.get(job_id)).result_message_id == result.id


async def test_private_result_comes_by_dm_after_the_token_ended(world: World) -> None:
    answer = await world.ann.slash(
        world.channel, "imagine", prompt="a secret engine:hold", private=True
    )
    assert answer.ephemeral
    world.env.inject_error(
        "PATCH", "/webhooks/*/messages/@original", status=401, code=50027, times=None
    )
    world.go()
    await world.result(channel=world.ann.user.dm_channel)
    assert world.messages() == []


async def test_result_of_before_a_restart_is_delivered_after_it(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path)) as world:
        path = f"/channels/{world.channel.id}/messages"
        world.env.inject_error("POST", path, status=503, times=None)
        await world.ann.slash(world.channel, "imagine", prompt="a cat", seed=3)
        await world.until(lambda: sends(world), "a try")
        await world.stop()
        world.env.backend.faults.clear()
        await world.start()
        result = await world.result()
        assert "seed 3" in result.content
        assert len(world.messages()) == 1
        answer = await world.ben.click(result, label="Info")
        assert answer.ephemeral
        await world.ben.click(result, label="Reroll")
        await world.result(2)


async def test_line_of_a_delivered_result_is_removed_after_a_restart(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path)) as world:
        path = f"/channels/{world.channel.id}/messages/*"
        world.env.inject_error("DELETE", path, status=503, times=None)
        await world.ann.slash(world.channel, "imagine", prompt="a cat")

        def tries() -> int:
            return sum(request.method == "DELETE" for request in world.env.http_requests)

        await world.until(tries, "a try to remove the line")
        await world.stop()
        assert len(world.messages()) == 2
        world.env.backend.faults.clear()
        await world.start()
        await world.until(lambda: len(world.messages()) == 1, "the end of the status line")
        assert len(world.results()) == 1


async def test_waiting_job_survives_a_restart_with_its_line(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path)) as world:
        await held(world, private=False)
        await world.ben.slash(world.channel, "imagine", prompt="a secret engine:hold", private=True)
        await world.stop()
        (line,) = world.messages()
        await world.start()

        def is_kept() -> bool:
            path = f"/channels/{world.channel.id}/messages/{line.id}"
            return any(
                request.method == "PATCH" and request.path == path
                for request in world.env.http_requests
            )

        await world.until(is_kept, "the line of before, edited")
        world.go()
        await world.result()
        # The token of the private one is lost with the process.
        await world.result(channel=world.ben.user.dm_channel)


async def test_too_large_for_discord_becomes_a_smaller_file(world: World) -> None:
    world.env.inject_error("POST", "/channels/*/messages", status=413, code=40005, times=1)
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    assert len(sends(world)) == 2


async def test_format_follows_the_limit_that_discord_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = property(lambda _: 200, lambda _, limit: None)  # bytes, for this person in this place
    monkeypatch.setattr(discord.Interaction, "filesize_limit", told)
    await world.ann.slash(world.channel, "imagine", prompt="a cat", spoiler=True)
    result = await world.result()
    (file,) = result.attachments
    assert file.filename.endswith(".webp")
    assert file.is_spoiler()
    (generation,) = await world.parts.history.recent(world.ann.id)
    assert (await world.parts.pictures.get(generation.pictures[0])).startswith(b"\x89PNG")
    await world.ben.click(result, label="Send to DM")
    (copy,) = world.messages(world.ben.user.dm_channel)
    assert copy.attachments[0].is_spoiler()


async def test_in_a_group_of_friends_the_answer_becomes_the_picture(world: World) -> None:
    answer = start_among_friends(world, world.ann, "imagine", prompt="a cat")
    await world.until(lambda: answer.response is not None and answer.response.attachments)
    assert labels(answer.response) == ONE_PICTURE
    (generation,) = await world.parts.history.recent(world.ann.id)
    assert generation.message_id == answer.response.message.id
    assert sends(world) == []


async def test_message_that_discord_refuses_becomes_an_apology(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.env.inject_error("POST", "/channels/*/messages", status=400, code=50035, times=1)
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    apology = await world.line("See it with /history show")
    assert [user.id for user in apology.mentions] == [world.ann.id]
    (generation,) = await world.parts.history.recent(world.ann.id)
    assert (await world.parts.jobs.get(generation.id)).state is JobState.RENDERED


def tried_files(world: World) -> int:
    """How many requests carried a finished picture."""
    return sum("-1.png" in str(request.json) for request in world.env.http_requests)


async def tried_apology(world: World) -> None:
    """Returns when a try has noticed the missing file: one before may still have read it."""
    requests = world.env.http_requests
    await world.until(lambda: "not there any more" in str(requests[-1].json), "an apology's try")


async def test_file_that_is_gone_ends_in_an_apology(world: World) -> None:
    world.env.inject_error("POST", "/channels/*/messages", status=503, times=None)
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.until(lambda: tried_files(world), "a try")
    (generation,) = await world.parts.history.recent(world.ann.id)
    await world.parts.pictures.delete(generation.pictures[0])
    await tried_apology(world)
    world.env.backend.faults.clear()
    apology = await world.line("not there any more")
    assert labels(apology) == ["Try again"]


async def test_private_file_that_is_gone_ends_in_an_apology(world: World) -> None:
    path = "/webhooks/*/messages/@original"
    world.env.inject_error("PATCH", path, status=503, times=None)
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat", private=True)
    await world.until(lambda: tried_files(world), "a try")
    (generation,) = await world.parts.history.recent(world.ann.id)
    await world.parts.pictures.delete(generation.pictures[0])
    await tried_apology(world)
    world.env.backend.faults.clear()

    def apologized() -> bool:
        return answer.response is not None and "not there any more" in answer.response.content

    await world.until(apologized, "a private apology")


async def test_broken_engine_ends_in_one_apology(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:crash")
    apology = await world.line("set aside")
    await world.until(lambda: len(world.messages()) == 1, "the end of the status line")
    assert labels(apology) == ["Try again"]
    await world.ben.slash(world.channel, "imagine", prompt="a dog")
    await world.until(lambda: world.results(), "the next picture")


def test_smaller_picture_fits_and_keeps_its_shape() -> None:
    noise = Image.effect_noise((256, 128), 100).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    limit = 6000
    small = _parcel.smaller(buffer.getvalue(), limit)
    assert len(small) <= limit
    with Image.open(io.BytesIO(small)) as picture:
        assert picture.format == "WEBP"
        assert abs(picture.width / picture.height - 2) < 0.1


async def test_window_between_answer_and_result_is_closed(world: World) -> None:
    """A job that ends before its status line is known leaves no line behind."""
    for number in range(4):
        await world.ann.slash(world.channel, "imagine", prompt=f"a cat {number}", steps=1)
    await world.result(4)
    assert len(world.messages()) == 4
    assert discord.utils.find(lambda m: m.attachments == [], world.messages()) is None


async def test_result_waits_for_the_answer_that_is_on_its_way(world: World) -> None:
    board, queue = world.bot.desk.board, world.parts.queue
    request = _options.request_from(_options.Options("a cat"), world.bot.desk.info())
    place = Destination(channel_id=world.channel.id, guild_id=world.guild.id)
    submission = Submission("interaction:1", world.ann.id, "ann", place, request)
    with board.answering(submission.origin):
        job = await queue.submit(submission)
        async for _ in queue.watch(job.id):
            pass
        await world.ben.slash(world.channel, "imagine", prompt="a dog")
        later = await world.result()  # its turn came after the first one's
        assert "a dog" in later.content
        assert (await world.parts.jobs.get(job.id)).state is JobState.RENDERED
        assert (await world.parts.jobs.get(job.id)).sending_since is None
    await world.result(2)


async def test_line_that_is_known_after_the_result_is_deleted(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    (generation,) = await world.parts.history.recent(world.ann.id)
    job = await world.parts.jobs.get(generation.id)
    channel = world.bot.get_partial_messageable(world.channel.id, guild_id=world.guild.id)
    with world.env.time_context():
        late = await channel.send("#1 in line", view=_buttons.status_view(job.id, "Cancel"))
    world.bot.desk.board.add(job, late.id)
    await world.gone(late)
