"""`kill -9` of the bot at each numbered step: nothing lost, nothing twice, a sound database."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from playground import Person
from tests.checker.check import check
from tests.checker.watched_bot import WatchedBot
from tests.faults.killing import die_at, let_go
from tests.faults.points import BY_NAME, NUMBERS, POINTS, Point

People = Callable[[int], list[Person]]
KILLS = int(os.environ.get("EASEL_TEST_KILLS", "10"))
# One of each kind of step; `make faults` has all of them, ten times.
QUICK = ("stored", "acknowledged", "dequeued", "file-written", "history-written",
         "message-stored", "sent", "picture-checked")  # fmt: skip


async def test_killed_at_one_step_after_the_other(bot: WatchedBot, people: People) -> None:
    members = people(3)
    for name in QUICK:
        await die_at(bot, BY_NAME[name], 1, members)
    await bot.start()
    await check(bot)


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS, ids=[f"{NUMBERS[p.name]:02}-{p.name}" for p in POINTS])
async def test_killed_ten_times_at_the_same_step(
    bot: WatchedBot, people: People, point: Point
) -> None:
    """Each start also recovers what the kill before has left, and may die of that."""
    members = people(3)
    is_at_start = point.name in ("rubbish-collected", "jobs-recovered")
    for kill in range(KILLS):
        await die_at(bot, point, 1 if is_at_start else 1 + kill % 4, members)
    let_go(bot)
    await bot.start()
    evidence = await check(bot)
    assert len([r for r in evidence.of("bot") if r["did"] == "kill"]) == KILLS
