"""Prompts that stand for several pictures: each is a job of its own, many only after a question."""

from __future__ import annotations

from tests.cogs.conftest import World, labels
from tests.cogs.test_styles import said


async def test_choices_make_a_result_each(world: World) -> None:
    folder = world.settings.wildcard_folder
    folder.mkdir()
    (folder / "place.txt").write_text("in snow\n")
    await world.ann.slash(world.channel, "imagine", prompt="a {red, blue} cat __place__")
    await world.result(2)
    texts = {message.content.split("**")[1] for message in world.results()}
    assert texts == {"a red cat in snow", "a blue cat in snow"}


async def test_many_pictures_are_made_after_their_cost_was_confirmed(world: World) -> None:
    asked = await world.ann.slash(
        world.channel, "imagine", prompt="a {red, green, blue} cat", count=2
    )
    assert asked.ephemeral
    assert "That is 6 pictures. They cost 6 of the 50" in said(asked)
    await world.ann.click(asked.response, label="Make 6 pictures")
    await world.result(3)
    assert all(len(message.attachments) == 2 for message in world.results())


async def test_six_jobs_of_one_command_pass_the_limit_of_waiting_jobs(world: World) -> None:
    prompt = "a {1, 2, 3, 4, 5, 6} engine:hold"
    asked = await world.ann.slash(world.channel, "imagine", prompt=prompt)
    await world.ann.click(asked.response, label="Make 6 pictures")
    assert len(await world.parts.jobs.waiting_of(world.ann.id)) == 6
    refused = await world.ann.slash(world.channel, "imagine", prompt="one more")
    assert "6 jobs waiting" in said(refused)
    line = next(m for m in world.messages() if set(labels(m)) & {"Cancel", "Stop"})
    await world.ann.click(line, label=labels(line)[0])
    assert await world.parts.jobs.waiting_of(world.ann.id) == []


async def test_too_many_choices_are_refused(world: World) -> None:
    refused = await world.ann.slash(world.channel, "imagine", prompt="{" + "a," * 20 + "b}")
    assert "more than 12 prompts" in said(refused)
