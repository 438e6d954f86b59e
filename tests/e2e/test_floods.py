"""Floods of commands, by one person and by many, and ways round the limits: told politely, others served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from cli.rehearsal import BotProcess
from playground import Message, Person, Playground

People = Callable[[int], list[Person]]

FLOOD = 30
MINE = 4  # jobs of one person
QUEUE = 12  # jobs of all


async def ask_all(people: list[Person], count: int, prompt: str) -> list[Message]:
    """All at the same time; returns the answers."""

    async def ask(number: int) -> Message:
        person = people[number % len(people)]
        return await (await person.slash("imagine", prompt=f"{prompt} {number}")).response()

    return list(await asyncio.gather(*map(ask, range(count))))


def lines_and_refusals(answers: list[Message]) -> tuple[list[Message], list[str]]:
    lines = [answer for answer in answers if {"Cancel", "Stop"} & set(answer.buttons)]
    refusals = [answer for answer in answers if answer not in lines]
    assert all(answer.is_ephemeral for answer in refusals)
    return lines, [answer.content for answer in refusals]


def is_polite(text: str) -> bool:
    return 20 < len(text) < 300 and text[0].isupper() and text.rstrip().endswith(".")


def let_go(bot: BotProcess) -> None:
    (bot.data_dir.parent / "engine" / "go").touch()


async def test_flood_by_one_person_is_limited_and_others_are_served(
    bot: BotProcess, people: People
) -> None:
    ana, ben = people(2)
    bot.environment |= {"EASEL_MAX_WAITING_PER_PERSON": str(MINE)}
    await bot.start()
    lines, refusals = lines_and_refusals(await ask_all([ana], FLOOD, "flood engine:hold"))
    assert len(lines) == MINE
    assert len(refusals) == FLOOD - MINE
    assert all(is_polite(text) and f"{MINE}" in text for text in refusals), refusals[0]
    let_go(bot)
    await ben.slash("imagine", prompt="a quiet fox")
    fox = await ben.place.wait_for(lambda m: m.attachments and m.pings(ben.user), timeout_s=60)
    assert "a quiet fox" in fox.content


async def test_flood_by_many_fills_the_queue_and_no_more(bot: BotProcess, people: People) -> None:
    crowd = people(10)
    bot.environment |= {"EASEL_MAX_QUEUE_LENGTH": str(QUEUE)}
    await bot.start()
    lines, refusals = lines_and_refusals(await ask_all(crowd, FLOOD, "flood engine:hold"))
    assert len(lines) == QUEUE
    assert len(refusals) == FLOOD - QUEUE
    assert all(is_polite(text) for text in refusals), refusals[0]
    let_go(bot)
    for line in lines:
        await crowd[0].place.wait_deleted(line, timeout_s=60)
    later = await crowd[0].slash("imagine", prompt="a late fox")
    assert {"Cancel", "Stop"} & set((await later.response()).buttons)


async def test_presses_without_end_are_limited_as_commands_are(
    bot: BotProcess, people: People
) -> None:
    ana, ben = people(2)
    bot.environment |= {"EASEL_PER_MINUTE": "5"}
    await bot.start()
    await ana.slash("imagine", prompt="a fox")
    fox = await ana.place.wait_for(lambda m: m.attachments and m.pings(ana.user), timeout_s=60)

    async def press() -> Message:
        return await (await ana.press(fox, "Reroll")).response()

    answers = list(await asyncio.gather(*(press() for _ in range(FLOOD))))
    lines, refusals = lines_and_refusals(answers)
    assert len(lines) == 4  # and the first command
    assert all(20 < len(text) < 300 for text in refusals), refusals[0]
    assert all("<t:" in text for text in refusals), refusals[0]  # when to try again
    assert await accepted(ben)


async def accepted(person: Person, **options: object) -> bool:
    answer = await (await person.slash("imagine", options, prompt="a fox")).response()
    if answer.is_ephemeral:
        assert "You have used" in answer.content
    return not answer.is_ephemeral


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_allowance_is_one_for_all_servers_and_dms(
    bot: BotProcess, discord: Playground, is_restarted: bool
) -> None:
    bot.environment |= {"EASEL_DAILY_ALLOWANCE": "3"}
    home, other = discord.guild("Studio"), discord.guild("Gallery")
    places = [home.channel("art"), other.channel("art")]
    ana = home.member("Ana")
    other.member(ana)
    ben = home.member("Ben").go(places[0])
    await bot.start()
    for place in (*places, ana.dm):
        assert await accepted(ana.go(place))
    if is_restarted:
        await bot.kill()
        await bot.start()
    for place in (*places, ana.dm):
        assert not await accepted(ana.go(place))
    assert await accepted(ben)
