"""Answers that come too late, tokens that expired, rate limits of every kind: one message, in the end."""

from __future__ import annotations

from collections.abc import Callable

from cli.rehearsal import BotProcess
from playground import FaultPlan, Limited, Message, Person, Playground, Refused, Status
from playground.ratelimits import DEFAULT_LIMITS

People = Callable[[int], list[Person]]

ANSWER = r"/callback$"
SEND = r"^/channels/\{channel_id\}/messages$"
TOKEN = r"^/webhooks/.*/messages/"
UNKNOWN_INTERACTION, ALREADY_ANSWERED, INVALID_TOKEN = 10062, 40060, 50027


def has_picture(person: Person) -> Callable[[Message], bool]:
    """True for a result that mentions the person."""
    return lambda m: bool(m.attachments) and m.pings(person.user)


async def test_refused_answers_lose_no_job(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    results: list[Message] = []
    for fault in (
        Refused(UNKNOWN_INTERACTION),
        Refused(ALREADY_ANSWERED),
        Status(500),
        Status(503),
        Limited(0.05),
        Limited(0.05, is_global=True),
        Limited(0.05, via=False),
    ):
        discord.faults = plan = FaultPlan()
        plan.plan("POST", ANSWER, fault, times=1)
        await ana.slash("imagine", prompt=f"a red circle {len(results)}")
        results.append(
            await ana.place.wait_for(
                has_picture(ana), timeout_s=30, after=results[-1] if results else None
            )
        )
        for line in (m for m in ana.place.messages if not m.attachments):
            await ana.place.wait_deleted(line, timeout_s=30)
    assert ana.place.messages == results


async def test_rate_limits_and_blocks_only_delay_a_result(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    last: Message | None = None
    for count, fault in enumerate(
        (Limited(0.05), Limited(0.05, is_global=True), Limited(0.05, via=False), Status(504)), 1
    ):
        discord.faults = plan = FaultPlan()
        plan.plan("POST", SEND, fault, times=2)
        status = await (await ana.slash("imagine", prompt="a red circle")).response()
        last = await ana.place.wait_for(has_picture(ana), timeout_s=30, after=last)
        await ana.place.wait_deleted(status, timeout_s=30)
        assert len(ana.place.messages) == count


async def test_private_result_whose_token_expired_comes_by_direct_message(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    discord.faults = plan = FaultPlan()
    plan.plan("PATCH", TOKEN, Refused(INVALID_TOKEN), times=1000)
    await (await ana.slash("imagine", prompt="a red circle", private=True)).response()
    result = await ana.dm.wait_for(lambda m: m.attachments, timeout_s=30)
    assert result.pings(ana.user)
    assert ana.place.messages == []


async def test_a_result_that_comes_hours_later_is_an_ordinary_message(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    status = await (await ana.slash("imagine", prompt="a red circle engine:hold")).response()
    hidden = await ana.slash("imagine", prompt="a blue circle engine:hold", private=True)
    await hidden.response()
    discord.clock.advance(6 * 3600)
    (bot.data_dir.parent / "engine" / "go").touch()
    result = await ana.place.wait_for(has_picture(ana), timeout_s=30)
    await ana.place.wait_deleted(status, timeout_s=30)
    assert ana.place.messages == [result]
    await ana.dm.wait_for(has_picture(ana), timeout_s=30)


async def test_many_results_in_one_channel_keep_to_its_rate_limit(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    discord.limits.limits.update(DEFAULT_LIMITS)
    members = people(4)
    await bot.start()
    [channel] = discord.guilds[0].channels
    for number in range(8):
        person = members[number % len(members)]
        await (await person.slash("imagine", prompt=f"picture {number}")).acknowledged()

    def are_all_there(_: Message) -> bool:
        return sum("Reroll" in message.buttons for message in channel.messages) == 8

    await channel.wait_for(are_all_there, timeout_s=60)
    assert not [r for r in discord.recorder.of("request", status=429) if "fault" not in r]
