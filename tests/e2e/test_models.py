"""The operator changes what the real engine draws with: another base model, and a style that nobody has drawn yet."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from cli import props
from playground import File, Message, Person, Playground
from tests.checker.check import check
from tests.checker.watched_bot import WatchedBot

pytest.importorskip("torch")
TIMEOUT_S = 240
People = Callable[[int], list[Person]]


def opened(message: Message) -> Image.Image:
    return Image.open(io.BytesIO(message.attachments[0].data)).convert("RGB")


async def result(person: Person, words: str) -> Message:
    return await person.place.wait_for(
        lambda m: (
            m.attachments and m.pings(person.user) and words in m.content and "Info" in m.buttons
        ),
        timeout_s=TIMEOUT_S,
    )


async def begun(person: Person, words: str) -> None:
    """Returns when the job runs; on a fast machine it may be done before its line says so."""
    await person.place.wait_for(
        lambda m: words in m.content and ("Stop" in m.buttons or m.attachments),
        timeout_s=TIMEOUT_S,
    )


async def styles(person: Person) -> list[str]:
    return [str(one["value"]) for one in await person.autocomplete("imagine", "style", "")]


async def facts(operator: Person, style: str) -> Message:
    return await (await operator.slash("admin lora info", style=style)).response()


async def test_a_new_style_gets_a_preview_that_the_engine_draws_when_nobody_waits(
    discord: Playground, people: People, tmp_path: Path
) -> None:
    bot = WatchedBot(discord, tmp_path)
    (ana,) = people(1)
    operator = discord.operator.go(ana.place)
    chalk = props.chalk()
    assert chalk is not None
    async with bot:
        await ana.slash("imagine", prompt="a red circle on a blue background", seed=7)
        plain = opened(await result(ana, "red circle"))
        await ana.slash("imagine", prompt="a yellow star", steps=60, count=4)
        await begun(ana, "yellow star")
        added = await operator.slash("admin lora add", file=File("chalk.safetensors", chalk))
        answer = await added.response(timeout_s=TIMEOUT_S)
        assert "Added: **chalk**" in answer.content
        assert not answer.attachments
        assert "chalk" in await styles(ana)
        await result(ana, "yellow star")

        for _ in range(2 * TIMEOUT_S):
            shown = await facts(operator, "chalk")
            if shown.attachments:
                break
            await asyncio.sleep(0.5)  # no message tells when it is there
        preview = opened(shown).resize(plain.size)
        # White outlines on black: grey, and dark at the border, where the plain picture is blue.
        red, green, blue = ImageStat.Stat(preview).mean
        assert max(red, green, blue) - min(red, green, blue) < 30
        assert ImageStat.Stat(preview.crop((0, 0, 16, 128))).mean[2] < 90
        assert ImageStat.Stat(plain.crop((0, 0, 16, 128))).mean[2] > 120
    await check(bot)


async def test_another_base_model_comes_after_what_runs_and_hides_the_styles_of_the_first(
    discord: Playground, people: People, tmp_path: Path
) -> None:
    from tests.engine.worker import tiny

    bot = WatchedBot(discord, tmp_path)
    tiny.write_model(bot.data_dir / "models" / "tiny")
    ana, ben = people(2)
    operator = discord.operator.go(ana.place)
    async with bot:
        await ana.slash("imagine", prompt="a red circle", steps=60, count=4, seed=3)
        await begun(ana, "red circle")
        engine = bot.engine()
        asked = await operator.slash("admin model load", model="tiny")
        await asked.response()
        # Accepted while the other one is on its way, and made by it.
        await ben.slash("imagine", prompt="a red cat", steps=2)
        loaded = await asked.wait_for(lambda m: "tiny is loaded" in m.content, timeout_s=TIMEOUT_S)
        assert opened(await result(ana, "red circle")).size == (128, 128)
        assert opened(await result(ben, "red cat")).size == (64, 64)
        assert bot.engine() != engine
        assert engine is not None
        assert not engine.is_running()

        assert "neon" not in await styles(ben)
        reason = 'The style "neon" is made for the pocket model, and the model here is SD 1.5.'
        refused = await (await ben.slash("imagine", prompt="a cat", style="neon")).response()
        assert refused.is_ephemeral
        assert refused.content == reason
        info = await (await ben.slash("styles info", name="neon")).response()
        assert reason in info.content + str(info.embeds)

        asked = await operator.slash("admin model load", model="pocket")
        await asked.wait_for(lambda m: "pocket is loaded" in m.content, timeout_s=TIMEOUT_S)
        assert "neon" in await styles(ben)
        await ben.slash("imagine", prompt="a blue star", style="neon", steps=4)
        assert "style neon" in (await result(ben, "blue star")).content
        assert loaded.is_ephemeral
    await check(bot)
