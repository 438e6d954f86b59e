"""`bot.py demo`: two people, the real bot and the real engine on a loopback Discord."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli.rehearsal import BotProcess
from engine.errors import EngineError
from engine.settings import Settings
from playground import ChannelHandle, Invocation, Message, NoResponse, Person, Playground
from playground.page import write_page

_OWN_NAMES = {"index.html", "conversation.json", "files", "easel.log"}
_PICTURE_TIMEOUT_S = 180  # the first one waits for the engine to load


class DemoFailedError(EngineError):
    """The conversation did not go as it should."""


@dataclass(frozen=True)
class _Stage:
    channel: ChannelHandle
    ana: Person
    ben: Person


async def demo(settings: Settings, out: Path) -> int:
    """Plays the conversation and leaves `index.html`, `conversation.json` and the pictures in `out`.

    The pocket model is used even where there is a GPU, and none of the operator's settings.

    Raises:
        DemoFailedError: Something was not answered, or answered wrongly; the page is left as well.
            Or `out` holds other things, which stay there.
    """
    started = time.monotonic()
    await asyncio.to_thread(_empty, out)
    with tempfile.TemporaryDirectory(prefix="easel-demo-") as folder:
        async with Playground() as discord:
            guild = discord.guild("Studio")
            stage = _Stage(guild.channel("art"), guild.member("Ana"), guild.member("Ben"))
            _say("starting the bot on a loopback Discord")
            bot = BotProcess(discord, Path(folder))
            try:
                async with bot:
                    await _play(stage)
                    clean = await bot.stop() == 0 and "Traceback" not in bot.log()
            except (NoResponse, RuntimeError) as error:
                _keep_log(bot, out)
                raise DemoFailedError(f"The demo failed: {error}. See {out}/easel.log.") from error
            finally:
                await asyncio.to_thread(write_page, discord, out)
            if not clean:
                _keep_log(bot, out)
                raise DemoFailedError(f"The bot did not stop cleanly. See {out}/easel.log.")
    print(f"Done in {time.monotonic() - started:.0f} s. Open {out / 'index.html'}")
    return 0


async def _play(stage: _Stage) -> None:
    ana, ben = stage.ana, stage.ben
    _say("Ana and Ben use /imagine at once; the engine is still loading")
    first, second = await asyncio.gather(
        ana.slash("imagine", prompt="a red circle on a blue background", seed=7),
        ben.slash("imagine", prompt="a yellow star on a green background", count=2, seed=11),
    )
    await asyncio.gather(first.acknowledged(), second.acknowledged())
    circle = await _result(stage, ana, "red circle")
    star = await _result(stage, ben, "yellow star")
    _expect(len(circle.attachments) == 1, "one picture for Ana")
    _expect(len(star.attachments) == 2, "two pictures for Ben")

    _say("Ben presses Reroll on Ana's picture")
    await ben.press(circle, "Reroll")
    await _result(stage, ben, "red circle")

    _say("Ben replies to Ana's picture, and Ana to the second of Ben's")
    reply = await ben.send("a green circle on a blue background", reply_to=circle)
    remix = await _result(stage, ben, "green circle")
    _expect(remix.id > reply.id, "a picture after the reply")
    await ana.send("2: a yellow star on a red background", reply_to=star)
    await _result(stage, ana, "red background")

    _say("Ana starts a long job and stops it")
    long = await ana.slash("imagine", prompt="a house under a tree", steps=60, count=4)
    status = await long.response()
    await ana.press(status, "Stop" if "Stop" in status.buttons else "Cancel")
    await _until(long, lambda m: not m.buttons or m.is_deleted, "the status line without a button")

    _say("Ben misspells a sampler and is told")
    refused = await ben.slash("imagine", {"prompt": "a boat", "sampler": "eulr"}, force=True)
    answer = await refused.response()
    _expect(answer.is_ephemeral and "euler" in answer.content, "the nearest sampler's name")

    _say("Ana looks at her history")
    history = await ana.slash("history list")
    answer = await history.response()
    _expect("red circle" in answer.content or bool(answer.embeds), "her picture in /history")


async def _result(stage: _Stage, owner: Person, words: str) -> Message:
    return await stage.channel.wait_for(
        lambda m: m.attachments and m.pings(owner.user) and words in m.content and m.buttons,
        timeout_s=_PICTURE_TIMEOUT_S,
    )


async def _until(invocation: Invocation, check: Callable[[Message], bool], what: str) -> None:
    try:
        await invocation.wait_for(check)
    except NoResponse as error:
        raise NoResponse(f"missing: {what}") from error


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise NoResponse(f"missing: {what}")


def _empty(folder: Path) -> None:
    """Removes an earlier demo, and nothing else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = list(folder.iterdir())
        foreign = {path.name for path in found} - _OWN_NAMES
        for path in [] if foreign else found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise DemoFailedError(
            f"{folder} cannot be used ({error.strerror}). Choose another folder with --out."
        ) from error
    if foreign:
        raise DemoFailedError(
            f"{folder} holds other things, like {min(foreign)}. Choose another folder with --out."
        )


def _keep_log(bot: BotProcess, out: Path) -> None:
    (out / "easel.log").write_text(bot.log())


def _say(text: str) -> None:
    print(f"· {text}", file=sys.stderr)
