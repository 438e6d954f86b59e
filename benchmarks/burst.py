"""25 people send 50 /imagine within 5 seconds: `python -m benchmarks.burst`.

The real bot and engine with the pocket model, on the loopback Discord with Discord's rate limits.
Fails when a command was not acknowledged or did not get exactly one result; the times are only printed.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil

from cli.rehearsal import BotProcess
from playground import ChannelHandle, Person, Playground

PEOPLE = 25
COMMANDS = 50
SPREAD_S = 5.0
RESULTS_TIMEOUT_S = 300
COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "black", "white", "pink", "brown")
SHAPES = ("circle", "square", "triangle", "star", "cross")


async def main() -> int:
    """Runs the burst once and prints the figures; 0 when every result is right."""
    with tempfile.TemporaryDirectory(prefix="easel-burst-") as folder:
        async with Playground() as discord:
            guild = discord.guild("Studio")
            channel = guild.channel("art")
            people = [guild.member(f"Person {n + 1}") for n in range(PEOPLE)]
            started = time.monotonic()
            async with BotProcess(discord, Path(folder)) as bot:
                on_gateway_s = time.monotonic() - started
                await people[0].slash("imagine", prompt="warm-up")
                await channel.wait_for(lambda m: m.attachments and m.mentions, timeout_s=300)
                wrong = await burst(bot, channel, people, on_gateway_s)
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


async def burst(
    bot: BotProcess, channel: ChannelHandle, people: Sequence[Person], on_gateway_s: float
) -> list[str]:
    """Sends all commands, waits for all results; returns what is wrong with them."""
    prompts = [
        f"a {COLOURS[n % 10]} {SHAPES[n // 10]} on a {COLOURS[(n + 3) % 10]} background"
        for n in range(COMMANDS)
    ]

    def results(button: str) -> Counter[str]:
        """How often each prompt was answered by a message with this button."""
        found = [m for m in channel.messages if m.mentions and button in m.buttons]
        return Counter(p for p in prompts for m in found if f"**{p}**" in m.content)

    def is_over(_: object) -> bool:
        return results("Reroll").total() + results("Try again").total() >= COMMANDS

    started = time.monotonic()
    tasks = [
        asyncio.create_task(acknowledge(people[n % len(people)], prompt, n * SPREAD_S / COMMANDS))
        for n, prompt in enumerate(prompts)
    ]
    latencies = sorted(await asyncio.gather(*tasks))
    await channel.wait_for(is_over, timeout_s=RESULTS_TIMEOUT_S)
    seconds = time.monotonic() - started

    health = bot.health()
    process = psutil.Process(bot.pid)
    [engine] = process.children()
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()}")
    print(f"on the gateway, commands registered  {on_gateway_s:8.2f} s after the start")
    print(f"acknowledged, median                 {statistics.median(latencies) * 1e3:8.0f} ms")
    print(f"acknowledged, 99 %                   {latencies[-1 - COMMANDS // 100] * 1e3:8.0f} ms")
    print(f"acknowledged, slowest                {latencies[-1] * 1e3:8.0f} ms")
    print(f"all {COMMANDS} pictures delivered after      {seconds:8.1f} s")
    print(f"bot: event-loop lag, 99 %            {health['loop_lag_p99_ms']:8.1f} ms")
    print(f"bot: event-loop lag, worst           {health['loop_lag_max_ever_ms']:8.1f} ms")
    print(f"bot: resident memory                 {process.memory_info().rss / 1e6:8.0f} MB")
    print(f"engine: resident memory              {engine.memory_info().rss / 1e6:8.0f} MB")

    wrong = [f"{prompt!r} was delivered {count} times"
             for prompt in prompts if (count := results("Reroll")[prompt]) != 1]  # fmt: skip
    if len(latencies) != COMMANDS:
        wrong.append(f"{len(latencies)} of {COMMANDS} commands were acknowledged")
    if latencies[-1] > 3:
        wrong.append("a command was acknowledged after Discord's 3 seconds")
    if await bot.stop() != 0 or "Traceback" in bot.log():
        wrong.append(
            f"the bot's log has a traceback, or it did not stop cleanly: {bot.log()[-500:]}"
        )
    return wrong


async def acknowledge(person: Person, prompt: str, after_s: float) -> float:
    """Sends one /imagine `after_s` from now and returns the seconds until its acknowledgement."""
    await asyncio.sleep(after_s)
    invocation = await person.slash("imagine", prompt=prompt)
    return (await invocation.acknowledged()).latency_s


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
