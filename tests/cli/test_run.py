"""`bot.py run` against a Discord that is late, gone or unfriendly."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.rehearsal import BotProcess
from playground import FaultPlan, Playground, Reset, Status
from storage.database import Database
from storage.jobs import JobTable
from storage.pictures import PictureFiles
from tests.engine.scripted import NO_LIMITS, submission

ENGINE = Path(__file__).parents[1] / "faulty_engine.py"


@pytest.fixture
async def discord() -> AsyncIterator[Playground]:
    async with Playground(rate_limits=None) as playground:
        yield playground


@pytest.fixture
async def bot(discord: Playground, tmp_path: Path) -> AsyncIterator[BotProcess]:
    """Not started yet, with the quick stand-in engine."""
    state = tmp_path / "engine"
    state.mkdir()
    command = [sys.executable, str(ENGINE), "--state", str(state), "--model", "pocket"]
    process = BotProcess(discord, tmp_path, EASEL_ENGINE_COMMAND=shlex.join(command))
    yield process
    if process.is_running():
        assert await process.stop() == 0
    assert "Traceback" not in process.log(), process.log()


async def until_ended(bot: BotProcess) -> int:
    """Returns the exit code of a bot that ends by itself."""
    process = bot._process
    assert process is not None
    async with asyncio.timeout(20):
        return await process.wait()


async def test_waits_for_a_discord_that_cannot_be_reached_yet(
    bot: BotProcess, discord: Playground
) -> None:
    discord.faults = plan = FaultPlan()
    plan.plan("GET", "^/users/@me$", Status(503))
    plan.plan("GET", "^/gateway/bot$", Status(503))
    await bot.start()
    assert bot.log().count("Discord cannot be reached") == 2


async def test_stops_at_once_while_discord_cannot_be_reached(
    bot: BotProcess, discord: Playground
) -> None:
    discord.faults = plan = FaultPlan()
    plan.plan("GET", "^/users/@me$", Reset(), times=1000)
    tried = asyncio.Event()
    discord.recorder.listeners.append(lambda record: tried.set())
    starting = asyncio.create_task(bot.start())
    async with asyncio.timeout(20):
        await tried.wait()
    assert await bot.stop() == 0
    starting.cancel()


async def test_stops_while_the_name_of_discord_is_looked_up(
    bot: BotProcess, discord: Playground, tmp_path: Path
) -> None:
    """A look-up takes half a minute when no name server answers, and cannot be interrupted."""
    asked = asyncio.Event()
    door = str(tmp_path / "door")
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\n"
        "def getaddrinfo(*args, **options):\n"
        f"    socket.socket(socket.AF_UNIX).connect({door!r})\n"
        "    time.sleep(40)\n"  # what a look-up takes that nobody answers
        "socket.getaddrinfo = getaddrinfo\n"
    )
    bot.environment["PYTHONPATH"] = str(tmp_path)
    bot.environment["EASEL_DISCORD_API_BASE"] = "http://discord.invalid/api/v10"

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    async with await asyncio.start_unix_server(answer, door), asyncio.timeout(30):
        starting = asyncio.create_task(bot.start())
        await asked.wait()
        assert await bot.stop() == 0
        starting.cancel()


async def test_the_gateway_of_the_settings_is_asked(bot: BotProcess) -> None:
    asked: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not asked.done():
            asked.set_result(await reader.readline())
        await reader.read()  # until the bot stops
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        bot.environment["EASEL_DISCORD_GATEWAY_URL"] = f"ws://127.0.0.1:{port}/elsewhere"
        starting = asyncio.create_task(bot.start())
        async with asyncio.timeout(20):
            assert b"/elsewhere" in await asked
        assert await bot.stop() == 0
        starting.cancel()


async def test_a_token_that_was_reset_meanwhile_is_one_sentence(
    bot: BotProcess, discord: Playground
) -> None:
    await bot.start()
    await discord.reset_token()
    assert await until_ended(bot) == 2
    assert "does not accept DISCORD_TOKEN" in bot.log()


async def test_an_address_that_is_no_discord_is_one_sentence(bot: BotProcess) -> None:
    bot.environment["EASEL_DISCORD_API_BASE"] = f"{bot.discord.api_base}/nothing"
    with pytest.raises(RuntimeError, match="EASEL_DISCORD_API_BASE"):
        await bot.start()
    assert await until_ended(bot) == 2


async def test_jobs_that_cannot_be_read_are_one_sentence(
    discord: Playground, tmp_path: Path
) -> None:
    bot = BotProcess(discord, tmp_path, EASEL_ENGINE_COMMAND=f"{sys.executable} -c pass")
    async with Database.open(bot.data_dir) as db:
        await JobTable(db, PictureFiles(bot.data_dir / "pictures")).add(
            submission("1"), cost=1.0, limits=NO_LIMITS
        )
        async with db.transaction() as tx:
            await tx.rows("UPDATE jobs SET request = '{}'")
    with contextlib.suppress(RuntimeError):  # it may have been on the gateway already
        await bot.start()
    assert await until_ended(bot) == 2
    assert bot.log().splitlines()[-1].startswith("easel: The jobs of the last run cannot be read")


async def test_one_reader_delivers_what_the_run_before_had_left(
    bot: BotProcess, discord: Playground
) -> None:
    guild = discord.guild("Studio")
    guild.channel("art")
    ana = guild.member("Ana")
    await bot.start()
    discord.faults = plan = FaultPlan()
    plan.plan("POST", "^/channels/.*/messages$", Reset(), times=1000)
    tried = asyncio.Event()
    discord.recorder.listeners.append(lambda record: record.get("status") == 0 and tried.set())
    await (await ana.slash("imagine", prompt="a red circle")).acknowledged()
    async with asyncio.timeout(20):
        await tried.wait()
    assert await bot.stop() == 0
    discord.faults = FaultPlan()
    already = len(list(discord.recorder.of("request", path="/channels/{channel_id}/messages")))
    await bot.start()
    result = await ana.place.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=20)
    again = await ana.slash("imagine", prompt="a blue square")
    await again.acknowledged()
    await ana.place.wait_for(lambda m: m.attachments, after=result, timeout_s=20)
    sent = list(discord.recorder.of("request", path="/channels/{channel_id}/messages"))
    assert len(sent) - already == 2
