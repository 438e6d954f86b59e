"""The real bot fetches an attached picture from the loopback's CDN, checks it and draws from it."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from cli.rehearsal import BotProcess
from playground import File, Person

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
