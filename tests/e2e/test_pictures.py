"""The real engine with the pocket model draws what was asked, and draws the same again."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops

from cli.rehearsal import BotProcess
from playground import Message, Person

pytest.importorskip("torch")
People = Callable[[int], list[Person]]
TIMEOUT_S = 120


def options_of(line: str) -> dict[str, str | int | float]:
    """Reads "/imagine prompt:... seed:7" as a person's client does when the line is pasted."""
    parts = re.split(r" ([a-z]+):", line)
    pairs = dict(zip(parts[1::2], parts[2::2], strict=True))
    whole = {name: int(value) for name, value in pairs.items() if value.isdigit()}
    broken = {"guidance": float(pairs["guidance"])} if "guidance" in pairs else {}
    return {**pairs, **whole, **broken}


async def draw(person: Person, /, after: Message | None = None, **options: object) -> Message:
    invocation = await person.slash("imagine", dict(options))
    await invocation.acknowledged()
    prompt = str(options["prompt"])
    return await person.place.wait_for(
        lambda m: m.attachments and m.pings(person.user) and f"**{prompt}**" in m.content,
        timeout_s=TIMEOUT_S,
        after=after,
    )


async def test_a_red_circle_on_blue_and_the_same_bytes_again_from_its_info(
    drawing_bot: BotProcess, people: People
) -> None:
    ana, ben = people(2)
    async with drawing_bot as bot:
        first = await draw(ana, prompt="a red circle on a blue background", seed=3)
        png = first.attachments[0].data
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        assert picture.size == (128, 128)
        small = picture.resize((16, 16), Image.Resampling.BOX)
        pixels = [small.getpixel((x, y)) for y in range(16) for x in range(16)]
        assert sum(r > 140 and g < 110 and b < 110 for r, g, b in pixels) > 8
        red, green, blue = pixels[0]
        assert blue > 130
        assert blue > red + 40
        assert blue > green + 40
        assert "a red circle on a blue background" in Image.open(io.BytesIO(png)).info["parameters"]

        info = await (await ana.press(first, "Info")).response()
        assert info.is_ephemeral
        [line] = re.findall(r"^/imagine .*$", info.embeds[0]["description"], re.MULTILINE)
        second = await draw(ana, after=first, **options_of(line))
        assert second.attachments[0].data == png

        star = await draw(ben, prompt="a yellow star on a green background", seed=11)
        with Image.open(io.BytesIO(star.attachments[0].data)) as opened:
            red, green, blue = opened.convert("RGB").getpixel((6, 6))
        assert green > 90
        assert green > red + 40
        assert green > blue + 40

        # In one batch with other people's pictures only rounding differs.
        others = [draw(ben, prompt=f"a blue star {n}", seed=n) for n in range(2)]
        third, *_ = await asyncio.gather(draw(ana, after=second, **options_of(line)), *others)
        shared = Image.open(io.BytesIO(third.attachments[0].data)).convert("RGB")
        worst = max(high for _, high in ImageChops.difference(picture, shared).getextrema())
        assert worst <= 1
        assert await bot.stop() == 0
    assert "Traceback" not in bot.log()
