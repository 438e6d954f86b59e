"""`kill -9` of the engine or of the bot, with 4 jobs running and 16 waiting, loses and doubles nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable

from playground import Message, Person
from tests.checker.watched_bot import WatchedBot

People = Callable[[int], list[Person]]
JOBS = 20


def prompts_delivered(bot: WatchedBot) -> Counter[str]:
    """How often the picture of each prompt ("job 7 ") was posted."""
    messages: list[Message] = [
        message
        for guild in bot.discord.guilds
        for channel in guild.channels
        for message in channel.messages
        if message.attachments and message.mentions
    ]
    return Counter(f"job {n}" for n in range(JOBS) for m in messages if f"job {n} " in m.content)


async def submit_all(people: list[Person]) -> None:
    """20 jobs of 5 people, all acknowledged; they run until `let_go`."""
    for number in range(JOBS):
        person = people[number % len(people)]
        invocation = await person.slash("imagine", prompt=f"job {number} . engine:hold")
        await invocation.acknowledged()


def let_go(bot: WatchedBot) -> None:
    (bot.data_dir.parent / "engine" / "go").touch()


async def until_running(bot: WatchedBot, count: int) -> None:
    """Waits until so many status lines show a bar."""
    [guild] = bot.discord.guilds
    [channel] = guild.channels

    def running(_: Message) -> bool:
        return sum("Stop" in m.buttons for m in channel.messages) >= count

    await channel.wait_for(running, timeout_s=30)


async def until_all_delivered(bot: WatchedBot) -> None:
    [guild] = bot.discord.guilds
    [channel] = guild.channels
    await channel.wait_for(lambda _: prompts_delivered(bot).total() >= JOBS, timeout_s=60)
    for message in channel.messages:
        # The status line goes last, after the delivery is in the database.
        if not (message.attachments and message.mentions):
            await channel.wait_deleted(message)
    assert await bot.stop() == 0
    assert prompts_delivered(bot) == Counter({f"job {n}": 1 for n in range(JOBS)})
    with sqlite3.connect(bot.data_dir / "easel.db") as database:
        states = dict(database.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
        undelivered = database.execute("SELECT count(*) FROM jobs WHERE delivered_at IS NULL")
        assert undelivered.fetchone() == (0,)
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert states == {"rendered": JOBS}


async def test_engine_killed_while_jobs_run_and_wait(bot: WatchedBot, people: People) -> None:
    members = people(5)
    await bot.start()
    await submit_all(members)
    await until_running(bot, 4)
    engine = bot.engine()
    assert engine is not None
    engine.kill()
    let_go(bot)
    await until_all_delivered(bot)
    assert "engine" in bot.log()


async def test_bot_killed_while_jobs_run_and_wait(bot: WatchedBot, people: People) -> None:
    members = people(5)
    await bot.start()
    await submit_all(members)
    await until_running(bot, 4)
    engine = bot.engine()
    assert engine is not None
    await bot.kill()
    # The engine ends by itself when the bot is gone.
    await asyncio.to_thread(engine.wait, 10)
    let_go(bot)
    await bot.start()
    await until_all_delivered(bot)


async def test_stop_keeps_waiting_jobs_for_the_next_start(bot: WatchedBot, people: People) -> None:
    members = people(5)
    await bot.start()
    await submit_all(members)
    assert await bot.stop() == 0
    let_go(bot)
    await bot.start()
    await until_all_delivered(bot)
