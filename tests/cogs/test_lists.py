"""`/history`, `/queue` and `/help`: what people look up about themselves."""

from __future__ import annotations

from pathlib import Path

from engine.types import Progress
from engine.worker.prompt_syntax import MAX_WEIGHT
from tests.cogs.acts import forge
from tests.cogs.conftest import ONE_PICTURE, World, labels, settings_for, world_of


async def test_history_lists_own_pictures_newest_first_with_links(world: World) -> None:
    empty = await world.ann.slash(world.channel, "history list")
    assert empty.ephemeral
    assert empty.response is not None
    assert "You have no pictures yet" in (empty.response.embeds[0].description or "")
    for number, prompt in enumerate(("a cat", "a @everyone dog"), 1):
        await world.ann.slash(world.channel, "imagine", prompt=prompt)
        await world.result(number)
    await world.ben.slash(world.channel, "imagine", prompt="a bird")
    await world.result(3)
    answer = await world.ann.slash(world.channel, "history list")
    assert answer.response is not None
    text = answer.response.embeds[0].description or ""
    newest, _, oldest, details = text.splitlines()
    assert newest == r"`1` **a \@everyone dog**"
    assert oldest == "`2` **a cat**"
    first = world.results()[0]
    link = f"https://discord.com/channels/{world.guild.id}/{world.channel.id}/{first.id}"
    assert link in details
    assert labels(answer.response) == []


async def test_history_has_older_pages(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, per_minute=0)) as world:
        for number in range(1, 12):
            await world.ann.slash(world.channel, "imagine", prompt=f"number {number}", steps=1)
            await world.result(number)
        answer = await world.ann.slash(world.channel, "history list")
        assert answer.response is not None
        assert "number 11**" in (answer.response.embeds[0].description or "")
        assert labels(answer.response) == ["Older"]
        await world.ann.click(answer.response, label="Older")
        assert answer.response.embeds[0].description is not None
        assert answer.response.embeds[0].description.startswith("`1` **number 2**\n")
        assert labels(answer.response) == []


async def test_more_jobs_than_a_card_holds_are_counted(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "--never-ready", max_waiting_per_person=60, per_minute=0)
    async with world_of(settings, ready=False) as world:
        for _ in range(40):
            await world.ann.slash(world.channel, "imagine", prompt="a long prompt " * 20)
        answer = await world.ann.slash(world.channel, "queue view")
        assert answer.response is not None
        text = answer.response.embeds[0].description or ""
        assert len(text) <= 4096
        *lines, rest = text.splitlines()
        assert rest == f"and {40 - len(lines) // 2} more"
        assert "#1 in line" in lines[1]


