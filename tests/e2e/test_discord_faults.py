"""Whatever Discord does to a request, the owner gets exactly one message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.rehearsal import BotProcess
from playground import FaultPlan, Message, Person, Playground, Reset, Status
from playground.faults import Fault, Phase

People = Callable[[int], list[Person]]
SEND = r"^/channels/\{channel_id\}/messages$"


async def result_of(person: Person, after: Message | None = None) -> Message:
    """Waits for the picture, and until everything about its job is settled: the status line goes."""
    invocation = await person.slash("imagine", prompt="a red circle")
    status = await invocation.response()
    result = await person.place.wait_for(
        lambda m: m.attachments and m.pings(person.user), timeout_s=30, after=after
    )
    await person.place.wait_deleted(status, timeout_s=30)
    return result


@pytest.mark.parametrize(
    ("fault", "phase"),
    [
        (Status(500), "before"),
        (Status(502), "after"),
        (Reset(), "before"),
        (Reset(), "after"),
    ],
    ids=["500 before", "502 after it was stored", "reset before", "reset after it was stored"],
)
async def test_a_failed_send_leaves_one_message(
    bot: BotProcess, discord: Playground, people: People, fault: Fault, phase: Phase
) -> None:
    [ana] = people(1)
    await bot.start()
    discord.faults = plan = FaultPlan()
    plan.plan("POST", SEND, fault, phase=phase)
    result = await result_of(ana)
    assert ana.place.messages == [result]


@pytest.mark.parametrize(
    ("fault", "phase"),
    [(Status(502), "after"), (Reset(), "before"), (Reset(), "after")],
    ids=["502 after it was stored", "reset before", "reset after it was stored"],
)
async def test_an_answer_that_fails_leaves_no_status_line(
    bot: BotProcess, discord: Playground, people: People, fault: Fault, phase: Phase
) -> None:
    [ana] = people(1)
    await bot.start()
    discord.faults = plan = FaultPlan()
    plan.plan("POST", "/callback$", fault, phase=phase)
    result = await result_of(ana)
    assert ana.place.messages == [result]


async def test_the_same_command_delivered_twice_makes_one_job(
    bot: BotProcess, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    invocation = await ana.slash("imagine", prompt="a red circle")
    invocation.redeliver()
    status = await invocation.response()
    result = await ana.place.wait_for(lambda m: m.attachments, timeout_s=30)
    await ana.place.wait_deleted(status)
    again = await result_of(ana, after=result)  # a second job would be done before this one
    assert ana.place.messages == [result, again]


async def test_a_button_pressed_after_a_restart_works_once(bot: BotProcess, people: People) -> None:
    ana, ben = people(2)
    await bot.start()
    result = await result_of(ana)
    assert await bot.stop() == 0
    await bot.start()
    pressed = await ben.press(result, "Reroll")
    pressed.redeliver()
    status = await pressed.response()
    again = await ben.place.wait_for(lambda m: m.attachments and m.pings(ben.user), timeout_s=30)
    await ben.place.wait_deleted(status)
    after = await result_of(ben, after=again)  # a second job would be done before this one
    assert ben.place.messages == [result, again, after]


async def test_a_lost_connection_is_resumed_and_nothing_is_missed(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    await discord.gateway.drop()
    await discord.ready()
    assert (await result_of(ana)).attachments


async def test_a_channel_that_is_gone_leads_to_a_direct_message(
    bot: BotProcess, people: People
) -> None:
    [ana] = people(1)
    await bot.start()
    invocation = await ana.slash("imagine", prompt="a red circle engine:hold")
    await invocation.acknowledged()
    ana.place.delete()
    (bot.data_dir.parent / "engine" / "go").touch()
    result = await ana.dm.wait_for(lambda m: m.attachments, timeout_s=30)
    assert result.pings(ana.user)

    ana.go(ana.dm)
    listed = await (await ana.slash("history list")).response()
    assert f"/@me/{ana.dm.id}/{result.id})" in listed.embeds[0]["description"]
    shown = await (await ana.slash("history show", picture="red circle")).response()
    pressed = await ana.press(shown, "Delete")
    await ana.dm.wait_deleted(result)
    await pressed.followup()  # or the bot is stopped in the middle of its answer
