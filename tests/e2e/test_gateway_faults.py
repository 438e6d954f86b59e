"""Whatever happens to the line to Discord, commands are neither lost nor done twice; a fatal end is one sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial

import pytest

from cli.rehearsal import BotProcess
from playground import File, Message, Person, Playground, Status
from playground.faults import Asked, Fault, Phase, no_faults
from tests.cogs.cdn import photo

People = Callable[[int], list[Person]]


async def picture(person: Person, prompt: str, after: Message | None = None) -> Message:
    """Asks for a picture and waits for it, and until its status line is gone."""
    invocation = await person.slash("imagine", prompt=prompt)
    status = await invocation.response()
    result = await person.place.wait_for(
        lambda m: m.attachments and m.pings(person.user), timeout_s=30, after=after
    )
    await person.place.wait_deleted(status, timeout_s=30)
    return result


async def test_every_end_of_a_session_but_a_fatal_one_is_outlived(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    results = [await picture(ana, "a red circle")]
    gateway = discord.gateway

    for end in (
        gateway.invalidate,
        gateway.ask_reconnect,
        gateway.drop,
        partial(gateway.drop, code=1001),
        partial(gateway.drop, code=4009),  # the session timed out
    ):
        await discord.reconnected(end)
        results.append(await picture(ana, "a blue square", after=results[-1]))
    assert ana.place.messages == results


async def test_events_that_come_again_after_a_restart_do_nothing(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    first = await picture(ana, "a red circle")
    pressed = await ana.press(first, "Reroll")
    line = await pressed.response()
    second = await ana.place.wait_for(lambda m: m.attachments, timeout_s=30, after=first)
    await ana.place.wait_deleted(line, timeout_s=30)
    reply = await ana.send("a green star", reply_to=second)
    third = await ana.place.wait_for(
        lambda m: m.attachments and m.pings(ana.user), timeout_s=30, after=second
    )

    for line in (m for m in ana.place.messages if not m.attachments and m.author.bot):
        await ana.place.wait_deleted(line, timeout_s=30)

    [session] = discord.gateway.connected
    told = [p["d"] for p in session.sent if p["d"].get("id") == str(reply.id)]
    await bot.stop()
    await bot.start()
    pressed.redeliver()
    [session] = discord.gateway.connected
    session.dispatch("MESSAGE_CREATE", told[0])
    last = await picture(ana, "a black ring", after=third)  # later than any second job
    pictures = [m for m in ana.place.messages if m.attachments]
    assert pictures == [first, second, third, last]


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
async def test_fatal_end_is_one_sentence_and_keeps_the_jobs(
    bot: BotProcess, discord: Playground, people: People, code: int
) -> None:
    [ana] = people(1)
    await bot.start()
    invocation = await ana.slash("imagine", prompt="a red circle engine:hold")
    status = await invocation.response()
    await ana.place.wait_for(lambda m: "Stop" in m.buttons, timeout_s=30)
    await discord.gateway.drop(code=code)
    assert await bot.wait(30) == 2
    log = bot.log()
    assert "Traceback" not in log
    assert log.splitlines()[-1].strip()
    assert ("DISCORD_TOKEN" in log) is (code == 4004)

    (bot.data_dir.parent / "engine" / "go").touch()
    await bot.start()
    await ana.place.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=30)
    await ana.place.wait_deleted(status, timeout_s=30)


@pytest.mark.parametrize("is_on_its_way", [False, True], ids=["being made", "being sent"])
async def test_picture_of_a_bot_whose_token_was_reset_comes_with_the_new_token(
    bot: BotProcess, discord: Playground, people: People, is_on_its_way: bool
) -> None:
    [ana] = people(1)
    await bot.start()
    invocation = await ana.slash("imagine", prompt="a red circle engine:hold")
    status = await invocation.response()
    await ana.place.wait_for(lambda m: "Stop" in m.buttons, timeout_s=30)
    if is_on_its_way:

        async def reset_the_token_before_the_result(asked: Asked, phase: Phase) -> Fault | None:
            if asked.path.endswith("/messages") and phase == "before":
                discord.faults = no_faults
                await discord.reset_token()
                return Status(401)
            return None

        discord.faults = reset_the_token_before_the_result
        (bot.data_dir.parent / "engine" / "go").touch()
    else:
        await discord.reset_token()
    assert await bot.wait(30) == 2
    assert "does not accept DISCORD_TOKEN" in bot.log().splitlines()[-1]

    (bot.data_dir.parent / "engine" / "go").touch()
    await bot.start()
    result = await ana.place.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=30)
    await ana.place.wait_deleted(status, timeout_s=30)
    assert ana.place.messages == [result]


@pytest.mark.parametrize("is_upload", [False, True], ids=["a command", "a command with a picture"])
async def test_an_answer_that_is_on_its_way_at_a_fatal_end_is_noted(
    bot: BotProcess, discord: Playground, people: People, is_upload: bool
) -> None:
    [ana] = people(1)
    await bot.start()

    async def end_it_before_the_answer_is_confirmed(asked: Asked, phase: Phase) -> Fault | None:
        if asked.path.endswith("/callback") and phase == "after":
            await discord.gateway.drop(code=4013)
            with suppress(TimeoutError):  # a bot that waits for its answer does not end
                await bot.wait(1)
        return None

    discord.faults = end_it_before_the_answer_is_confirmed
    options = {"image": File(*photo())} if is_upload else {}
    invocation = await ana.slash("imagine", prompt="a red circle", **options)
    assert await bot.wait(30) == 2
    assert "Traceback" not in bot.log(), bot.log()
    discord.faults = no_faults
    status = await invocation.response()
    with closing(sqlite3.connect(bot.data_dir / "easel.db")) as database:
        noted = database.execute(
            "SELECT status_message_id FROM jobs UNION ALL SELECT message_id FROM arrivals"
        ).fetchall()
    assert noted == [(status.id,)]
    await bot.start()
    await ana.place.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=30)
    await ana.place.wait_deleted(status, timeout_s=30)
