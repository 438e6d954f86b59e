"""Who is erased while an answer or a result is on its way leaves neither of them in Discord."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import pytest

from cli.rehearsal import BotProcess
from playground import Person, Playground
from playground.faults import Asked, Fault, Phase, no_faults

People = Callable[[int], list[Person]]
Wanted = Literal["line", "result"]


class Held:
    """A hook that holds one request until it is told to let it go."""

    def __init__(self, wanted: Wanted, phase: Phase) -> None:
        self.wanted, self.phase = wanted, phase
        self.came, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, asked: Asked, phase: Phase) -> Fault | None:
        if phase == self.phase and not self.came.is_set() and self.is_it(asked):
            self.came.set()
            await self.go.wait()
        return None

    def is_it(self, asked: Asked) -> bool:
        if self.wanted == "line":
            return asked.path.endswith("/callback")
        return str((asked.body or {}).get("nonce")).endswith(":r")


async def erase(person: Person) -> None:
    """Presses the button that does it, and returns when it is done."""
    question = await (await person.slash("privacy delete")).response()
    pressed = await person.press(question, "Delete everything")
    await pressed.acknowledged()


@pytest.mark.parametrize("phase", [pytest.param("before", marks=pytest.mark.faults), "after"])
@pytest.mark.parametrize("wanted", ["line", "result"])
async def test_what_is_on_its_way_during_an_erasure_is_deleted(
    bot: BotProcess, discord: Playground, people: People, wanted: Wanted, phase: Phase
) -> None:
    ana, ben = people(2)
    await bot.start()
    discord.faults = held = Held(wanted, phase)
    prompt = "a red circle engine:hold" if wanted == "line" else "a red circle"
    invocation = await ana.slash("imagine", prompt=prompt)
    async with asyncio.timeout(30):
        await held.came.wait()
        await erase(ana)
    held.go.set()
    discord.faults = no_faults
    line = await invocation.response()
    if line is not None:
        await ana.place.wait_deleted(line, timeout_s=30)
    if wanted == "result":
        deleted = asyncio.create_task(ana.place.wait_for(lambda m: m.attachments, timeout_s=30))
        await ana.place.wait_deleted(await deleted, timeout_s=30)
    his = await ben.slash("imagine", prompt="a blue square")
    status = await his.response()
    result = await ben.place.wait_for(lambda m: m.attachments and m.pings(ben.user), timeout_s=30)
    await ben.place.wait_deleted(status, timeout_s=30)
    assert ben.place.messages == [result]
    assert "Traceback" not in bot.log(), bot.log()
