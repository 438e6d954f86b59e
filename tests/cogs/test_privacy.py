"""`/privacy`: what is told, handed over and erased."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from storage.people import Preferences
from tests.cogs.cdn import Cdn, photo
from tests.cogs.conftest import World, labels, settings_for, world_of
from tests.cogs.test_buttons import made

SECRET = "zanzibarquux"


def traces(world: World) -> list[str]:
    """Files of the data directory with the secret word in them."""
    return [
        path.name
        for path in sorted(world.settings.data_dir.rglob("*"))
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


async def test_notice_fits_and_names_the_ways_out(world: World) -> None:
    answer = await world.ann.slash(world.channel, "privacy notice")
    assert answer.ephemeral
    assert answer.response is not None
    text = str(answer.response.embeds[0].description)
    assert "/privacy delete" in text
    assert "/privacy export" in text
    assert len(text) <= 4096


async def test_export_has_everything_about_one_person(world: World) -> None:
    await made(world, prompt=f"a {SECRET}")
    await world.ben.slash(world.channel, "imagine", prompt="of somebody else")
    await world.result(2)
    await world.parts.people.set_preferences(world.ann.id, "Ann", Preferences(count=2))
    answer = await world.ann.slash(world.channel, "privacy export")
    assert answer.ephemeral
    assert answer.response is not None
    (file,) = answer.response.attachments
    zipped = zipfile.ZipFile(io.BytesIO(await file.read(use_cached=True)))
    about = json.loads(zipped.read("about-me.json"))
    assert about["person"][0]["defaults"] == {"count": 2}
    assert len(about["charges"]) == 1
    assert sorted(Path(name).suffix for name in zipped.namelist()) == [".json", ".json", ".png"]
    job = json.loads(
        next(
            zipped.read(n) for n in zipped.namelist() if n.startswith("20") and n.endswith(".json")
        )
    )
    assert job["request"]["prompt"] == f"a {SECRET}"
    assert b"of somebody else" not in b"".join(zipped.read(name) for name in zipped.namelist())


async def test_delete_asks_and_then_leaves_nothing(world: World) -> None:
    await made(world, prompt=f"a {SECRET}")
    await world.ben.slash(world.channel, "imagine", prompt="of somebody else")
    his = await world.result(2)
    await world.parts.people.set_preferences(world.ann.id, SECRET, Preferences(negative=SECRET))
    assert traces(world)
    question = await world.ann.slash(world.channel, "privacy delete")
    assert question.ephemeral
    assert question.response is not None
    assert "1 picture, 1 job with" in question.response.content
    assert traces(world)  # nothing happens before the button
    await world.ann.click(question.response, label="Delete everything")
    assert "is deleted" in question.response.content
    assert labels(question.response) == []
    assert traces(world) == []
    assert world.parts.people.preferences(world.ann.id) == Preferences()
    assert await world.parts.history.recent(world.ann.id) == []
    await world.until(
        lambda: [m.id for m in world.messages()] == [his.id], "her message is deleted"
    )
    assert len(await world.parts.history.recent(world.ben.id)) == 1


async def test_waiting_jobs_and_their_status_lines_go_too(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "--never-ready")
    async with world_of(settings, ready=False) as world:
        await world.ann.slash(world.channel, "imagine", prompt=f"a {SECRET}")
        question = await world.ann.slash(world.channel, "privacy delete")
        await world.ann.click(question.response, label="Delete everything")
        assert await world.parts.jobs.waiting_of(world.ann.id) == []
        assert world.parts.queue.waiting() == []
        await world.until(lambda: world.messages() == [], "the status line is deleted")
        assert traces(world) == []


@pytest.mark.parametrize("private", [False, True])
async def test_a_picture_that_is_being_fetched_leaves_no_job_and_no_file(
    world: World, cdn: Cdn, private: bool
) -> None:
    cdn.may_answer.clear()
    prompt = f"a {SECRET}"
    placed = await world.ann.slash(
        world.channel, "imagine", prompt=prompt, image=photo(), private=private
    )
    await world.ben.slash(world.channel, "imagine", prompt="his hat", image=photo())
    question = await world.ann.slash(world.channel, "privacy delete")
    await world.ann.click(question.response, label="Delete everything")
    cdn.may_answer.set()
    his = await world.result()
    await world.until(
        lambda: [m.id for m in world.messages()] == [his.id], "her status line is deleted"
    )
    assert "his hat" in his.content
    assert (await world.parts.privacy.holdings(world.ann.id)).jobs == 0
    assert await world.parts.arrivals.left_behind() == []
    assert traces(world) == []
    if private:
        assert placed.response is None  # deleted through its token
    again = await world.ann.slash(world.channel, "imagine", prompt="anew", image=photo())
    assert again.acknowledged
    await world.result(2)


async def test_confirmed_erasure_of_a_killed_bot_is_finished_by_the_next_start(
    world: World,
) -> None:
    await made(world, prompt=f"a {SECRET}")
    await world.parts.privacy.begin_erasure(world.ann.id)  # and then the process is killed
    await world.stop()
    await world.start()
    assert traces(world) == []
    await world.until(lambda: world.messages() == [], "her message is deleted")


async def test_only_the_person_who_pressed_is_erased(world: World) -> None:
    await made(world)
    question = await world.ben.slash(world.channel, "privacy delete")
    assert question.response is not None
    await world.ben.click(question.response, label="Delete everything")
    assert len(await world.parts.history.recent(world.ann.id)) == 1
