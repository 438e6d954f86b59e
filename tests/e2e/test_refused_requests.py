"""Answers that come too late, tokens that expired, rate limits of every kind: one message, in the end."""

from __future__ import annotations

from collections.abc import Callable

from cli.rehearsal import BotProcess
from playground import FaultPlan, Limited, Message, Person, Playground, Refused, Status

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
