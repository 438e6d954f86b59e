"""`/admin queue`: managers in their own server, owners everywhere, nobody else anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from simcord.actors import MemberActor
from simcord.results import InteractionResult

from cogs.admin._queue import BUMPED_A_JOB, CANCELLED_A_JOB
from engine.types import Flow, JobState
from storage.operation import DRAINING, PAUSED, RESUMED
from tests.cogs.conftest import World, labels, settings_for, world_of

FLOWS = {
    "pause": (Flow.PAUSED, PAUSED),
    "drain": (Flow.DRAINING, DRAINING),
    "resume": (Flow.OPEN, RESUMED),
}


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[World]:
    """A world whose engine never gets ready, so that jobs stay in line."""
    settings = settings_for(tmp_path, "--never-ready", per_minute=0)
    async with world_of(settings, ready=False) as opened:
        yield opened


def words(answer: InteractionResult) -> str:
    assert answer.ephemeral
    assert answer.response is not None
    return str(answer.response.content)


def card(answer: InteractionResult) -> tuple[str, str]:
    assert answer.ephemeral
    assert answer.response is not None
    (embed,) = answer.response.embeds
    return str(embed.description), str(embed.footer.text)


async def job_of(world: World, person: MemberActor) -> Any:
    return (await world.parts.jobs.waiting_of(person.id))[-1]


async def acts(world: World) -> list[str]:
    return [entry.act for entry in reversed(await world.parts.audit.newest())]


async def elsewhere(world: World, prompt: str) -> tuple[Any, Any, Any]:
    """Returns a second server's channel, a member with a job there, and the job."""
    other = world.env.create_guild("other")
    channel = other.create_text_channel("there")
    cid = other.add_member(world.env.create_user("cid"))
    await cid.slash(channel, "imagine", prompt=prompt, private=True)
    return channel, cid, await job_of(world, cid)


async def test_an_owner_pauses_drains_and_resumes_and_others_do_not(world: World) -> None:
    olga, max_ = world.owner(), world.manager()
    world.show_admin(world.ann)
    for person in (world.ann, max_):
        for command in FLOWS:
            assert "Only the owners" in words(
                await person.slash(world.channel, f"admin queue {command}")
            )
    assert world.parts.queue.flow is Flow.OPEN
    assert await acts(world) == []
    for command, (flow, act) in FLOWS.items():
        await olga.slash(world.channel, f"admin queue {command}")
        assert world.parts.queue.flow is world.parts.operation.flow is flow
        assert (await acts(world))[-1] == act


async def test_people_see_a_pause_and_it_survives_a_restart(world: World) -> None:
    olga = world.owner()
    assert "also after a restart" in words(await olga.slash(world.channel, "admin queue pause"))
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    line = await world.line("Paused by the operator of this bot. You are #1 in line")
    assert labels(line) == ["Cancel"]
    listed, state = card(await world.ann.slash(world.channel, "queue view"))
    assert listed.endswith("#1 in line")
    assert state == "1 job waiting in all · paused by the operator of this bot"
    await world.stop()
    await world.start()
    await world.engine_ready()
    await world.ben.slash(world.channel, "imagine", prompt="a dog")
    await world.line(f"**a dog** — <@{world.ben.id}>\nPaused by the operator")
    assert world.results() == []
    world.bot.owner_ids = {olga.id}
    assert words(await olga.slash(world.channel, "admin queue resume")) == "The queue goes on."
    await world.result(2)


