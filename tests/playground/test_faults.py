"""Faults and rate limits: failures before and after the effect, resets, 429 of every kind."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import discord
import pytest

from playground import FaultPlan, Limited, Refused, Reset, Status
from playground.ratelimits import Limit
from tests.playground.client import Rest, Scene, Start


def path(scene: Scene) -> str:
    return f"/channels/{scene.channel.id}/messages"


@pytest.fixture
def plan(scene: Scene) -> FaultPlan:
    scene.discord.faults = planned = FaultPlan()
    return planned


async def test_502_after_the_message_was_stored_leaves_one_message(
    scene: Scene, start: Start, plan: FaultPlan
) -> None:
    bot = await start()
    plan.plan("POST", "/messages$", Status(502), phase="after")
    sent = await bot.get_channel(scene.channel.id).send("result", nonce="job-1")
    assert [message.id for message in scene.channel.messages] == [sent.id]
    statuses = [one["status"] for one in scene.discord.recorder.of("request", method="POST")]
    assert statuses == [502, 200]


async def test_500_before_the_effect_stores_nothing(
    scene: Scene, rest: Rest, plan: FaultPlan
) -> None:
    plan.plan("POST", "/messages$", Status(500))
    assert (await rest("POST", path(scene), {"content": "x"}))[0] == 500
    assert scene.channel.messages == []
    assert (await rest("POST", path(scene), {"content": "x"}))[0] == 200


@pytest.mark.parametrize(("phase", "stored"), [("before", 0), ("after", 1)])
async def test_reset_breaks_the_connection(
    scene: Scene, rest: Rest, plan: FaultPlan, phase: str, stored: int
) -> None:
    plan.plan("POST", "/messages$", Reset(), phase=phase)
    with pytest.raises(aiohttp.ClientConnectionError):
        await rest("POST", path(scene), {"content": "x"})
    assert len(scene.channel.messages) == stored
    (note,) = scene.discord.recorder.of("request", method="POST")
    assert note["response"] == "connection reset"


async def test_planned_429_is_waited_for(scene: Scene, start: Start, plan: FaultPlan) -> None:
    bot = await start()
    plan.plan("POST", "/messages$", Limited(0.05))
    await bot.get_channel(scene.channel.id).send("x")
    assert len(scene.channel.messages) == 1


async def test_429_without_via_looks_like_a_block(
    scene: Scene, start: Start, plan: FaultPlan
) -> None:
    bot = await start()
    plan.plan("POST", "/messages$", Limited(0.05, via=False))
    with pytest.raises(discord.HTTPException) as blocked:
        await bot.get_channel(scene.channel.id).send("x")
    assert blocked.value.status == 429


async def test_refusal_with_a_code_of_choice(scene: Scene, rest: Rest, plan: FaultPlan) -> None:
    plan.plan("POST", "/callback$", Refused(10062))
    status, answer, _ = await rest("POST", "/interactions/1/token/callback", {"type": 5})
    assert (status, answer["code"]) == (404, 10062)


@pytest.mark.parametrize("options", [{"rate_limits": {"message_create": Limit(2, 0.3)}}])
async def test_exceeded_bucket_answers_429_with_its_headers(scene: Scene, rest: Rest) -> None:
    answers = [await rest("POST", path(scene), {"content": str(n)}) for n in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert [headers["X-RateLimit-Remaining"] for _, _, headers in answers] == ["1", "0", "0"]
    _, body, headers = answers[2]
    assert 0 < body["retry_after"] <= 0.31
    assert body["global"] is False
    assert headers["Via"]
    other = scene.guild.channel("other")
    assert (await rest("POST", f"/channels/{other.id}/messages", {"content": "x"}))[0] == 200
    scene.discord.clock.advance(0.31)
    assert (await rest("POST", path(scene), {"content": "x"}))[0] == 200


@pytest.mark.parametrize("options", [{"rate_limits": {"message_create": Limit(2, 0.3)}}])
async def test_client_paces_itself_by_the_headers(scene: Scene, start: Start) -> None:
    bot = await start()
    channel = bot.get_channel(scene.channel.id)
    started = time.monotonic()
    async with asyncio.timeout(5):
        for number in range(5):
            await channel.send(str(number))
    assert time.monotonic() - started >= 0.6
    assert not list(scene.discord.recorder.of("request", status=429))


@pytest.mark.parametrize("options", [{"rate_limits": {"global": Limit(3, 60.0)}}])
async def test_global_limit_spares_interactions(scene: Scene, rest: Rest) -> None:
    answers = [await rest("GET", "/users/@me") for _ in range(4)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429]
    assert answers[3][1]["global"] is True
    assert answers[3][2]["X-RateLimit-Global"] == "true"
    assert (await rest("POST", "/interactions/1/token/callback", {"type": 5}))[0] == 404
