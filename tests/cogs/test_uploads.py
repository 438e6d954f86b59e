"""`/imagine image:` from the attachment to the picture: answered first, then fetched and checked."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from PIL import Image

from cogs._fetch import GONE, NOT_DISCORD
from engine.intake.pictures import FIRST_FRAME
from tests.cogs.acts import Recorder
from tests.cogs.cdn import Cdn, photo
from tests.cogs.conftest import LOOKING, World, labels, settings_for, world_of


def files_of(world: World) -> list[Path]:
    return [path for path in world.settings.data_dir.glob("pictures/*/*") if path.is_file()]


async def nothing_is_left(world: World) -> None:
    """No job, no charge, no file, and nothing that a restart would take up."""
    assert not await world.parts.arrivals.left_behind()
    assert not await world.parts.jobs.waiting_of(world.ann.id)
    assert not files_of(world)
    usage = await world.parts.ledger.usage(world.ann.id, world.parts.limits)
    assert usage.used_today == 0


async def refused(world: World, answer: Any) -> str:
    """Returns the sentence that only the asker sees, once the status line is gone."""
    await world.until(lambda: answer.followups, "the refusal")
    await world.until(lambda: not world.messages(), "no status line")
    (refusal,) = answer.followups
    assert refusal.ephemeral
    return str(refusal.content).replace("\\", "")


async def test_the_picture_is_looked_at_after_the_answer_and_then_drawn(
    world: World, cdn: Cdn
) -> None:
    cdn.may_answer.clear()
    answer = await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    assert answer.acknowledged
    line = await world.line(LOOKING)
    assert line.content.startswith(f"**a hat** — <@{world.ann.id}>")
    cdn.may_answer.set()
    result = await world.result()
    assert "**a hat**" in result.content
    assert [message.id for message in world.messages()] == [result.id]
    (generation,) = await world.parts.history.recent(world.ann.id)
    request = generation.request
    assert generation.receipt["images"] == 1
    assert request.strength == 0.6
    assert (request.width, request.height) == (96, 48)  # its shape, the model's size
    assert request.init_image is not None
    kept = await world.parts.pictures.get(request.init_image)
    assert Image.open(io.BytesIO(kept)).size == (120, 60)
    assert not await world.parts.arrivals.left_behind()


async def test_options_go_before_the_shape_of_the_picture(world: World) -> None:
    await world.ann.slash(
        world.channel, "imagine", prompt="a hat --iw 1.5", image=photo(), aspect="1:1"
    )
    await world.result()
    (generation,) = await world.parts.history.recent(world.ann.id)
    assert (generation.request.width, generation.request.height) == (64, 64)
    assert generation.request.strength == 0.25


async def test_a_file_that_is_no_picture_is_refused_and_costs_nothing(world: World) -> None:
    answer = await world.ann.slash(
        world.channel, "imagine", prompt="a hat", image=("photo.png", b"<!doctype html>")
    )
    assert await refused(world, answer) == "That is a web page; send PNG, JPEG or WebP."
    await nothing_is_left(world)


async def test_a_link_that_expired_is_said(world: World, cdn: Cdn) -> None:
    cdn.may_answer.clear()
    answer = await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    await world.line(LOOKING)
    cdn.files.clear()
    cdn.may_answer.set()
    assert await refused(world, answer) == GONE
    await nothing_is_left(world)


async def test_what_memory_can_refuse_is_refused_at_once(
    world: World, cdn: Cdn, tmp_path: Path
) -> None:
    answer = await world.ann.slash(world.channel, "imagine", prompt="a hat", strength=0.5)
    assert answer.ephemeral
    assert "Attach one with the option image" in answer.response.content
    cdn.base = "https://files.example"
    answer = await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    assert answer.ephemeral
    assert answer.response.content == NOT_DISCORD
    assert not cdn.asked
    await nothing_is_left(world)


async def test_a_file_that_says_its_size_is_not_fetched(tmp_path: Path, cdn: Cdn) -> None:
    settings = settings_for(tmp_path, attachment_hosts=cdn.hosts, max_upload_mb=0.001)
    async with world_of(settings) as world:
        cdn.stand_in(world)
        data = ("photo.png", bytes(3000))
        answer = await world.ann.slash(world.channel, "imagine", prompt="a hat", image=data)
        assert answer.ephemeral
        assert "at most" in answer.response.content
        assert not cdn.asked


async def test_limits_hold_for_pictures_too(world: World) -> None:
    for _ in range(4):
        await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    lines = len(world.messages())
    answer = await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    await world.until(lambda: answer.followups, "the refusal")
    assert "4 jobs waiting" in answer.followups[0].content
    await world.until(lambda: len(world.messages()) == lines, "no status line of it")
    await world.until(lambda: not files_of(world), "no file of it")
    world.go()
    await world.result(4)


async def test_a_person_has_few_pictures_checked_at_once(world: World, cdn: Cdn) -> None:
    cdn.may_answer.clear()
    for _ in range(4):
        await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    answer = await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    assert answer.ephemeral
    assert "limit 4" in answer.response.content
    cdn.may_answer.set()
    await world.result(4)


async def test_private_pictures_stay_private(world: World) -> None:
    answer = await world.ann.slash(
        world.channel, "imagine", prompt="a secret", image=photo(), private=True
    )

    def seen() -> bool:
        return answer.response is not None and bool(answer.response.attachments)

    await world.until(seen, "the private picture")
    answer = await world.ann.slash(
        world.channel, "imagine", prompt="a secret", image=("a.png", b"GIF89a"), private=True
    )
    await world.until(lambda: "GIF picture" in answer.response.content, "the refusal")
    assert answer.ephemeral
    assert not world.messages()


async def test_first_frame_of_an_animation_is_told(world: World) -> None:
    later = [Image.new("RGB", (120, 60), "blue")]
    animation = photo(save_all=True, append_images=later)
    answer = await world.ann.slash(world.channel, "imagine", prompt="a hat", image=animation)
    await world.result()
    await world.until(lambda: answer.followups, "the note")
    assert answer.followups[0].content == FIRST_FRAME
    assert answer.followups[0].ephemeral


async def test_the_same_command_twice_makes_one_job(world: World, cdn: Cdn) -> None:
    recorder = Recorder(world)
    cdn.may_answer.clear()
    await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    await recorder.again()
    cdn.may_answer.set()
    await world.result()
    await recorder.again()
    assert len(await world.parts.history.recent(world.ann.id)) == 1
    assert len(world.messages()) == 1


async def test_a_kill_while_the_picture_is_looked_at_loses_nothing(world: World, cdn: Cdn) -> None:
    cdn.may_answer.clear()
    await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    await world.line(LOOKING)
    await world.stop()
    cdn.may_answer.set()
    await world.start()
    result = await world.result()
    assert [message.id for message in world.messages()] == [result.id]
    assert not await world.parts.arrivals.left_behind()


async def test_a_kill_and_a_link_that_expired_is_one_apology(world: World, cdn: Cdn) -> None:
    cdn.may_answer.clear()
    await world.ann.slash(world.channel, "imagine", prompt="a hat", image=photo())
    line = await world.line(LOOKING)
    await world.stop()
    cdn.files.clear()
    cdn.may_answer.set()
    await world.start()
    apology = await world.line("link has expired")
    await world.gone(line)
    assert [message.id for message in world.messages()] == [apology.id]
    assert [user.id for user in apology.mentions] == [world.ann.id]
    assert labels(apology) == ["Try again"]
    await world.stop()
    await world.start()
    await world.engine_ready()
    assert [message.id for message in world.messages()] == [apology.id]
    answer = await world.ann.click(apology, label="Try again")
    assert answer.ephemeral
    assert re.search("attach", answer.response.content)
