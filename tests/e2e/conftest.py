"""The real bot as its own process, with the loopback Discord in the test's."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from playground import Person, Playground
from tests.checker.check import check
from tests.checker.watched_bot import WatchedBot

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
    request: pytest.FixtureRequest, discord: Playground, tmp_path: Path, engine_options: list[str]
) -> AsyncIterator[WatchedBot]:
    """Not started yet. Its engine is the quick stand-in at the public seam (4 jobs at once).

    The checker looks at everything after the test; `@pytest.mark.unfinished` when jobs still wait.
    """
    state = tmp_path / "engine"
    state.mkdir()
    command = [sys.executable, str(FAULTY_ENGINE), "--state", str(state), "--model", "pocket"]
    process = WatchedBot(
        discord,
        tmp_path,
        EASEL_ENGINE_COMMAND=shlex.join([*command, *engine_options]),
        EASEL_MAX_WAITING_PER_PERSON="10",
        EASEL_PER_MINUTE="0",
        EASEL_DAILY_ALLOWANCE="0",
    )
    yield process
    has_drained = request.node.get_closest_marker("unfinished") is None
    await check(process, is_drained=has_drained)


@pytest.fixture
def drawing_bot(discord: Playground, tmp_path: Path) -> WatchedBot:
    """Not started yet. Its engine is the real one with the pocket model."""
    return WatchedBot(discord, tmp_path)


@pytest.fixture
def people(discord: Playground) -> Callable[[int], list[Person]]:
    """Makes a server with one channel and so many members in it."""

    def make(count: int) -> list[Person]:
        guild = discord.guild("Studio")
        guild.channel("art")
        return [guild.member(f"Person {i + 1}") for i in range(count)]

    return make
