"""`bot.py run`: the real bot, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import aiohttp
import discord

from cli import metrics
from cli.health import Health
from cli.logs import set_up_logging
from cli.parts import Parts, open_parts
from cogs._bot import EaselBot
from engine.errors import StartError
from engine.settings import Settings

log = logging.getLogger("easel")

NO_TOKEN = """\
No DISCORD_TOKEN: create an application at https://discord.com/developers/applications, then
set DISCORD_TOKEN to its bot token. "python bot.py demo" needs none, "doctor" says what is missing."""

_TOKEN_REFUSED = 4004  # close code of the gateway


class _StopRequestedError(Exception):
    """SIGTERM or SIGINT came."""


async def run(settings: Settings) -> int:
    """Connects and answers until a signal; returns the exit code.

    Raises:
        StartError: The token, the data directory or the database cannot be used.
    """
    if settings.discord_token is None:
        print(NO_TOKEN, file=sys.stderr)
        return 2
    set_up_logging(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    problem: BaseException | None = None
    return_code = 0
    try:
        # Left to right on the way in, right to left on the way out: the bot stops answering before
        # its tasks end, and the database closes last.
        async with open_parts(settings) as parts, asyncio.TaskGroup() as tasks:
            bot = EaselBot(parts=parts)
            health = Health(parts.queue, settings.health_file, is_connected=bot.is_ready)
            parts.models.restore(parts.operation.choice)
            tasks.create_task(parts.engine.run(), name="engine")
            tasks.create_task(parts.models.run(), name="models")
            tasks.create_task(parts.queue.run(), name="queue")
            tasks.create_task(parts.intake.run(), name="intake")
            tasks.create_task(parts.styles.run(), name="styles")
            tasks.create_task(health.run(), name="health")
            tasks.create_task(_serve_metrics(parts, health), name="metrics")
            tasks.create_task(parts.backups.run(settings.backup_every_h), name="backups")
            tasks.create_task(bot.serve(), name="status lines and deliveries")
            tasks.create_task(_connect(bot, settings), name="discord")
            tasks.create_task(_until(stop), name="signals")
    except* _StopRequestedError:
        log.info("stopped")
    except* StartError as group:
        problem = _first(group)
    except* Exception as group:  # into the log, which blanks out secrets
        log.critical("stopped by an error", exc_info=group)
        return_code = 1
    if problem is not None:
        raise problem
    return return_code


def _first(group: BaseExceptionGroup[StartError]) -> BaseException:
    """Returns the first error itself; the queue and the bot have groups of their own."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve_metrics(parts: Parts, health: Health) -> None:
    async with metrics.serving(parts, health):
        await asyncio.Event().wait()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
    log.info("stopping")
    raise _StopRequestedError


async def _connect(bot: EaselBot, settings: Settings) -> None:
    assert settings.discord_token is not None
    try:
        async with bot:
            await bot.start(settings.discord_token.get_secret_value())
    except discord.PrivilegedIntentsRequired as error:
        raise StartError(
            "Discord refuses the intents, though Easel asks for no privileged one."
        ) from error
    except (discord.LoginFailure, discord.ConnectionClosed) as error:
        if isinstance(error, discord.ConnectionClosed) and error.code != _TOKEN_REFUSED:
            raise StartError(f"Discord closed the connection for good: {error}.") from error
        raise StartError(
            "Discord does not accept DISCORD_TOKEN. Copy the bot token again from "
            "https://discord.com/developers/applications (Bot, Reset Token)."
        ) from error
    except (discord.HTTPException, aiohttp.InvalidURL) as error:
        where = settings.discord_api_base
        hint = (
            "Try again later." if where is None else f"Is EASEL_DISCORD_API_BASE right ({where})?"
        )
        raise StartError(f"Discord refused the connection: {error}. {hint}") from error
