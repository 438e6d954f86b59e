"""All faults mixed by a seed, while 25 people ask for pictures: `python -m tests.faults.nemesis --seed 1`.

Beside it the same people do the same without faults, for comparison: at the same time, so that whatever else
the machine does slows both. Faults come after so many results and not after some time, so that a slow machine
has as many of them as a fast one. Exit code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import psutil

from playground import ChannelHandle, Limited, Playground, Refused, Reset, Status
from playground.faults import Asked, Fault, Phase, no_faults
from playground.model import Json
from tests.checker.check import violations
from tests.checker.evidence import gather
from tests.checker.watched_bot import WatchedBot
from tests.faults.conftest import bot_settings
from tests.faults.crowd import Crowd
from tests.faults.draining import drain
from tests.faults.report import Report, failures, keep, lines

JOBS = 330  # some are cancelled: at least 300 run to their end
DRAIN_S = 90.0
# The scripted engine sets the pace, as a GPU would: six pictures a second in full batches, three alone.
STEP_S, ROW_S = 0.05, 0.035
# Of each kind in a run of `JOBS`.
FAULTS = {
    "kill the bot": 2,
    "restart the bot": 1,
    "kill the engine": 1,
    "crash the engine": 1,
    "stop the engine": 1,
    "drop the line": 3,
    "time the session out": 1,
    "ask to reconnect": 1,
    "invalidate the session": 1,
    "deliver an interaction again": 6,
    "deliver a message again": 3,
    "delete a status line": 3,
    "delete a result": 3,
    "delete a channel": 1,
    "take a permission away": 2,
    "limit everything": 1,
    "block like Cloudflare": 1,
}
NOISE = 0.02  # share of requests that Discord fails for no reason
_REFUSED_ANSWER = Refused(10062)


class Nemesis:
    """Does one fault after the other to a running bot."""

    def __init__(self, bot: WatchedBot, crowd: Crowd, seed: int, jobs: int) -> None:
        self.done = Counter[str]()
        self._bot = bot
        self._crowd = crowd
        self._discord = bot.discord
        self._random = random.Random(seed)
        count = max(sum(FAULTS.values()) * jobs // JOBS, 6)
        kinds = [kind for kind, times in FAULTS.items() for _ in range(times)]
        self._plan = self._random.sample(kinds, count)
        # Results between two faults; what is cancelled has none.
        self._every = max(int(jobs * 0.9) // (count + 1), 1)
        self._due = asyncio.Semaphore(0)
        self._limited_until = 0.0
        self._limit: Limited | None = None
        crowd.ends.on_end.append(self._count)

    def _count(self, ends: int) -> None:
        if ends % self._every == 0:
            self._due.release()

    async def run(self) -> None:
        """Until everything that was planned is done."""
        self._discord.faults = self._noise
        for kind in self._plan:
            await self._due.acquire()
            act: Callable[[], Awaitable[None]] = getattr(self, f"_{kind.replace(' ', '_')}")
            await act()
            self.done[kind] += 1

    async def _noise(self, asked: Asked, phase: Phase) -> Fault | None:
        """Fails a few requests: before they do anything, or after."""
        if self._limit is not None and phase == "before":
            if time.monotonic() < self._limited_until:
                return self._limit
            self._limit = None
        if self._random.random() >= NOISE / 2:
            return None
        faults: list[Fault] = [Status(500), Status(502), Status(504), Reset()]
        if phase == "before":
            faults += [Limited(0.3)]
            if asked.path.endswith("/callback"):
                faults += [_REFUSED_ANSWER]
        fault = self._random.choice(faults)
        self.done[f"{type(fault).__name__} {getattr(fault, 'code', '')} {phase}"] += 1
        return fault

    def _excuse(self, seconds: float) -> None:
        """Tells the checker for how long nobody can expect an answer."""
        self._discord.recorder.add("fault", lasts_s=seconds)

    # The processes.

    async def _kill_the_bot(self) -> None:
        await self._bot.kill()
        await self._bot.start()

    async def _restart_the_bot(self) -> None:
        await self._bot.stop()
        await self._bot.start()

    async def _kill_the_engine(self) -> None:
        await self._signal_the_engine(signal.SIGKILL)

    async def _crash_the_engine(self) -> None:
        await self._signal_the_engine(signal.SIGSEGV)

    async def _stop_the_engine(self) -> None:
        await self._signal_the_engine(signal.SIGSTOP)

    async def _signal_the_engine(self, number: signal.Signals) -> None:
        async with asyncio.timeout(30):
            while True:
                engine = self._bot.engine()
                if engine is not None:
                    break
                await asyncio.sleep(0.05)
        try:
            engine.send_signal(number)
        except psutil.NoSuchProcess:
            self.done["engine was gone"] += 1

    # The line.

    async def _drop_the_line(self) -> None:
        await self._discord.gateway.drop()

    async def _time_the_session_out(self) -> None:
        await self._discord.gateway.drop(code=4009)

    async def _ask_to_reconnect(self) -> None:
        self._discord.gateway.ask_reconnect()

    async def _invalidate_the_session(self) -> None:
        self._excuse(5.0)  # what comes between two sessions is lost
        self._discord.gateway.invalidate()

    async def _deliver_an_interaction_again(self) -> None:
        interactions = self._discord.interactions
        recent = list(interactions.all.values())[-10:]
        interactions.redeliver(self._random.choice(recent))

    async def _deliver_a_message_again(self) -> None:
        mine = str(self._discord.world.bot.id)
        for session in self._discord.gateway.connected:
            sent = [p["d"]["id"] for p in session.sent
                    if p["t"] == "MESSAGE_CREATE" and p["d"]["author"]["id"] != mine]  # fmt: skip
            if sent:
                wanted = {self._random.choice(sent[-10:])}
                self._discord.gateway.replay("MESSAGE_CREATE", partial(is_one_of, wanted))

    # Places and messages.

    async def _delete_a_status_line(self) -> None:
        await self._delete_one("Cancel", "Stop")

    async def _delete_a_result(self) -> None:
        await self._delete_one("Reroll")

    async def _delete_one(self, *labels: str) -> None:
        found = [
            message
            for channel in self._crowd.channels
            for message in channel.messages[-20:]
            if set(labels) & set(message.buttons)
        ]
        if found:
            await self._crowd.moderator.delete(self._random.choice(found))

    async def _delete_a_channel(self) -> None:
        channels = self._crowd.channels
        self._random.choice(channels).delete()
        self._crowd.guild.channel(f"art-again-{len(channels)}")

    async def _take_a_permission_away(self) -> None:
        channel = self._random.choice(self._crowd.channels)
        name = self._random.choice(["send_messages", "attach_files", "view_channel"])
        channel.set_permissions(**{name: False})
        until = self._crowd.ends.count + 10
        self._crowd.ends.on_end.append(lambda ends: give_back(channel, name, ends >= until))

    # Discord's limits.

    async def _limit_everything(self) -> None:
        self._limit_for(1.0, Limited(1.0, is_global=True))

    async def _block_like_Cloudflare(self) -> None:
        self._limit_for(1.0, Limited(1.0, via=False))

    def _limit_for(self, seconds: float, limit: Limited) -> None:
        self._limit, self._limited_until = limit, time.monotonic() + seconds
        self._excuse(seconds + 1.0)


def is_one_of(ids: set[str], data: Json) -> bool:
    return data["id"] in ids


def give_back(channel: ChannelHandle, name: str, is_due: bool) -> None:
    """Gives the bot a permission back once some results later."""
    overwrite = channel.channel.overwrites.get(channel._discord.world.bot.id)
    if is_due and not channel.channel.deleted and overwrite is not None and overwrite.deny:
        channel.set_permissions(**{name: None})


async def run(folder: Path, seed: int, jobs: int = JOBS, *, has_faults: bool = True) -> Report:
    """One run until everything has ended, and what the checker says of it."""
    async with Playground(rate_limits=None) as discord:
        crowd = Crowd(discord, seed, jobs, breaks_engine=has_faults)
        settings = bot_settings(folder, "--step-s", str(STEP_S), "--row-s", str(ROW_S))
        bot = WatchedBot(discord, folder, EASEL_STEP_TIMEOUT_S="2", **settings)
        nemesis = Nemesis(bot, crowd, seed, jobs)
        try:
            await bot.start()
            began = discord.recorder.records[-1]["t"]
            struggle = asyncio.create_task(nemesis.run()) if has_faults else None
            await watched(crowd.busy(), struggle)
            if struggle is not None and not struggle.done():
                nemesis.done["not reached"] += 1
                struggle.cancel()
                await asyncio.gather(struggle, return_exceptions=True)
            for channel in crowd.channels:
                channel.set_permissions(send_messages=None, attach_files=None, view_channel=None)
            discord.faults = no_faults
            await drain(bot, folder / "engine", DRAIN_S)
            seconds = crowd.ends.last_t - began
            restarts = list(discord.recorder.of("bot", did="ready"))[1:]
            waited_s = sum(record["waited_s"] for record in restarts)
            await bot.stop()
        finally:
            if bot.is_running():
                await bot.kill()
        evidence = await asyncio.to_thread(gather, bot)
        kept = [job for job in evidence.jobs.values() if job["state"] != "cancelled"]
        return Report(
            jobs=len(kept),
            pictures=sum(job["state"] == "rendered" for job in kept),
            seconds=seconds - waited_s,
            waited_s=waited_s,
            evidence=evidence,
            violations=violations(evidence),
            lag_ms=bot.last_health.get("loop_lag_p99_ms", 0.0),
            done=nemesis.done + crowd.acts,
        )


async def watched(busy: Awaitable[None], struggle: asyncio.Task[None] | None) -> None:
    """Waits for the people; an error of the nemesis itself ends the run at once."""
    people = asyncio.ensure_future(busy)
    waiting = {people} if struggle is None else {people, struggle}
    while people in waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is not None:
                people.cancel()
                await asyncio.gather(people, return_exceptions=True)
            task.result()


async def main(arguments: argparse.Namespace) -> int:
    """Runs one seed, with faults and without, and says what came of it."""
    ways = (True,) if arguments.no_comparison else (True, False)
    with tempfile.TemporaryDirectory(prefix="easel-nemesis-") as name:
        folders = [Path(name, "faults" if has_faults else "clean") for has_faults in ways]
        runs = []
        for folder, has_faults in zip(folders, ways, strict=True):
            folder.mkdir()
            runs.append(run(folder, arguments.seed, arguments.jobs, has_faults=has_faults))
        async with asyncio.TaskGroup() as group:  # the end of one ends the other, and its bot
            tasks = [group.create_task(one) for one in runs]
        report, *others = [task.result() for task in tasks]
        if arguments.keep is not None:
            for folder, one in zip(folders, (report, *others), strict=True):
                keep(one.evidence, arguments.keep / folder.name)
    clean = others[0] if others else None
    write = sys.stdout.write
    for line in [f"seed {arguments.seed}", *lines(report, clean)]:
        write(f"{line}\n")
    found = failures(report, clean)
    for line in found:
        write(f"VIOLATION {line}\n")
    return 1 if found else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--no-comparison", action="store_true", help="only the run with faults")
    parser.add_argument(
        "--keep", type=Path, help="a folder for history, tables and log of each run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
