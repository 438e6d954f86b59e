"""Starts the bot so that it dies at a point, plays the people who make it get there, and looks at the wreck."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from PIL import Image

from playground import File, Person, Reset
from playground.errors import NoResponse
from playground.faults import Asked, Fault, FaultHook, Phase, no_faults
from tests.checker.evidence import quick_check
from tests.checker.watched_bot import WatchedBot
from tests.faults.points import Load, Point

FAILING_BOT = Path(__file__).parent / "failing_bot.py"
DEATH_TIMEOUT_S = 60.0
REQUESTS = 6  # of each person


async def die_at(bot: WatchedBot, point: Point, passage: int, people: list[Person]) -> None:
    """Starts the bot, sends commands until it is killed at the point's passage, and looks at its database."""
    plain, discord = bot.program, bot.discord
    if point.target:
        bot.program = [sys.executable, str(FAILING_BOT), point.name, str(passage)]
    else:
        discord.faults = kill_at_result(bot, point, passage)
    try:
        try:
            await bot.start()
        except RuntimeError:
            assert not bot.is_running(), f"{point}: the start hangs\n{bot.log()[-2000:]}"
        else:
            asking = [asyncio.create_task(ask(person, point.load)) for person in people]
            try:
                await bot.wait(DEATH_TIMEOUT_S)
            except TimeoutError:
                raise AssertionError(f"{point} was not passed {passage} times") from None
            finally:
                for task in asking:
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
        code = await bot.killed_itself()
        assert code == -signal.SIGKILL, f"{point}: exit code {code}\n{bot.log()[-2000:]}"
    finally:
        bot.program, discord.faults = plain, no_faults
    await asyncio.to_thread(look_at_wreck, bot.data_dir)


def look_at_wreck(data_dir: Path) -> None:
    """The database as the kill left it is sound; a copy, so that the next start finds it as it is."""
    with tempfile.TemporaryDirectory() as folder:
        for path in data_dir.glob("easel.db*"):
            shutil.copy(path, folder)
        assert quick_check(Path(folder)) == "ok"


async def ask(person: Person, load: Load) -> None:
    """Asks for some pictures, one after the other: enough to get to every step."""
    number = 0
    while number < REQUESTS:
        try:
            match load:
                case "imagine":
                    await (await person.slash("imagine", prompt=f"picture {number}")).acknowledged()
                case "fail":
                    prompt = f"picture {number} engine:fail"
                    await (await person.slash("imagine", prompt=prompt)).acknowledged()
                case "upload":
                    photo = File("photo.png", picture(number))
                    asked = await person.slash("imagine", prompt=f"hat {number}", image=photo)
                    if (await asked.response()).is_ephemeral:  # refused: too many waiting
                        await asyncio.sleep(0.1)
                        continue
                case "cancel":
                    prompt = f"picture {number} engine:hold"
                    line = await (await person.slash("imagine", prompt=prompt)).response()
                    label = next(label for label in line.buttons if label in ("Cancel", "Stop"))
                    await (await person.press(line, label)).acknowledged()
        except StopIteration:
            await asyncio.sleep(0.1)  # refused: too many waiting
        except NoResponse:
            await asyncio.sleep(0.1)  # dead, or slower than three seconds
            continue
        number += 1


def let_go(bot: WatchedBot) -> None:
    """Lets the jobs run that were to be cancelled, and whose cancel met a dead bot."""
    (bot.data_dir.parent / "engine" / "go").touch()


def picture(number: int) -> bytes:
    """A small PNG, another one for each number."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (number * 37 % 256, number * 91 % 256, 120)).save(file, "PNG")
    return file.getvalue()


def kill_at_result(bot: WatchedBot, point: Point, passage: int) -> FaultHook:
    """Kills the bot while the n-th result is on its way: before or after Discord has stored it."""
    passed = 0

    async def hook(asked: Asked, phase: Phase) -> Fault | None:
        nonlocal passed
        is_result = asked.method == "POST" and str((asked.body or {}).get("nonce")).endswith(":r")
        if not is_result or phase != point.when:
            return None
        passed += 1
        if passed != passage:
            return None
        os.kill(bot.pid, signal.SIGKILL)
        return Reset()

    return hook
