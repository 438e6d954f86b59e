"""Promise 1 under the worst that people can send: hostile pictures and LoRAs are checked meanwhile.

The figures are printed (`-s`), by the clock and without the time in which the bot could have run and had
no processor: what else the machine does is not its doing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from playground import ChannelHandle, File, Person, Playground
from playground.errors import NoResponse
from tests.checker.check import check
from tests.checker.processor import waited_s
from tests.checker.watched_bot import WatchedBot
from tests.engine.intake.test_pictures import BAD as BAD_PICTURES
from tests.engine.lora.test_checking import BAD as BAD_LORAS

PEOPLE = 25
COMMANDS, PICTURES, LORAS = 50, 20, 5
SPREAD_S = 5.0
LIMIT_S = 1.0

pytestmark = pytest.mark.faults


def spaced(items: dict[str, Any], count: int) -> list[bytes]:
    """So many of the files, from all over the table; Discord takes none of no bytes."""
    files = [data for make, *_ in items.values() if (data := make())]
    return [files[index * len(files) // count] for index in range(count)]


class Latencies:
    """What everybody waited for their acknowledgement."""

    def __init__(self, bot: WatchedBot) -> None:
        self._bot = bot
        self.by_clock: list[float] = []
        self.fair: list[float] = []

    async def ask(self, asking: Coroutine[Any, Any, Any], after_s: float) -> None:
        await asyncio.sleep(after_s)
        before = waited_s(self._bot.pid)
        invocation = await asking
        try:
            latency = (await invocation.acknowledged()).latency_s
        except NoResponse:
            latency = float("inf")
        self.by_clock.append(latency)
        self.fair.append(max(latency - (waited_s(self._bot.pid) - before), 0.0))

    def __str__(self) -> str:
        cores, load = os.cpu_count(), os.getloadavg()[0]
        lines = [f"{len(self.fair)} commands, {cores} processors, load {load:.1f}"]
        for name, values in (("by the clock", self.by_clock), ("with a processor", self.fair)):
            figures = [quantile(values, share) * 1e3 for share in (0.5, 0.99, 1.0)]
            lines.append(
                "{}: median {:.0f} ms, 99 % {:.0f} ms, worst {:.0f} ms".format(name, *figures)
            )
        return "\n".join(lines)


def quantile(values: list[float], share: float) -> float:
    """The smallest of the values that so many are not above."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


async def test_acknowledgements_while_hostile_files_are_checked(
    discord: Playground, tmp_path: Path
) -> None:
    """50 commands in 5 seconds with the real engine, beside 20 pictures and 5 LoRAs."""
    guild = discord.guild("Studio")
    channel = guild.channel("art")
    people = [guild.member(f"Person {n + 1}") for n in range(PEOPLE)]
    settings = {"EASEL_MAX_WAITING_PER_PERSON": "10", "EASEL_PER_MINUTE": "0"}
    bot = WatchedBot(discord, tmp_path, **settings, EASEL_DAILY_ALLOWANCE="0")
    await bot.start()
    await people[0].slash("imagine", prompt="warm-up")
    await channel.wait_for(lambda m: m.attachments, timeout_s=300)
    latencies = Latencies(bot)
    async with asyncio.TaskGroup() as group:
        for number, asking in enumerate(commands(discord, channel, people)):
            after_s = SPREAD_S * number / (COMMANDS + PICTURES + LORAS)
            group.create_task(latencies.ask(asking, after_s))
    print(f"\n{latencies}")  # noqa: T201
    assert quantile(latencies.fair, 0.99) <= LIMIT_S, latencies
    await check(bot)


def commands(
    discord: Playground, channel: ChannelHandle, people: list[Person]
) -> list[Coroutine[Any, Any, Any]]:
    """Everything that is asked for, the files well mixed with the rest."""
    operator = discord.operator.go(channel)
    person = itertools.cycle(people)
    loras = [
        operator.slash("admin lora add", name=f"style {n}", file=File("a.safetensors", data))
        for n, data in enumerate(spaced(BAD_LORAS, LORAS))
    ]
    pictures = [
        next(person).slash("imagine", prompt=f"hat {n}", image=File(f"{n}.png", data))
        for n, data in enumerate(spaced(BAD_PICTURES, PICTURES))
    ]
    plain = [next(person).slash("imagine", prompt=f"a fox {n}", steps=4) for n in range(COMMANDS)]
    slots = [(n / len(group), asking) for group in (loras, pictures, plain)
             for n, asking in enumerate(group)]  # fmt: skip
    return [asking for _, asking in sorted(slots, key=lambda slot: slot[0])]
