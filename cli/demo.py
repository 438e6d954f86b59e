"""`bot.py demo`: people, the real bot and the real engine on a loopback Discord."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

from cli.acts import Stage, play, say
from cli.rehearsal import BotProcess
from engine.errors import EngineError
from engine.settings import Settings
from playground import NoResponse, Playground
from playground.page import write_page

_OWN_NAMES = {"index.html", "conversation.json", "files", "easel.log"}


class DemoFailedError(EngineError):
    """The conversation did not go as it should."""


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
            art, people = guild.channel("art"), (guild.member("Ana"), guild.member("Ben"))
            stage = Stage(art, *people, operator=discord.operator)
            say("starting the bot on a loopback Discord")
            bot = BotProcess(discord, Path(folder))
            try:
                async with bot:
                    await play(stage)
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
