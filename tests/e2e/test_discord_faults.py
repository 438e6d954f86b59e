"""Whatever Discord does to a request, the owner gets exactly one message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from cli.rehearsal import BotProcess
from playground import FaultPlan, Limited, Message, Person, Playground, Reset, Status
from playground.faults import Asked, Fault, Phase
from playground.model import Json

People = Callable[[int], list[Person]]
SEND = r"^/channels/\{channel_id\}/messages$"
ANSWER = r"/callback$"
ORIGINAL = r"^/webhooks/.*/messages/"
LINE = r"^/channels/\{channel_id\}/messages/\{message_id\}$"


async def result_of(person: Person, after: Message | None = None) -> Message:
    """Waits for the picture, and until everything about its job is settled: the status line goes."""
    invocation = await person.slash("imagine", prompt="a red circle")
    status = await invocation.response()
    result = await person.place.wait_for(
        lambda m: m.attachments and m.pings(person.user), timeout_s=30, after=after
    )
    await person.place.wait_deleted(status, timeout_s=30)
    return result


async def until_edited(discord: Playground, message: Message) -> None:
    """Waits until the bot knows that its edit has turned an answer into the result."""
    done = asyncio.Event()

    def look(record: Json) -> None:
        if record["kind"] != "request" or record["method"] != "PATCH" or record["status"] != 200:
            return
        is_result = "reroll" in str(record["request"]["components"])
        if is_result and record["response"]["id"] == str(message.id):
            done.set()

    discord.recorder.listeners.append(look)
    for record in discord.recorder.records:
        look(record)
    async with asyncio.timeout(30):
        await done.wait()


@pytest.mark.parametrize("phase", ["before", "after"], ids=["not stored", "stored"])
@pytest.mark.parametrize("path", [SEND, ANSWER], ids=["send", "answer"])
async def test_a_request_that_fails_leaves_one_message(
    bot: BotProcess, discord: Playground, people: People, path: str, phase: Phase
) -> None:
    [ana] = people(1)
    await bot.start()
    results: list[Message] = []
    for fault in (Status(500), Status(502), Status(503), Status(504), Reset()):
        discord.faults = plan = FaultPlan()
        plan.plan("POST", path, fault, phase=phase)
        results.append(await result_of(ana, after=results[-1] if results else None))
        assert plan.is_done, fault
    assert ana.place.messages == results


@pytest.mark.parametrize("phase", ["before", "after"], ids=["not stored", "stored"])
async def test_a_line_says_cancelled_also_when_the_press_is_not_answered(
    bot: BotProcess, discord: Playground, people: People, phase: Phase
) -> None:
    [ana] = people(1)
    await bot.start()
    for fault in (Status(500), Reset()):
        asked = await ana.slash("imagine", prompt="a red circle engine:hold")
        line = await asked.response()
        discord.faults = plan = FaultPlan()
        plan.plan("POST", ANSWER, fault, phase=phase, times=5)  # discord.py tries so often
        await ana.press(line, "Cancel")
        said = await ana.place.wait_for(
            lambda m, line=line: m.id == line.id and "ancelled" in m.content, timeout_s=30
        )
        assert not said.buttons
        discord.faults = FaultPlan()


@pytest.mark.parametrize("phase", ["before", "after"], ids=["not stored", "stored"])
async def test_a_private_result_whose_edit_fails_is_shown_once(
    bot: BotProcess, discord: Playground, people: People, phase: Phase
) -> None:
    [ana] = people(1)
    await bot.start()
    for number, fault in enumerate((Status(500), Status(503), Status(504), Reset())):
        discord.faults = plan = FaultPlan()
        plan.plan("PATCH", ORIGINAL, fault, phase=phase)
        asked = await ana.slash("imagine", prompt=f"a red circle {number}", private=True)
        result = await asked.wait_for(lambda m: m.attachments, timeout_s=30)
        assert result.is_ephemeral
        await until_edited(discord, result)
        assert plan.is_done, fault
        await (await ana.slash("history list")).response()  # then it is noted as delivered, too
    assert ana.place.messages == ana.dm.messages == []


@pytest.mark.parametrize(
    "fault",
    [Status(503), Reset(), Limited(0.05, via=False), Status(403)],
    ids=["503", "reset", "Cloudflare's 429", "Cloudflare's 403"],
)
async def test_a_status_line_that_cannot_be_deleted_at_once_is_deleted_later(
    bot: BotProcess, discord: Playground, people: People, fault: Fault
) -> None:
    [ana] = people(1)
    await bot.start()
    discord.faults = plan = FaultPlan()
    plan.plan("DELETE", LINE, fault, times=3)
    result = await result_of(ana)
    assert ana.place.messages == [result]
    assert plan.is_done


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
    missed = await ana.slash("imagine", prompt="a red circle")  # comes with the resumed session
    line = await missed.response()
    first = await ana.place.wait_for(lambda m: m.attachments, timeout_s=30)
    await ana.place.wait_deleted(line, timeout_s=30)
    second = await result_of(ana, after=first)
    assert ana.place.messages == [first, second]


async def test_an_answer_that_had_to_be_deferred_leaves_no_status_line(
    bot: BotProcess, discord: Playground, people: People
) -> None:
    """Whoever remixes a linked picture waits for it alone; the line of the public job is there, too."""
    [ana] = people(1)
    await bot.start()
    first = await result_of(ana)
    is_deferred = asyncio.Event()

    async def show_the_source_late(asked: Asked, phase: Phase) -> Fault | None:
        if asked.path.endswith("/callback") and phase == "after":
            is_deferred.set()
        if asked.method == "GET" and phase == "before":
            await is_deferred.wait()
        return None

    discord.faults = show_the_source_late
    link = f"https://discord.com/channels/{first.guild_id}/{first.channel_id}/{first.id}"
    asked = await ana.slash("remix", prompt="a blue circle", source=link)
    line = await asked.response()
    assert line.is_ephemeral
    await ana.place.wait_for(lambda m: m.attachments, timeout_s=30, after=line)
    await ana.place.wait_deleted(line, timeout_s=30)
