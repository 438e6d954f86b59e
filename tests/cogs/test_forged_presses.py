"""Buttons with altered ids: nobody gets at another person's private picture or job, or changes it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cogs import _buttons
from cogs._bot import ACTIONS
from tests.cogs.acts import press
from tests.cogs.conftest import SOON_S, World

SECRET = "zanzibarquux"
OF_ANN = {
    "jobs": "owner_id", "generations": "owner_id", "stars": "person_id", "people": "id",
    "poses": "owner_id", "drafts": "owner_id", "arrivals": "owner_id", "charges": "owner_id",
}  # fmt: skip


async def rows_of(world: World, person_id: int) -> dict[str, list[tuple[Any, ...]]]:
    db = world.parts.jobs._db
    return {
        table: [tuple(row) for row in await db.rows(f"SELECT * FROM {table} WHERE {column} = ?", (person_id,))]
        for table, column in OF_ANN.items()
    }  # fmt: skip


@pytest.fixture
async def private_id(world: World) -> str:
    """Ann's private picture, which only she has seen."""
    await world.ann.slash(world.channel, "imagine", prompt=f"a {SECRET}", private=True)
    (row,) = await world.parts.jobs._db.rows("SELECT id FROM jobs")
    job_id = str(row["id"])
    async with asyncio.timeout(SOON_S):
        while (await world.parts.jobs.get(job_id)).delivered_at is None:  # noqa: ASYNC110
            await asyncio.sleep(
                0.01
            )  # the last that is done about it happens in the database alone
    return job_id


def said(result: Any) -> str:
    """All that the presser can read of the answers."""
    messages = [result.response, *result.followups]
    return " ".join(
        f"{m.content} {[embed.to_dict() for embed in m.embeds]} {[a.filename for a in m.attachments]}"
        for m in messages
        if m is not None
    ) + str(getattr(result, "modal", ""))


async def test_no_action_gets_at_a_private_picture_of_another(
    world: World, private_id: str
) -> None:
    before = await rows_of(world, world.ann.id)
    for action in sorted(ACTIONS):
        if not world.results():  # some presses delete the message
            await world.ben.slash(world.channel, "imagine", prompt="of ben")
        own = await world.result()
        forged = _buttons.Press(private_id, action, 0, "all").custom_id
        answer = await press(world, world.ben, own, forged)
        assert SECRET not in said(answer), action
        assert await rows_of(world, world.ann.id) == before, action
    assert SECRET not in " ".join(message.content for message in world.messages())


async def test_owner_gets_at_the_same_by_the_same_buttons(world: World, private_id: str) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="in public")
    public = await world.result()
    answer = await press(world, world.ann, public, _buttons.Press(private_id, "info").custom_id)
    assert SECRET in said(answer)


async def test_published_picture_is_for_everybody(world: World, private_id: str) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="in public")
    public = await world.result()
    await press(world, world.ann, public, _buttons.Press(private_id, "publish").custom_id)
    shown = await world.line(SECRET)
    answer = await world.ben.click(shown, label="Info")
    assert SECRET in said(answer)