async def test_history_show_has_picture_parameters_and_buttons(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", seed=9, spoiler=True)
    await world.result()
    choices = await world.ann.autocomplete(world.channel, "history show", "picture", "CAT")
    (choice,) = choices
    assert choice["name"].startswith("a cat (")
    answer = await world.ann.slash(world.channel, "history show", picture=choice["value"])
    assert answer.ephemeral
    assert answer.response is not None
    assert answer.response.attachments[0].is_spoiler()
    assert labels(answer.response) == ONE_PICTURE
    assert "seed:9" in (answer.response.embeds[0].description or "")
    assert await world.ben.autocomplete(world.channel, "history show", "picture", "") == []


async def test_history_shows_nobody_elses_pictures(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", private=False)
    await world.result()
    (generation,) = await world.parts.history.recent(world.ann.id)
    for wanted in (generation.id, "nonsense", "../../etc/passwd"):
        answer = await world.ben.slash(world.channel, "history show", picture=wanted)
        assert answer.ephemeral
        assert answer.response is not None
        assert "no such picture in your history" in answer.response.content


async def test_queue_view_and_cancel_know_own_jobs_only(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, "--never-ready"), ready=False) as world:
        for actor, prompt in ((world.ben, "a dog"), (world.ann, "a cat"), (world.ann, "a *cow*")):
            await actor.slash(world.channel, "imagine", prompt=prompt)
        answer = await world.ann.slash(world.channel, "queue view")
        assert answer.ephemeral
        assert answer.response is not None
        (embed,) = answer.response.embeds
        lines = (embed.description or "").splitlines()
        assert lines[0] == "**a cat**"
        assert lines[2] == r"**a \*cow\***"
        assert "in line" in lines[1]
        assert "3 jobs waiting in all · the engine is loading" in str(embed.footer.text)
        (choice,) = await world.ann.autocomplete(world.channel, "queue cancel", "job", "cow")
        refused = await world.ben.slash(world.channel, "queue cancel", job=choice["value"])
        assert refused.response is not None
        assert "no such job" in refused.response.content
        await world.ann.slash(world.channel, "queue cancel", job=choice["value"])
        assert [job.request.prompt for job in await world.parts.jobs.waiting_of(world.ann.id)] == [
            "a cat"
        ]


async def test_queue_view_of_nothing(world: World) -> None:
    answer = await world.ann.slash(world.channel, "queue view")
    assert answer.response is not None
    assert answer.response.embeds[0].description == "You have no jobs waiting."
    assert answer.response.embeds[0].footer.text == "Nobody is waiting"


async def test_queue_view_tells_how_far_a_running_job_is(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    await world.line("Starting")
    (job,) = await world.parts.jobs.waiting_of(world.ann.id)
    kept = world.bot.desk.board.get(job.id)
    assert kept is not None
    for progress, words in ((None, "running"), (Progress(job.id, 3, 9), "running, 3/9 steps")):
        if progress is not None:
            kept.take(progress)
        answer = await world.ann.slash(world.channel, "queue view")
        assert answer.response is not None
        assert str(answer.response.embeds[0].description).endswith(f" · {words}")
    world.go()
    await world.result()


async def test_queue_cancel_takes_words_of_one_job(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, "--never-ready"), ready=False) as world:
        for prompt in ("a red cat", "a red dog"):
            await world.ann.slash(world.channel, "imagine", prompt=prompt)
        for typed, words in (
            ("red", "2 of your jobs have these words"),
            ("bird", "no such job"),
            ("Red CAT", "Cancelled: **a red cat**"),
        ):
            answer = await world.ann.slash(world.channel, "queue cancel", job=typed)
            assert answer.response is not None
            assert words in answer.response.content
        (choice,) = await world.ann.autocomplete(world.channel, "queue cancel", "job", "")
        answer = await world.ann.slash(world.channel, "queue cancel", job=choice["name"])
        assert answer.response is not None
        assert "Cancelled: **a red dog**" in answer.response.content


async def test_history_show_takes_words_and_shows_the_newest(world: World) -> None:
    for number, prompt in enumerate(("a red cat", "a (red) dog", "a bird"), 1):
        await world.ann.slash(world.channel, "imagine", prompt=prompt)
        await world.result(number)
    for typed in ("RED", "a (red)", "a (red) dog"):
        answer = await world.ann.slash(world.channel, "history show", picture=typed)
        assert answer.response is not None
        assert "prompt:a (red) dog" in str(answer.response.embeds[0].description)
    refused = await world.ben.slash(world.channel, "history show", picture="red")
    assert refused.response is not None
    assert "no such picture" in refused.response.content


async def test_help_topics_know_the_limits_that_hold(world: World) -> None:
    for topic, words in (
        ("start", "/imagine"),
        ("prompts", f"as much as you say (0 to {MAX_WEIGHT:g}; 1 is normal)"),
        ("options", "in steps of 8, up to 1024"),
        ("buttons", "Reroll"),
        ("poses", "/poses save"),
        ("history", "/history tree"),
        ("settings", "a flag over your default"),
        ("limits", "4 jobs waiting or running at a time, start 10 in a minute"),
        ("privacy", "private:True"),
    ):
        answer = await world.ann.slash(world.channel, "help", topic=topic)
        assert answer.ephemeral
        assert answer.response is not None
        assert words in (answer.response.embeds[0].description or "")
        others = str(answer.response.embeds[0].footer.text)
        assert ("Who sees what" in others) is (topic != "privacy")  # as the option's choices say
    answer = await forge(world, world.ann, world.channel, "help", topic="everything")
    assert answer.response is not None
    assert "no help about that" in answer.response.content
