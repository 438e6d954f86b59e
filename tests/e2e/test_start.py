"""What the bot is like before its engine is ready: quick, small, answering, and plain when it cannot start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cli.rehearsal import BotProcess
from playground import Person, Playground
from tests.e2e.processes import run_bot

People = Callable[[int], list[Person]]
MAX_BOT_BYTES = 150e6


@pytest.mark.unfinished
async def test_answers_with_a_place_while_the_engine_loads(bot: BotProcess, people: People) -> None:
    bot.environment["EASEL_ENGINE_COMMAND"] += " --never-ready"
    [ana] = people(1)
    await bot.start()
    invocation = await ana.slash("imagine", prompt="a red circle")
    await invocation.acknowledged()
    status = await invocation.response()
    assert "#1" in status.content
    assert "Cancel" in status.buttons
    assert not status.is_ephemeral

    process = psutil.Process(bot.pid)
    maps = {m.path for m in process.memory_maps()}
    assert not [path for path in maps if "torch" in path]
    assert process.memory_info().rss < MAX_BOT_BYTES


async def test_without_a_token_it_says_in_two_lines_what_to_do() -> None:
    code, output = await run_bot()
    assert code == 2
    assert len(output.splitlines()) == 2
    assert "DISCORD_TOKEN" in output
    assert "demo" in output


async def test_a_refused_token_is_one_sentence(discord: Playground, tmp_path: Path) -> None:
    environment = discord.env() | {"DISCORD_TOKEN": "wrong.to.ken", "EASEL_MODEL": "pocket"}
    code, output = await run_bot(**environment, EASEL_DATA_DIR=str(tmp_path / "data"))
    assert code == 2
    assert "Traceback" not in output
    assert "wrong.to.ken" not in output
    assert "does not accept DISCORD_TOKEN" in output


async def test_a_misspelled_setting_is_named() -> None:
    code, output = await run_bot(EASEL_MODLE="pocket")
    assert code == 2
    assert "EASEL_MODLE" in output
    assert "EASEL_MODEL?" in output


async def test_two_copies_never_share_a_data_directory(bot: BotProcess, people: People) -> None:
    people(1)
    await bot.start()
    code, output = await run_bot(**bot.discord.env(), EASEL_DATA_DIR=str(bot.data_dir))
    assert code == 2
    assert "in use" in output
    assert "Traceback" not in output
