"""The running bot when its disk is full for a while, after a restart with a long queue, and restored."""

from __future__ import annotations

import asyncio
import functools
import shutil
import signal
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from cogs._errors import NO_STORAGE
from playground import Message, Person, Playground
from playground.errors import NoResponse
from tests.checker.check import check
from tests.checker.evidence import quick_check
from tests.checker.watched_bot import WatchedBot
from tests.faults.conftest import bot_settings
from tests.faults.crowd import is_accepted
from tests.faults.killing import FAILING_BOT, let_go
from tests.faults.points import ERASURE, Point

People = Callable[[int], list[Person]]

ROOM_BYTES = 4096  # of a file: the database's log is larger
WAITING, ASKERS = 500, 25


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """The operating system lets no file of the process grow, as with a user's quota."""
    process = psutil.Process(pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (ROOM_BYTES, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


async def test_full_disk_delays_results_and_refuses_plainly(
    bot: WatchedBot, people: People
) -> None:
    ana, ben = people(2)
    await bot.start()
    held = await ana.slash("imagine", prompt="a fox engine:hold")
    await held.wait_for(lambda m: "Stop" in m.buttons)
    with full_disk(bot.pid):
        let_go(bot)
        for command, options in (("imagine", {"prompt": "a cat"}), ("style", {"name": "none"})):
            answer = await (await ben.slash(command, options)).response()
            assert answer.is_ephemeral
            assert answer.content == NO_STORAGE, command
        assert not [m for m in ana.place.messages if m.attachments]
    fox = await ana.place.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=90)
    assert "a fox" in fox.content
    await (await ben.slash("imagine", prompt="a dog")).acknowledged()
    await ben.place.wait_for(lambda m: m.attachments and m.pings(ben.user), timeout_s=60)
    await check(bot, has_tracebacks=True)


@pytest.mark.faults
@pytest.mark.parametrize("point", ERASURE, ids=str)
async def test_erasure_that_was_killed_is_finished_by_the_next_start(
    bot: WatchedBot, people: People, point: Point
) -> None:
    """With a picture in the channel and a job that runs; another person's picture stays."""
    ana, ben = people(2)
    plain, bot.program = bot.program, [sys.executable, str(FAILING_BOT), point.name, "1"]
    await bot.start()
    pictures = []
    for person, prompt in ((ana, "a zanzibarquux"), (ben, "a dog")):
        line = await (await person.slash("imagine", prompt=prompt)).response()
        wanted = functools.partial(is_result_of, person)
        pictures.append(await person.place.wait_for(wanted, timeout_s=60))
        await person.place.wait_deleted(line, timeout_s=60)
    held = await ana.slash("imagine", prompt="zanzibarquux again engine:hold")
    line = await held.wait_for(lambda m: "Stop" in m.buttons, timeout_s=60)
    question = await (await ana.slash("privacy delete")).response()
    await ana.press(question, "Delete everything")
    assert await bot.killed_itself() == -signal.SIGKILL
    bot.program = plain
    await bot.start()
    for message in (pictures[0], line):
        await ana.place.wait_deleted(message, timeout_s=60)
    info = await (await ben.press(pictures[1], "Info")).response()
    assert "a dog" in str(info.embeds)
    await check(bot)
    left = [
        path
        for path in bot.data_dir.rglob("*")
        if path.is_file() and b"zanzib" in path.read_bytes()
    ]
    assert left == []


def is_result_of(person: Person, message: Message) -> bool:
    return bool(message.attachments) and message.pings(person.user)


@pytest.mark.faults
async def test_restart_with_a_long_queue_keeps_all_jobs_in_order(
    bot: WatchedBot, people: People
) -> None:
    """500 jobs of 25 people wait when the bot is killed; the start is not longer for it."""
    askers = people(ASKERS)
    bot.environment |= {"EASEL_MAX_WAITING_PER_PERSON": "20"}
    await bot.start()
    for number in range(WAITING):
        asking = askers[number % ASKERS].slash("imagine", prompt=f"job {number} engine:hold")
        assert await is_accepted(asking)
    await bot.kill()
    clock = asyncio.get_running_loop().time
    began = clock()
    await bot.start()
    on_gateway_s = clock() - began
    last = await (await askers[0].slash("queue view")).response()
    print(f"\non the gateway with {WAITING} jobs after {on_gateway_s:.1f} s")  # noqa: T201
    assert last.is_ephemeral
    let_go(bot)
    for person in askers:
        mine = f"<@{person.id}>"
        await person.place.wait_for(
            lambda _, mine=mine, person=person: (
                sum(mine in m.content for m in person.place.messages if m.attachments)
                >= WAITING // ASKERS
            ),
            timeout_s=600,
        )
    await check(bot)
    with closing(sqlite3.connect(bot.data_dir / "easel.db")) as database:
        rows = database.execute(
            "SELECT owner_id, number FROM jobs WHERE state = 'rendered' ORDER BY started_at, number"
        ).fetchall()
    assert len(rows) == WAITING
    order = defaultdict(list)
    for owner_id, number in rows:
        order[owner_id].append(number)
    assert all(numbers == sorted(numbers) for numbers in order.values())


async def test_backup_of_a_busy_bot_restores_to_one_that_goes_on(
    bot: WatchedBot, discord: Playground, people: People, tmp_path: Path
) -> None:
    askers = people(4)
    owner = discord.operator.go(askers[0].place)
    await bot.start()
    waiting = await askers[0].slash("imagine", prompt="a fox engine:hold")
    await waiting.acknowledged()
    made = asyncio.Event()

    async def keep_asking(person: Person) -> None:
        with suppress(NoResponse):
            while not made.is_set():
                await (await person.slash("imagine", prompt="a busy cat")).response()

    async with asyncio.TaskGroup() as group:
        for person in askers[1:]:
            group.create_task(keep_asking(person))
        before = await askers[1].place.wait_for(lambda m: m.attachments, timeout_s=60)
        asked = await owner.slash("admin ops backup")
        await asked.wait_for(lambda m: "easel-" in m.content, timeout_s=60)
        made.set()
    await bot.kill()
    (backup,) = bot.data_dir.glob("backups/easel-*.db")
    folder = tmp_path / "restored"
    folder.mkdir()
    restored = WatchedBot(discord, folder, **bot_settings(folder))
    restored.data_dir.mkdir()
    shutil.copytree(bot.data_dir / "pictures", restored.data_dir / "pictures")
    shutil.copy(backup, restored.data_dir / "easel.db")
    assert quick_check(restored.data_dir) == "ok"
    try:
        await restored.start()
        let_go(restored)
        fox = await askers[0].place.wait_for(
            lambda m: m.attachments and "a fox" in m.content, timeout_s=60
        )
        assert fox.pings(askers[0].user)
        info = await (await askers[1].press(before, "Info")).response()
        assert "a busy cat" in str(info.embeds)
        assert await is_accepted(askers[2].slash("imagine", prompt="a new dog"))
        await askers[2].place.wait_for(
            lambda m: m.attachments and "a new dog" in m.content, timeout_s=60
        )
        assert await restored.stop() == 0
    finally:
        if restored.is_running():
            await restored.kill()
    assert quick_check(restored.data_dir) == "ok"
