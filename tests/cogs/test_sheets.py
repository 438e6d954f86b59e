"""`/styles try`: several jobs, asked about, that come as one labelled picture."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from simcord.results import InteractionResult

from cogs import _sheet
from engine import sheets
from engine.errors import RequestError
from engine.types import Job, JobState
from tests.cogs.conftest import World, labels
from tests.cogs.test_styles import MIXES, put, registry, said

CAT = "a cat"


async def sheet_of(world: World, count: int = 1) -> Any:
    """The newest sheet, once there are so many and its status line is gone."""

    def seen() -> list[Any]:
        found = [m for m in world.messages() if "the same seed" in m.content]
        rest = [m for m in world.messages() if set(labels(m)) & {"Cancel", "Stop"}]
        return found if len(found) == count and not rest else []

    return (await world.until(seen, f"{count} sheets"))[-1]


async def jobs(world: World) -> list[Job]:
    """The jobs of the newest sheet."""
    rows = await world.parts.adapters._db.rows("SELECT origin FROM jobs ORDER BY number DESC")
    key = sheets.batch_of(rows[0]["origin"])
    assert key is not None
    return await world.parts.jobs.of_batch(key)


async def attempt(world: World, **options: Any) -> InteractionResult:
    return await world.ann.slash(world.channel, "styles try", **{"prompt": CAT, **options})


async def test_a_small_sheet_is_made_at_once_and_comes_as_one_message(world: World) -> None:
    neon, sepia = await put(world, "neon", "sepia")
    await attempt(world, styles="none, neon, sepia:0.4", seed=7)
    message = await sheet_of(world)
    assert "**a cat**" in message.content
    assert labels(message) == ["Use neon:1", "Use sepia:0.4", "Info"]
    (file,) = message.attachments
    assert file.description == "a cat, drawn in: no style; neon:1; sepia:0.4"
    made = await jobs(world)
    assert [[a.sha256 for a in one.request.adapters] for one in made] == [
        [],
        [neon.sha256],
        [sepia.sha256],
    ]
    assert {one.request.seed for one in made} == {7}
    assert all(one.delivered_at is not None for one in made)
    assert [m for m in world.messages() if "Reroll" in labels(m)] == []
    used = await world.ben.click(message, label="Use sepia:0.4")
    assert "Your style is **sepia:0.4**" in said(used)


async def test_a_large_sheet_is_made_after_its_cost_was_confirmed(world: World) -> None:
    await put(world, "neon", "sepia")
    asked = await attempt(world, styles="neon, sepia", weights="0.3, 0.6, 1")
    assert asked.ephemeral
    assert "That is 6 pictures. They cost 6 of the 50 that you have left today." in said(asked)
    assert not [m for m in world.messages() if labels(m)]
    await world.ann.click(asked.response, label="Make 6 pictures")
    await sheet_of(world)
    made = await jobs(world)
    assert [one.request.adapters[0].weight for one in made] == [0.3, 0.6, 1.0] * 2
    assert sum(one.cost for one in made) == pytest.approx(6)
    again = await world.ann.click(asked.response, label="Make 6 pictures")
    assert "too old" in said(again)
    assert len([m for m in world.messages() if "the same seed" in m.content]) == 1


async def test_a_sheet_outlives_a_restart(world: World) -> None:
    await put(world, "neon", "sepia")
    await attempt(world, prompt="a cat engine:hold", styles="neon, sepia")
    await world.stop()
    world.go()
    await world.start()
    message = await sheet_of(world)
    assert len(message.attachments) == 1
    assert {one.state for one in await jobs(world)} == {JobState.RENDERED}


async def test_a_private_sheet_is_seen_by_its_owner_alone(world: World) -> None:
    await put(world, "neon", "sepia")
    answer = await attempt(world, styles="neon, sepia", private=True)
    assert answer.ephemeral

    def seen() -> bool:
        return answer.response is not None and "the same seed" in str(answer.response.content)

    await world.until(seen, "the sheet in place of the status line")
    assert answer.response is not None
    assert len(answer.response.attachments) == 1
    assert world.messages() == []


async def test_a_sheet_is_sent_once_when_the_answer_to_it_is_lost(world: World) -> None:
    await put(world, "neon", "sepia")
    world.env.inject_error("POST", "/channels/*/messages", status=502, times=2)
    await attempt(world, styles="neon, sepia")
    await sheet_of(world)
    nonces = {
        str(request.json.get("nonce"))
        for request in world.env.http_requests
        if request.method == "POST"
        and request.path.endswith("/messages")
        and isinstance(request.json, dict)
    }
    first = (await jobs(world))[0]
    assert nonces == {f"{first.id}:r"}


async def test_cancel_ends_all_of_it_and_gives_the_cost_back(world: World) -> None:
    await put(world, "neon", "sepia")
    await attempt(world, prompt="a cat engine:hold", styles="neon, sepia")
    line = await world.until(
        lambda: next((m for m in world.messages() if set(labels(m)) & {"Cancel", "Stop"}), None)
    )
    await world.ann.click(line, label=labels(line)[0])
    assert {one.state for one in await jobs(world)} == {JobState.CANCELLED}
    usage = await world.parts.ledger.usage(world.ann.id, world.parts.limits)
    assert usage.used_today == 0


async def test_when_nothing_could_be_made_one_apology_comes(world: World) -> None:
    await put(world, "neon", "sepia")
    await attempt(world, prompt="a cat engine:fail", styles="neon, sepia")
    message = await world.line("could not be made")
    assert "The cost was given back." in message.content
    assert len([m for m in world.messages() if "given back" in m.content]) == 1


@pytest.mark.parametrize(
    ("pieces", "weights", "words"),
    [
        (["neon"], [], "at least two"),
        (["neon", "a", "b", "c"], [0.2, 0.4, 1], "That is 12 pictures, and a sheet takes 9"),
        (["neon", "noen"], [], "Did you mean neon?"),
    ],
)
def test_sheets_that_cannot_be_made(pieces: list[str], weights: list[float], words: str) -> None:
    with pytest.raises(RequestError) as caught:
        _sheet.cells(registry("neon", "a", "b", "c"), pieces, weights, {})
    assert words in str(caught.value)


def test_cells_are_styles_by_weights_and_plain_once() -> None:
    styles = registry("neon", "sepia")
    found = _sheet.cells(styles, ["none", "neon", "dusk"], [0.5, 1.0], MIXES)
    weights = [[one.weight for one in cell] for cell in found]
    assert weights == [[], [0.5], [1.0], [0.25, 0.5], [0.5, 1.0]]
    assert _sheet.weights_of("0.3; 1,1") == [0.3, 1.0]
    with pytest.raises(RequestError, match="is no weight"):
        _sheet.weights_of("much")


def test_labels_are_drawn_into_the_sheet() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    pictures = [buffer.getvalue(), None]
    plain = _sheet._drawings.contact_sheet(pictures, 2, side=128)
    labelled = _sheet._drawings.contact_sheet(pictures, 2, ["neon:0.7", "no style"], side=128)
    assert Image.open(io.BytesIO(labelled)).size == (128 * 2 + 8, 128)
    assert plain != labelled
