"""Waits until a bot with the scripted engine has nothing left to do, also about jobs that have no status line."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.checker.check import settle
from tests.checker.watched_bot import WatchedBot


async def drain(bot: WatchedBot, engine_state: Path, timeout_s: float) -> bool:
    """Returns True when all is done, and False when it is not in time: the checker says what is missing.

    A job whose line somebody deleted, or whose answer came too late, is seen nowhere in Discord
    before its result.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        is_idle = bot.health().get("waiting") == 0 and not at_work(bot, engine_state / "log")
        if is_idle and await settle(bot.discord, max(deadline - time.monotonic(), 0.0)):
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.5)  # health and engine write files


def at_work(bot: WatchedBot, log: Path) -> set[str]:
    """The jobs that the newest engine has and that have not ended, and the made ones without a result."""
    words = [line.split() for line in log.read_text().splitlines()]
    made = {job for _, did, *rest in words if did == "done" for job in rest}
    told = {
        str(record["nonce"]).partition(":")[0]
        for record in bot.discord.recorder.of("message")
        if str(record["nonce"]).endswith((":r", ":f"))
    }
    newest = words[-1][0] if words else ""
    mine = [(did, *rest) for pid, did, *rest in words if pid == newest]
    received = {job for did, *rest in mine if did == "received" for job in rest}
    ended = {job for did, *rest in mine if did in ("done", "failed") for job in rest}
    return (received - ended) | (made - told)
