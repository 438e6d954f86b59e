"""The real bot as its own process, with the loopback Discord in the test's."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cli.rehearsal import BotProcess
from playground import Person, Playground

FAULTY_ENGINE = Path(__file__).parents[1] / "faulty_engine.py"


@pytest.fixture
async def discord() -> AsyncIterator[Playground]:
    async with Playground(rate_limits=None) as playground:
        yield playground


@pytest.fixture
def engine_options() -> list[str]:
    """What the stand-in engine is told beside its state folder; a test module may override it."""
    return ["--step-s", "0.05"]


@pytest.fixture
async def bot(
    discord: Playground, tmp_path: Path, engine_options: list[str]
) -> AsyncIterator[BotProcess]:
    """Not started yet. Its engine is the quick stand-in at the public seam (4 jobs at once)."""
    state = tmp_path / "engine"
    state.mkdir()
    command = [sys.executable, str(FAULTY_ENGINE), "--state", str(state), "--model", "pocket"]
    process = BotProcess(
        discord,
        tmp_path,
        EASEL_ENGINE_COMMAND=shlex.join([*command, *engine_options]),
        EASEL_MAX_WAITING_PER_PERSON="10",
        EASEL_PER_MINUTE="0",
        EASEL_DAILY_ALLOWANCE="0",
    )
    yield process
    if process.is_running():
        assert await process.stop() == 0
    assert "Traceback" not in process.log(), process.log()


@pytest.fixture
def people(discord: Playground) -> Callable[[int], list[Person]]:
    """Makes a server with one channel and so many members in it."""

    def make(count: int) -> list[Person]:
        guild = discord.guild("Studio")
        guild.channel("art")
        return [guild.member(f"Person {i + 1}") for i in range(count)]

    return make
