"""The checker: every rule of the promises over what a scenario left behind.

It is run after every end-to-end scenario. Where a promise cannot hold, the scenario says so: the line
was dead, Discord failed a request on purpose, jobs are still waiting.
"""

from __future__ import annotations

import asyncio
import time

from playground import Playground
from tests.checker.answers import check_answers
from tests.checker.ending import check_endings
from tests.checker.evidence import Evidence, Violation, gather
from tests.checker.results import check_results, open_lines
from tests.checker.store import check_store
from tests.checker.traces import check_traces
from tests.checker.watched_bot import WatchedBot
from tests.e2e import manners


def violations(
    evidence: Evidence, *, is_drained: bool = True, has_tracebacks: bool = False
) -> list[Violation]:
    """Returns everything that is wrong.

    Args:
        evidence: What the scenario left behind.
        is_drained: All jobs are expected to have ended.
        has_tracebacks: The log may have some: the scenario breaks what should not break.
    """
    found = [
        *check_answers(evidence),
        *check_results(evidence, is_drained=is_drained),
        *check_store(evidence, is_drained=is_drained),
        *check_traces(evidence, has_tracebacks=has_tracebacks),
        *check_endings(evidence),
    ]
    try:
        manners.check_records(evidence.records)
    except AssertionError as error:
        found.append(Violation("manners", str(error)))
    return found


async def check(
    bot: WatchedBot, *, is_drained: bool = True, has_tracebacks: bool = False
) -> Evidence:
    """Waits for the jobs of a running bot, stops it, and fails when anything is wrong."""
    if bot.is_running():
        if is_drained:
            await settle(bot.discord)
        await bot.stop()
    evidence = await asyncio.to_thread(gather, bot)
    found = violations(evidence, is_drained=is_drained, has_tracebacks=has_tracebacks)
    assert not found, "\n".join(map(str, found))
    return evidence


async def settle(discord: Playground, timeout_s: float = 60.0) -> bool:
    """Waits until no status line is left, which is the last that is done about a job."""
    bot_id = str(discord.world.bot.id)
    deadline = time.monotonic() + timeout_s
    while open_lines(discord.recorder.records, bot_id):
        if time.monotonic() > deadline:
            return False  # the rules say which
        await asyncio.sleep(0.1)  # a channel's waiters know nothing of lines in other channels
    await asyncio.sleep(0.3)  # the row of an attached picture goes just after its line, unseen here
    return True
