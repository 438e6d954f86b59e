"""From words to a varied, zoomed and upscaled picture, with the real engine and the pocket model."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from cli.rehearsal import BotProcess
from playground import Message, Person, Playground
from playground.page import write_page

pytest.importorskip("torch")
People = Callable[[int], list[Person]]
TIMEOUT_S = 120


def opened(message: Message, number: int = 0) -> Image.Image:
    return Image.open(io.BytesIO(message.attachments[number].data)).convert("RGB")


def difference(first: Image.Image, second: Image.Image) -> float:
    """Mean difference of two pictures of one size in grey levels."""
    return sum(ImageStat.Stat(ImageChops.difference(first, second)).mean) / 3


async def pressed(person: Person, message: Message, label: str, before: Message) -> Message:
    await (await person.press(message, label)).acknowledged()
    return await person.place.wait_for(
        lambda m: m.attachments and m.pings(person.user) and "Info" in m.buttons,
        timeout_s=TIMEOUT_S,
        after=before,
    )


async def test_vary_zoom_and_upscale_one_after_the_other(
    drawing_bot: BotProcess, discord: Playground, people: People
) -> None:
    ana, ben = people(2)
    async with drawing_bot as bot:
        prompt = "a red circle on a blue background"
        await ana.slash("imagine", prompt=prompt, count=2, seed=3)
        grid = await ana.place.wait_for(
            lambda m: m.attachments and m.pings(ana.user), timeout_s=TIMEOUT_S
        )
        assert len(grid.attachments) == 2

        varied = await pressed(ben, grid, "V2", grid)
        assert len(varied.attachments) == 2
        # Another picture, and like it: how far it is off depends on a seed that is drawn anew.
        its_own = opened(grid, 1)
        assert opened(varied).tobytes() != its_own.tobytes()
        assert difference(opened(varied), its_own) < 80

        single = await pressed(ben, varied, "U1", varied)
        assert opened(single).size == (256, 256)
        assert difference(opened(single).resize((128, 128)), opened(varied)) < 2

        zoomed = await pressed(ana, single, "Zoom 2x", single)
        inside = opened(zoomed).crop((32 + 8, 32 + 8, 96 - 8, 96 - 8))
        small = opened(single).resize((64, 64), Image.Resampling.LANCZOS)
        assert difference(inside, small.crop((8, 8, 56, 56))) < 3
        assert ImageStat.Stat(opened(zoomed).crop((0, 0, 128, 24))).mean[2] > 90  # blue goes on

        large = await pressed(ana, zoomed, "Upscale", zoomed)
        assert opened(large).size == (256, 256)
        if "EASEL_LOOK" in os.environ:
            write_page(discord, Path(os.environ["EASEL_LOOK"]))
        assert await bot.stop() == 0
    assert "Traceback" not in bot.log()
