"""The real engine breaks in each of its states in each way: every job still ends in its one picture."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from playground import Message, Person, Playground
from tests.checker.check import check
from tests.checker.watched_bot import WatchedBot
from tests.faults.failing_engine import FAULTS, STATES

pytest.importorskip("torch")

People = Callable[[int], list[Person]]
FAILING_ENGINE = Path(__file__).parent / "failing_engine.py"
# `make faults` has every one.
QUICK = (("step", "segv"), ("encode", "hang"), ("send", "kill"))
IN_A_NEW_PROCESS = ("boot", "load", "idle")
# What the log says of each end, in a start and later.
ENDS = {
    "kill": "ended by SIGKILL",
    "segv": "ended by SIGSEGV",
    "exit": "exited with code 0",
    "hang": "no progress with its start|The engine hung",
    "hang-gil": "no progress with its start|The engine hung",
    "stop": "no progress with its start|The engine hung",
    "garbage": "sent garbage",
}


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.engine.worker import tiny

    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny-sd15")


@pytest.fixture
async def breaking_bot(
    discord: Playground, tmp_path: Path, tiny_model: Path
) -> AsyncIterator[WatchedBot]:
    """Not started yet; its engine is the real one with a tiny model, and is soon taken for hung."""
    (tmp_path / "engine").mkdir()
    command = [sys.executable, "-P", str(FAILING_ENGINE), str(tmp_path / "engine")]
    process = WatchedBot(
        discord,
        tmp_path,
        EASEL_MODEL=str(tiny_model),
        EASEL_ENGINE_COMMAND=shlex.join(command),
        EASEL_MAX_ROWS="8",
        EASEL_THREADS="1",
        EASEL_ENGINE_START_TIMEOUT_S="30",
        EASEL_STEP_TIMEOUT_S="4",
        EASEL_PER_MINUTE="0",
        EASEL_DAILY_ALLOWANCE="0",
    )
    yield process
    if process.is_running():
        await process.kill()


class Breaking:
    """Breaks the engine of a running bot, and sees that everybody gets a picture all the same."""

    def __init__(self, bot: WatchedBot, people: list[Person]) -> None:
        self._bot = bot
        self._people = people
        self._armed = bot.data_dir.parent / "engine" / "armed"
        self._fired = bot.data_dir.parent / "engine" / "fired"
        self._logged = 0  # characters of the log that earlier faults had written

    async def through(self, state: str, fault: str) -> None:
        self._logged = len(self._bot.log())
        with contextlib.suppress(FileNotFoundError):
            self._fired.unlink()
        self._armed.write_text(f"{state} {fault}")
        if state in IN_A_NEW_PROCESS:
            engine = await self._running_engine()
            engine.kill()
            await self._until_broken(state, fault)
        await asyncio.gather(*(self._picture(person, state, fault) for person in self._people))
        await self._until_broken(state, fault)
        ends = ENDS[fault].split("|")
        log = self._bot.log()[self._logged :]
        assert any(end in log for end in ends), f"{state} {fault}: {log[-2000:]}"

    async def _picture(self, person: Person, state: str, fault: str) -> None:
        prompt = f"{state} {fault} of {person.name}"
        asked = await person.slash("imagine", prompt=prompt, steps=3)
        await asked.acknowledged()

        def is_result(message: Message) -> bool:
            is_preview = not message.pings(person.user)
            return bool(message.attachments) and prompt in message.content and not is_preview

        await person.place.wait_for(is_result, timeout_s=120)

    async def _until_broken(self, state: str, fault: str) -> None:
        async with asyncio.timeout(120):
            while not self._fired.exists():  # written by another process
                assert self._bot.is_running(), self._bot.log()[-2000:]
                await asyncio.sleep(0.02)

    async def _running_engine(self) -> psutil.Process:
        async with asyncio.timeout(60):
            while True:
                engine = self._bot.engine()
                if engine is not None:
                    return engine
                await asyncio.sleep(0.02)


async def break_all(bot: WatchedBot, people: list[Person], ways: list[tuple[str, str]]) -> None:
    await bot.start()
    breaking = Breaking(bot, people)
    for state, fault in ways:
        await breaking.through(state, fault)
    evidence = await check(bot)
    jobs = evidence.jobs.values()
    assert len(jobs) == len(ways) * len(people)
    assert {job["state"] for job in jobs} == {"rendered"}
    assert max(job["attempts"] for job in jobs) <= 1  # each was suspected once at most


async def test_engine_breaks_in_one_way_after_the_other(
    breaking_bot: WatchedBot, people: People
) -> None:
    await break_all(breaking_bot, people(2), list(QUICK))


@pytest.mark.faults
@pytest.mark.parametrize("state", STATES)
async def test_engine_breaks_in_every_way(
    breaking_bot: WatchedBot, people: People, state: str
) -> None:
    await break_all(breaking_bot, people(3), [(state, fault) for fault in FAULTS])
