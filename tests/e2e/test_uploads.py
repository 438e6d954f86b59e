"""The real bot fetches an attached picture from the loopback's CDN, checks it and draws from it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import pytest
from PIL import Image

from cli.rehearsal import BotProcess
from playground import File, Person, Playground
from playground.faults import Asked, Fault, Phase, Reset, no_faults

People = Callable[[int], list[Person]]


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 200), (200, 80, 40)).save(file, "JPEG")
    return file.getvalue()


async def test_attached_picture_becomes_a_picture_and_anything_else_a_sentence(
    bot: BotProcess, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    [guild] = bot.discord.guilds
    [channel] = guild.channels
    asked = await ana.slash("imagine", prompt="a hat", image=File("photo.jpg", photo()))
    assert (await asked.acknowledged()).latency_s < 3
    result = await channel.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=30)
    assert "a hat" in result.content
    refused = await ana.slash("imagine", prompt="a coat", image=File("photo.jpg", b"<svg/>"))
    answer = await refused.wait_for(lambda m: "SVG" in m.content)
    assert answer.is_ephemeral
    assert answer.content == "That is an SVG drawing; send PNG, JPEG or WebP."
    assert refused.interaction.original is not None
    await channel.wait_deleted(refused.interaction.original)  # the status line


@pytest.mark.parametrize(
    ("method", "phase"),
    [
        pytest.param("POST", "before", id="before it was told", marks=pytest.mark.faults),
        pytest.param("POST", "after", id="after it was told"),
        pytest.param(
            "DELETE", "before", id="before the line was deleted", marks=pytest.mark.faults
        ),
        pytest.param("DELETE", "after", id="after the line was deleted", marks=pytest.mark.faults),
    ],
)
async def test_a_bot_that_is_killed_while_it_tells_a_refusal_tells_it_in_one_message(
    bot: BotProcess, discord: Playground, people: People, method: str, phase: Phase
) -> None:
    ana, ben = people(2)
    await bot.start()
    is_killed = False
    killed = asyncio.Event()

    async def kill_it(asked: Asked, at: Phase) -> Fault | None:
        nonlocal is_killed
        is_telling = asked.method == method and asked.path.startswith("/webhooks/")
        if at != phase or not is_telling or is_killed:
            return None
        is_killed = True
        await bot.kill()
        killed.set()
        return Reset()

    discord.faults = kill_it
    refused = await ana.slash("imagine", prompt="a coat", image=File("photo.jpg", b"<svg/>"))
    line = await refused.response()
    async with asyncio.timeout(30):
        await killed.wait()
    discord.faults = no_faults
    await bot.start()
    his = await ben.slash("imagine", prompt="a blue square")
    await ben.place.wait_for(lambda m: m.attachments and m.pings(ben.user), timeout_s=30)
    if not line.is_deleted:
        await ana.place.wait_for(lambda m: "SVG drawing" in m.content, timeout_s=30)
    await ben.place.wait_deleted(await his.response(), timeout_s=30)
    sent = [m for m in discord.recorder.of("message") if "SVG drawing" in m["content"]]
    told = {m["id"] for m in sent} or {line.id}
    assert len(told) == 1
    assert all(m["visible_to"] for m in sent)
    assert line.is_deleted or "SVG drawing" in line.content
    assert [m for m in ana.place.messages if not m.attachments] == [line] * (not line.is_deleted)
