"""Canaries: no secret gets into a message, the log or the database, though errors quote them.

The checker looks at everything after each test, so what stands here is that the errors really came.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.rehearsal import BotProcess
from playground import FaultPlan, File, Person, Playground, Status
from tests.e2e.processes import run_bot

People = Callable[[int], list[Person]]

HUB_TOKEN = "a-canary-for-the-hub"
FORGED = "2026-01-01 00:00:00,000 ERROR   easel: forged"
HOSTILE = f"x\n{FORGED}\r\x1b[31m\x9b31m\u202e\u2066\x85\u2028y\u200b"


@pytest.fixture
def told(bot: BotProcess) -> BotProcess:
    """Knows every secret that there can be, and logs all that it can."""
    bot.environment |= {"HF_TOKEN": HUB_TOKEN, "EASEL_LOG_LEVEL": "DEBUG"}
    return bot


async def test_error_of_the_engine_that_quotes_a_token_is_told_without_it(
    told: BotProcess, people: People
) -> None:
    [ana] = people(1)
    await told.start()
    await (await ana.slash("imagine", prompt="a fox engine:leak")).acknowledged()
    apology = await ana.place.wait_for(lambda m: "No entry with" in m.content, timeout_s=30)
    assert HUB_TOKEN not in apology.content
    assert "HF_TOKEN" in told.log()  # it was printed, and blanked
    assert HUB_TOKEN not in told.log()


async def test_answer_of_discord_that_quotes_the_token_is_logged_without_it(
    told: BotProcess, discord: Playground, people: People
) -> None:
    [ana] = people(1)
    await told.start()
    page = f"What is {discord.token} doing here? canary-of-the-page\n{FORGED}"
    discord.faults = plan = FaultPlan()
    plan.plan("POST", "/channels/{channel_id}/messages", Status(400, page), times=1)
    line = await (await ana.slash("imagine", prompt="a fox")).response()
    await ana.place.wait_deleted(line, timeout_s=30)
    assert "canary-of-the-page" in told.log()
    assert discord.token not in told.log()


async def test_last_words_of_a_bot_that_cannot_start_are_without_the_token(
    discord: Playground, tmp_path: Path
) -> None:
    discord.faults = plan = FaultPlan()
    page = f"canary-of-the-page {discord.token}"
    plan.plan("GET", "", Status(400, page), times=99)
    code, output = await run_bot(**discord.env(), EASEL_DATA_DIR=str(tmp_path / "data"))
    assert code == 2
    assert "canary-of-the-page" in output
    assert discord.token not in output


async def test_hostile_names_begin_no_line_of_the_log(
    told: BotProcess, discord: Playground
) -> None:
    """Prompts, names of people, servers, channels, files and options, all logged at most."""
    guild = discord.guild(HOSTILE)
    guild.channel("art")
    ana = guild.member(HOSTILE)
    await told.start()
    await ana.slash("imagine", prompt=f"a fox {HOSTILE}")
    await ana.place.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=30)
    await (await ana.slash("imagine", prompt=f"a fox {HOSTILE} engine:fail")).acknowledged()
    await ana.place.wait_for(lambda m: "Try again" in m.buttons, timeout_s=30)
    for options in ({"sampler": HOSTILE}, {"style": HOSTILE}, {"image": File(HOSTILE, b"<svg/>")}):
        asked = await ana.slash("imagine", {"prompt": "a fox", **options}, force=True)
        await asked.acknowledged()
        await asked.wait_for(lambda m: m.is_ephemeral)
    assert all(line.isprintable() for line in told.log().split("\n"))
