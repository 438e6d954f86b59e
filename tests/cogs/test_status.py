"""Status lines: what they say, and how often they are edited."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cogs import _status
from cogs._board import Pace
from cogs._status import Face
from engine.types import (
    Destination,
    EngineDied,
    EngineLoading,
    EngineReady,
    Flow,
    GenerationRequest,
    Job,
    JobState,
    Progress,
    Queued,
    Sampler,
    Submission,
)
from tests.cogs.conftest import World, labels, settings_for, world_of
from tests.faulty_engine import info_of, parse

READY = EngineReady(info_of(parse(["--state", "unused"])))


def job_of(prompt: str = "a cat") -> Job:
    request = GenerationRequest(
        prompt=prompt,
        width=64,
        height=64,
        seed=1,
        num_inference_steps=4,
        guidance_scale=5.0,
        sampler=Sampler.EULER,
        model="faulty",
    )
    submission = Submission("interaction:1", 7, "ann", Destination(1), request)
    return Job("abcdefghijklm", submission, JobState.QUEUED, 1.0, 0, datetime.now(UTC))


def test_waiting_line_says_place_and_time() -> None:
    face = _status.queued(job_of(), Queued("j", 3, 60.0), READY)
    assert face.content.startswith("**a cat** — <@7>\n#3 in line, starts <t:")
    assert face.button == "Cancel"
    assert face.starts_at is not None
    assert 55 <= face.starts_at - time.time() <= 75
    unknown = _status.queued(job_of(), Queued("j", 3, None), READY)
    assert unknown.content.endswith("#3 in line")


def test_line_of_an_unknown_place_names_none() -> None:
    assert _status.queued(job_of(), None, READY).content.endswith("\nIn line")
    loading = _status.queued(job_of(), None, EngineLoading("x"))
    assert loading.content.endswith("You are in line.")


def test_start_within_seconds_is_promised_without_a_number() -> None:
    face = _status.queued(job_of(), Queued("j", 1, 0.4), READY)
    assert face.content.endswith("#1 in line, starts in a moment")
    assert face.starts_at is None


def test_promised_time_stays_while_it_is_about_right() -> None:
    first = _status.queued(job_of(), Queued("j", 3, 100.0), READY)
    assert _status.queued(job_of(), Queued("j", 3, 110.0), READY, first) == first
    later = _status.queued(job_of(), Queued("j", 3, 300.0), READY, first)
    assert later.starts_at != first.starts_at


def test_promised_time_is_never_over() -> None:
    over = Face("", starts_at=int(time.time()) - 2)
    face = _status.queued(job_of(), Queued("j", 1, 9.0), READY, over)
    assert face.starts_at is not None
    assert face.starts_at > time.time() + 5


def test_loading_line_says_what_is_loaded() -> None:
    place = Queued("j", 1, None)
    face = _status.queued(job_of(), place, EngineLoading("downloading unet", 0.4))
    assert "The engine is loading: downloading unet (40%). You are #1 in line." in face.content
    changing = _status.queued(job_of(), place, EngineLoading("loading the unet", 0.5, "dream"))
    words = "The model is being changed to dream: loading the unet (50%). You are #1 in line."
    assert words in changing.content
    paused = _status.queued(job_of(), place, EngineLoading("x"), flow=Flow.PAUSED)
    assert "Paused by the operator of this bot. You are #1 in line" in paused.content
    draining = _status.queued(job_of(), place, READY, flow=Flow.DRAINING)
    assert draining.content.endswith("#1 in line")
    again = _status.queued(job_of(), place, EngineDied("x", ()))
    assert "will be started again. You are #1 in line" in again.content
    hopeless = _status.queued(job_of(), place, EngineDied("x", (), is_hopeless=True))
    assert "The model cannot be loaded" in hopeless.content
    assert "You are #1 in line, and your job is kept" in hopeless.content
    assert "again" not in hopeless.content


@pytest.mark.parametrize(
    ("step", "total", "text"),
    [
        (0, 8, "▱" * 12 + " 0/8 steps"),
        (4, 8, "▰" * 6 + "▱" * 6 + " 4/8 steps"),
        (9, 8, "▰" * 12 + " 8/8 steps"),
    ],
)
def test_running_line_has_a_bar(step: int, total: int, text: str) -> None:
    face = _status.running(job_of(), Progress("j", step, total), b"jpeg")
    assert face.content.endswith(text)
    assert face.button == "Stop"
    assert face.preview == b"jpeg"


def test_longest_prompt_fits_into_a_line() -> None:
    for prompt in ("*" * 1500, "😀" * 1500, "@everyone " * 150):
        face = _status.queued(job_of(prompt), Queued("j", 499, 1e9), READY)
        assert len(face.content.encode("utf-16-le")) // 2 <= 600


async def test_queue_cancel_changes_the_line_everybody_sees(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, "--never-ready"), ready=False) as world:
        await world.ann.slash(world.channel, "imagine", prompt="a cat")
        (job,) = await world.parts.jobs.waiting_of(world.ann.id)
        answer = await world.ann.slash(world.channel, "queue cancel", job=job.id)
        assert answer.ephemeral
        assert answer.response is not None
        assert answer.response.content == "Cancelled: **a cat**. The cost was given back."
        line = await world.line("Cancelled. The cost was given back.")
        assert labels(line) == []
        again = await world.ann.slash(world.channel, "queue cancel", job=job.id)
        assert again.response is not None
        assert again.response.content == "This job has ended already."


async def test_cancelled_line_says_so_also_when_discord_fails_for_a_while(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, "--never-ready"), ready=False) as world:
        await world.ann.slash(world.channel, "imagine", prompt="a cat")
        (job,) = await world.parts.jobs.waiting_of(world.ann.id)
        world.env.inject_error("PATCH", "/webhooks/*/messages/@original", status=503, times=3)
        await world.ann.slash(world.channel, "queue cancel", job=job.id)
        line = await world.line("Cancelled. The cost was given back.")
        assert labels(line) == []


async def test_cancelled_line_says_so_after_a_restart(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, "--never-ready"), ready=False) as world:
        await world.ann.slash(world.channel, "imagine", prompt="a cat")
        (job,) = await world.parts.jobs.waiting_of(world.ann.id)
        world.env.inject_error("PATCH", "/webhooks/*/messages/@original", status=503, times=None)
        await world.ann.slash(world.channel, "queue cancel", job=job.id)
        await world.stop()
        world.env.backend.faults.clear()
        await world.start()
        line = await world.line("Cancelled. The cost was given back.")
        assert labels(line) == []


async def test_line_follows_the_engine_from_loading_to_running(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "--loading", "3", "--load-s", "0.2")
    async with world_of(settings, ready=False) as world:
        await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
        await world.line("The engine is loading: loading")
        await world.line("Starting")
        world.go()
        await world.result()


async def test_edits_of_one_line_are_spaced_in_time(tmp_path: Path) -> None:
    """20 steps of 20 ms are 20 changes; a line that is edited each 100 ms shows a few of them."""
    settings = settings_for(tmp_path, "--step-s", "0.02")
    async with world_of(settings, pace=Pace(running=0.1, near=0.1, refresh=0.05)) as world:
        edits: list[float] = []

        def note(event: str, payload: dict[str, object]) -> None:
            if event == "MESSAGE_UPDATE" and "/20" in str(payload.get("content")):
                edits.append(time.monotonic())

        world.env.backend.subscribers.append(note)
        await world.ann.slash(world.channel, "imagine", prompt="a cat", steps=20)
        await world.result()
        assert edits
        gaps = [after - before for before, after in itertools.pairwise(edits)]
        assert all(gap > 0.09 for gap in gaps), gaps


async def test_line_that_is_over_spends_no_edit_of_its_channel(tmp_path: Path) -> None:
    pace = Pace(running=0.5, near=0.5, refresh=0.05, channel_edits=1, channel_period=30.0)
    async with world_of(settings_for(tmp_path), pace=pace) as world:
        for number in range(1, 4):  # over before they may be edited
            await world.ann.slash(world.channel, "imagine", prompt="a cat", steps=1)
            await world.result(number)
        await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
        await world.line("Starting")
        world.go()
        await world.result(4)


async def test_deleted_line_is_left_alone(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    line = await world.line("Starting")
    await world.moderator().delete(line)
    world.go()
    await world.result()
    assert len(world.messages()) == 1


async def test_preview_is_part_of_the_line_and_hidden_like_the_picture(world: World) -> None:
    for number, spoiler in enumerate((False, True)):
        await world.ann.slash(
            world.channel, "imagine", prompt=f"{number} engine:hold", spoiler=spoiler
        )
        line = await world.line("Starting")
        (job,) = await world.parts.jobs.waiting_of(world.ann.id)
        kept = world.bot.desk.board.get(job.id)
        assert kept is not None
        kept.take(Progress(job.id, 3, 9, b"\xff\xd8 a preview"))
        line = await world.line("3/9")
        (preview,) = line.attachments
        assert preview.filename.endswith("preview.jpg")
        assert preview.is_spoiler() is spoiler
        kept.take(Progress(job.id, 4, 9))  # most steps have no preview of their own
        line = await world.line("4/9")
        assert [one.id for one in line.attachments] == [preview.id]
        world.go()
        await world.result(number + 1)
        (world.state / "go").unlink()


async def test_line_is_edited_as_a_message_when_the_token_has_ended(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    line = await world.line("Starting")
    (job,) = await world.parts.jobs.waiting_of(world.ann.id)
    kept = world.bot.desk.board.get(job.id)
    assert kept is not None
    world.env.inject_error(
        "PATCH", "/webhooks/*/messages/@original", status=401, code=50027, times=None
    )
    kept.take(Progress(job.id, 3, 9, b"\xff\xd8 a preview"))
    line = await world.line("3/9")
    assert line.attachments
    assert f"/channels/{world.channel.id}/messages/{line.id}" in [
        request.path for request in world.env.http_requests if request.method == "PATCH"
    ]
    world.go()
    await world.result()
    assert len(world.messages()) == 1


async def test_line_that_cannot_be_noted_is_kept_and_no_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.parts.jobs._db.transaction() as tx:
        await tx.rows(
            "CREATE TRIGGER full_disk BEFORE UPDATE OF status_message_id ON jobs"
            " BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    answer = await world.ann.slash(world.channel, "imagine", prompt="a cat")
    assert answer.followups == []
    await world.result()
    assert "is not noted" in caplog.text