async def test_a_queue_that_runs_empty_says_so_and_makes_what_it_has(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    await world.line("Starting")
    await world.owner().slash(world.channel, "admin queue drain")
    refused = words(await world.ben.slash(world.channel, "imagine", prompt="a dog"))
    assert refused.startswith("No new pictures are taken for now")
    assert card(await world.ben.slash(world.channel, "queue view"))[1].endswith(
        "lets nothing new in"
    )
    world.go()
    await world.result()


async def test_a_manager_sees_and_ends_the_jobs_of_this_server_alone(waiting: World) -> None:
    world = waiting
    manager = world.manager()
    world.show_admin(world.ben)
    await world.ann.slash(world.channel, "imagine", prompt="a *cat*")
    await world.ann.slash(world.channel, "imagine", prompt="a secret", private=True)
    _, cid, foreign = await elsewhere(world, "a foreign secret")
    own = (await world.parts.jobs.waiting_of(world.ann.id))[0]

    listed, state = card(await manager.slash(world.channel, "admin queue view"))
    first, where, second, _ = listed.splitlines()
    assert (first, second) == (r"**a \*cat\***", "**private**")
    assert f"<@{world.ann.id}> · <#{world.channel.id}> · #1 in line" in where
    assert "3 jobs waiting in all" in state
    refused = await manager.slash(world.channel, "admin queue view", everywhere=True)
    assert "Only the owners" in words(refused)

    offered = await manager.autocomplete(world.channel, "admin queue cancel", "job", "")
    assert [one["name"].partition(" (")[0] for one in offered] == ["ann: a *cat*", "ann: private"]
    for typed in ("secret", foreign.id, cid.name):
        answer = await manager.slash(world.channel, "admin queue cancel", job=typed)
        assert "no such job" in words(answer)
    for typed in ("cat", own.id):
        answer = await world.ben.slash(world.channel, "admin queue cancel", job=typed)
        assert "Only people with the permission Manage Server" in words(answer)
    assert await world.ben.autocomplete(world.channel, "admin queue cancel", "job", "") == []
    assert await acts(world) == []

    answer = await manager.slash(world.channel, "admin queue cancel", job="CAT")
    assert words(answer).startswith(rf"Cancelled: **a \*cat\*** of <@{world.ann.id}>")
    await world.line(f"Cancelled by <@{manager.id}>. The cost was given back.")
    assert (await world.parts.jobs.get(own.id)).state is JobState.CANCELLED
    (entry,) = await world.parts.audit.newest()
    assert (entry.actor_id, entry.act) == (manager.id, CANCELLED_A_JOB)
    assert entry.detail == {
        "job_id": own.id,
        "owner_id": world.ann.id,
        "guild_id": world.guild.id,
    }
    usage = await world.parts.ledger.usage(world.ann.id, world.parts.limits)
    assert usage.waiting == 1
    assert usage.used_today == 1.0  # of the job that still waits
    assert (await world.parts.jobs.get(foreign.id)).state is JobState.QUEUED


async def test_an_owner_sees_ends_and_moves_jobs_of_all_servers(waiting: World) -> None:
    world = waiting
    olga, manager = world.owner(), world.manager()
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.ben.slash(world.channel, "imagine", prompt="a dog")
    _, cid, foreign = await elsewhere(world, "a foreign secret")
    dog = await job_of(world, world.ben)
    world.show_admin(world.ben)

    listed, _ = card(await olga.slash(world.channel, "admin queue view", everywhere=True))
    assert listed.splitlines()[0::2] == ["**a cat**", "**a dog**", "**private**"]
    assert f"<@{cid.id}> · other · #3 in line" in listed
    here, _ = card(await olga.slash(world.channel, "admin queue view"))
    assert here.splitlines()[0::2] == ["**a cat**", "**a dog**"]

    for person in (world.ben, manager):
        answer = await person.slash(world.channel, "admin queue bump", job=dog.id)
        assert "Only the owners" in words(answer)
    assert await manager.autocomplete(world.channel, "admin queue bump", "job", "") == []
    assert world.parts.queue.place(dog.id).position == 2  # type: ignore[union-attr]
    assert len(await olga.autocomplete(world.channel, "admin queue bump", "job", "")) == 3
    for typed in ("dog", foreign.id):
        answer = await olga.slash(world.channel, "admin queue bump", job=typed)
        assert words(answer) == "It is the next one that starts."
    order = [place.job_id for place in world.parts.queue.waiting()]
    assert order[:2] == [foreign.id, dog.id]
    several = await olga.slash(world.channel, "admin queue cancel", job="a")
    assert "have these words" in words(several)
    answer = await olga.slash(world.channel, "admin queue cancel", job=foreign.id)
    assert words(answer).startswith(f"Cancelled: **private** of <@{cid.id}>")
    assert (await world.parts.jobs.get(foreign.id)).state is JobState.CANCELLED
    assert await acts(world) == [BUMPED_A_JOB, BUMPED_A_JOB, CANCELLED_A_JOB]


async def test_a_running_job_cannot_be_moved_but_ended(world: World) -> None:
    olga = world.owner()
    await world.ann.slash(world.channel, "imagine", prompt="a cat engine:hold")
    await world.line("Starting")
    job = await job_of(world, world.ann)
    answer = await olga.slash(world.channel, "admin queue bump", job=job.id)
    assert words(answer).startswith("The engine has it already")
    listed, _ = card(await olga.slash(world.channel, "admin queue view"))
    assert listed.endswith("running")
    await olga.slash(world.channel, "admin queue cancel", job=job.id)
    await world.line(f"Cancelled by <@{olga.id}>")
    listed, _ = card(await olga.slash(world.channel, "admin queue view"))
    assert listed == "Nobody here has a job waiting or running."
