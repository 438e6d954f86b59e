"""Thousands of small jobs through the real bot and the real engine with a tiny model: `python -m tests.faults.soak`.

Memory, open files, threads and the write-ahead log are looked at as results come. What they are after the
first fifth, when caches are full, they have to be at the end. Exit code 1 when something grew, or a job was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import psutil

from playground import Person, Playground
from playground.errors import NoResponse
from tests.checker.check import settle
from tests.checker.evidence import quick_check, read_tables
from tests.checker.watched_bot import WatchedBot
from tests.faults.crowd import Ends

JOBS = 5000
PEOPLE = 40
CHANNELS = 8
SAMPLES = 50
WARM_UP = 0.2  # of the run; the same share at its end is compared with what comes after it


@dataclass(frozen=True)
class Sample:
    """What the processes hold at one moment."""

    bot_mb: float
    engine_mb: float
    bot_files: float
    engine_files: float
    bot_threads: float
    engine_threads: float
    wal_mb: float


# How much more it may be at the end. Rows in SQLite's cache and freed memory that is in pieces are no leaks;
# one kilobyte a job that is never given back would be 4 MB more.
ALLOWED = Sample(4.0, 12.0, 3, 3, 2, 2, 4.0)


class Watch:
    """Takes samples of a running bot, so many results apart."""

    def __init__(self, bot: WatchedBot, ends: Ends, jobs: int) -> None:
        self.samples: list[Sample] = []
        self._bot = bot
        self._every = max(jobs // SAMPLES, 1)
        ends.on_end.append(self._count)

    def _count(self, ends: int) -> None:
        if ends % self._every == 0:
            self.samples.append(self._take())

    def _take(self) -> Sample:
        bot, engine = psutil.Process(self._bot.pid), self._bot.engine()
        if engine is None:
            raise AssertionError(f"the engine died: {self._bot.log()[-2000:]}")
        wal = self._bot.data_dir / "easel.db-wal"
        return Sample(
            bot_mb=bot.memory_info().rss / 1e6,
            engine_mb=engine.memory_info().rss / 1e6,
            bot_files=bot.num_fds(),
            engine_files=engine.num_fds(),
            bot_threads=bot.num_threads(),
            engine_threads=engine.num_threads(),
            wal_mb=wal.stat().st_size / 1e6 if wal.exists() else 0.0,
        )


def grown(samples: Sequence[Sample]) -> tuple[Sample, Sample, list[str]]:
    """Returns the medians after the warm-up and at the end, and what became too much."""
    part = max(int(len(samples) * WARM_UP), 1)
    early, late = median(samples[part : 2 * part]), median(samples[-part:])
    found = [
        f"{name.name} grew from {before:.1f} to {after:.1f}"
        for name, before, after, allowed in zip(
            fields(Sample), astuple(early), astuple(late), astuple(ALLOWED), strict=True
        )
        if after - before > allowed
    ]
    return early, late, found


def thirds(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the medians of the first, the second and the last third."""
    part = max(len(samples) // 3, 1)
    return [median(samples[:part]), median(samples[part:-part] or samples), median(samples[-part:])]


def median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        *(statistics.median(column) for column in zip(*map(astuple, samples), strict=True))
    )


async def ask(person: Person, ends: Ends, numbers: asyncio.Queue[int]) -> None:
    """One picture after the other, as long as there are numbers."""
    while not numbers.empty():
        prompt = f"picture number {numbers.get_nowait()}"
        came = ends.expect(person)
        while True:
            try:
                asked = await person.slash("imagine", prompt=prompt, steps=2)
                await asked.acknowledged()
                break
            except (
                NoResponse
            ):  # three seconds may not be enough on a machine that does other things
                continue
        await came.wait()


async def run(folder: Path, jobs: int) -> tuple[float, list[Sample], list[str]]:
    """Returns the seconds, the samples, and what is wrong."""
    from tests.engine.worker import tiny

    settings = {
        "EASEL_MODEL": str(tiny.write_model(folder / "tiny")),
        "EASEL_MAX_ROWS": "16",
        "EASEL_THREADS": "1",
        "EASEL_PER_MINUTE": "0",
        "EASEL_DAILY_ALLOWANCE": "0",
    }
    async with Playground(rate_limits=None, keep_payloads=False) as discord:
        guild = discord.guild("Studio")
        channels = [guild.channel(f"art-{n + 1}") for n in range(CHANNELS)]
        people = [guild.member(f"Person {n + 1}").go(channels[n % CHANNELS]) for n in range(PEOPLE)]
        bot = WatchedBot(discord, folder, **settings)
        await bot.start()
        ends = Ends(discord)
        watch = Watch(bot, ends, jobs)
        numbers: asyncio.Queue[int] = asyncio.Queue()
        for number in range(jobs):
            numbers.put_nowait(number)
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                for person in people:
                    group.create_task(ask(person, ends, numbers))
            seconds = time.monotonic() - began
            await settle(discord)
            code = await bot.stop()
        finally:
            if bot.is_running():
                await bot.kill()
        rows = await asyncio.to_thread(read_tables, bot.data_dir)
        wrong = grown(watch.samples)[2]
        if {row["state"] for row in rows["jobs"]} != {"rendered"}:
            wrong.append("not every job is rendered")
        if ends.count != len(rows["jobs"]):
            wrong.append(f"{len(rows['jobs'])} jobs have {ends.count} results")
        if (said := await asyncio.to_thread(quick_check, bot.data_dir)) != "ok":
            wrong.append(said)
        if code != 0 or "Traceback" in bot.log():
            wrong.append(f"it ended with {code}, or a traceback: {bot.log()[-1000:]}")
        return seconds, watch.samples, wrong


async def main(jobs: int) -> int:
    """Runs it once and says what was seen."""
    with tempfile.TemporaryDirectory(prefix="easel-soak-") as folder:
        seconds, samples, wrong = await run(Path(folder), jobs)
    write = sys.stdout.write
    write(f"{jobs} jobs in {seconds:.0f} s; medians of each third of the run\n")
    for name, *values in zip(fields(Sample), *map(astuple, thirds(samples)), strict=True):
        write(f"{name.name:15}{''.join(f'{value:10.1f}' for value in values)}\n")
    for line in wrong:
        write(f"WRONG {line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    sys.exit(asyncio.run(main(parser.parse_args().jobs)))
