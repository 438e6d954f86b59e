"""A bot for the faults: the real process with the quick stand-in engine, limits wide open."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from playground import Person, Playground
from tests.checker.watched_bot import WatchedBot

FAULTY_ENGINE = Path(__file__).parents[1] / "faulty_engine.py"


@pytest.fixture
async def discord() -> AsyncIterator[Playground]:
    async with Playground(rate_limits=None) as playground:
        yield playground


@pytest.fixture
async def bot(discord: Playground, tmp_path: Path) -> AsyncIterator[WatchedBot]:
    """Not started yet. A test ends with `tests.checker.check.check`, or kills it."""
    process = WatchedBot(discord, tmp_path, **bot_settings(tmp_path))
    yield process
    if process.is_running():
        await process.kill()


@pytest.fixture
def people(discord: Playground) -> Callable[[int], list[Person]]:
    """Makes a server with one channel and so many members in it."""

    def make(count: int) -> list[Person]:
        guild = discord.guild("Studio")
        guild.channel("art")
        return [guild.member(f"Person {i + 1}") for i in range(count)]

    return make


def bot_settings(folder: Path, *engine_options: str) -> dict[str, str]:
    """Settings of a bot with the stand-in engine, which keeps its state in the folder `engine`."""
    state = folder / "engine"
    state.mkdir(exist_ok=True)
    command = [sys.executable, str(FAULTY_ENGINE), "--state", str(state), "--model", "pocket"]
    return {
        "EASEL_ENGINE_COMMAND": shlex.join([*command, *engine_options]),
        "EASEL_MAX_WAITING_PER_PERSON": "10",
        "EASEL_PER_MINUTE": "0",
        "EASEL_DAILY_ALLOWANCE": "0",
    }
