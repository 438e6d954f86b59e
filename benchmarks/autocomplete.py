"""How long suggestions take with 5,000 styles and 100,000 pictures of one's own: `python -m benchmarks.autocomplete`.

The real bot on the loopback Discord: what is printed is the time from the interaction to its answer, and the CPU
time of the bot for one. A limit is met when that is below it: other programs on the machine do not change it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks import history_search
from cli.rehearsal import BotProcess
from playground import Person, Playground
from storage.database import DATABASE_NAME, Database

LIMIT_MS = 100
STYLES = 5_000
PICTURES = 100_000
TRIES = 30
MANY = (
    20  # of many answers the mean CPU time is known; the kernel counts it in hundredths of a second
)

# command, option, what was typed
TYPED = (
    ("imagine", "style", ""),
    ("imagine", "style", "style 49"),
    ("imagine", "style", "style 7:0.7, style 123"),
    ("imagine", "style", "stlye 4999"),
    ("imagine", "style", "nothing like it"),
    ("style", "name", "4"),
    ("styles info", "name", "style 12"),
    ("imagine", "sampler", "eu"),
    ("remix", "source", ""),
    ("remix", "source", "portrai"),
    ("remix", "source", "portrait of a red"),
    ("upscale", "source", "nosuchword"),
    ("history show", "picture", "cat"),
    ("history star", "picture", "light"),
    ("pose", "pose", "wav"),
    ("queue cancel", "job", ""),
)


def main() -> int:
    """Prints the times; 0 when all limits are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--styles", type=int, default=STYLES)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--tries", type=int, default=TRIES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="easel-autocomplete-") as folder:
        return asyncio.run(run(Path(folder), given.styles, given.pictures, given.tries))


async def run(folder: Path, styles: int, pictures: int, tries: int) -> int:
    """Fills a data directory, starts the bot on it and measures; 1 when something is too slow."""
    async with Playground() as discord:
        guild = discord.guild("Studio")
        channel = guild.channel("art")
        ana = guild.member("Ana")
        bot = BotProcess(discord, folder)
        await _fill(bot.data_dir, ana.id, styles, pictures)
        print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()}")
        print(f"{styles:,} styles, {pictures:,} pictures of one's own")
        async with bot:
            await ana.slash("imagine", prompt="warm-up")  # the engine's start takes a core
            await channel.wait_for(lambda m: m.attachments and m.mentions, timeout_s=300)
            process = psutil.Process(bot.pid)
            is_slow = [await _measure(ana, process, *typed, tries) for typed in TYPED]
    return 1 if any(is_slow) else 0


async def _measure(
    person: Person, process: psutil.Process, command: str, option: str, typed: str, tries: int
) -> bool:
    """Prints the times of one suggestion and returns whether it is too slow."""
    times: list[float] = []
    used = process.cpu_times()
    for _ in range(tries):
        began = time.perf_counter()
        found = await person.autocomplete(command, option, typed)
        times.append((time.perf_counter() - began) * 1e3)
    now = process.cpu_times()
    cpu_ms = (now.user + now.system - used.user - used.system) / tries * 1e3
    is_slow = tries >= MANY and cpu_ms >= LIMIT_MS
    print(
        f"{f'/{command} {option}: {typed!r}':48} {len(found):3} found, p50 {statistics.median(times):6.1f} ms,"
        f" slowest {max(times):6.1f} ms, CPU {cpu_ms:5.1f} ms{'  SLOW' if is_slow else ''}",
        flush=True,
    )
    return is_slow


async def _fill(data_dir: Path, person_id: int, styles: int, pictures: int) -> None:
    async with Database.open(data_dir):
        pass
    path = data_dir / DATABASE_NAME
    history_search.fill(path, pictures, heavy=person_id, every=1)
    connection = sqlite3.connect(path)
    rows = [(hashlib.sha256(b"%d" % n).hexdigest(), f"Style {n}") for n in range(styles)]
    connection.executemany(
        "INSERT INTO adapters (sha256, name, path, trigger_words, default_weight, family, enabled,"
        " added_by, size_bytes, added_at)"
        " VALUES (?1, ?2, 'adapters/' || ?1, '[\"look\"]', 0.8, 'pocket', 1, 1, 9, '2026-01-01')",
        rows,
    )
    connection.executemany(  # or the engine would draw them meanwhile
        "INSERT INTO adapter_previews (sha256, png) VALUES (?, x'00')", [(one,) for one, _ in rows]
    )
    connection.commit()
    connection.close()


if __name__ == "__main__":
    sys.exit(main())
