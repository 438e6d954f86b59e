"""Results that are months old: their buttons work, or say that the picture or the style is gone."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

from cogs import _buttons, _changes
from engine.types import Generation, GenerationRequest
from storage.gallery import GONE
from storage.rows import to_text, to_time
from tests.cogs.acts import press
from tests.cogs.cdn import photo
from tests.cogs.conftest import World
from tests.cogs.test_styles import put

AGE = timedelta(days=400)


async def age(world: World) -> None:
    """Makes everything that is stored as old as that, and written by a version that knew less."""
    db = world.parts.jobs._db
    tables = ("jobs", "generations", "pictures", "charges", "adapters", "people", "stars")
    times = [
        (table, row["name"])
        for table in tables
        for row in await db.rows("SELECT name FROM pragma_table_info(?)", (table,))
        if row["name"].endswith(("_at", "_since"))
    ]
    assert len(times) > 8
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(GenerationRequest)
        if field.default in (None, (), 1)
    }
    async with db.transaction() as tx:
        for table, column in times:
            rows = await tx.rows(f"SELECT DISTINCT {column} AS at FROM {table}")
            for at in (row["at"] for row in rows if row["at"] is not None):
                older = to_text(to_time(at) - AGE)
                await tx.rows(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (older, at))
        for row in await tx.rows("SELECT id, request FROM jobs"):
            asked = json.loads(row["request"])
            kept = {
                name: value
                for name, value in asked.items()
                if name not in defaults or value not in (defaults[name], [])
            }
            assert len(kept) < len(asked)
            await tx.rows("UPDATE jobs SET request = ? WHERE id = ?", (json.dumps(kept), row["id"]))


async def restart(world: World) -> None:
    await world.stop()
    await world.start()
    await world.engine_ready()


async def newest(world: World, person: Any) -> Generation:
    (found, *_) = await world.parts.history.recent(person.id)
    return found


def said(answer: Any) -> str:
    assert answer.ephemeral
    assert answer.response is not None
    return str(answer.response.content)


async def test_each_button_makes_a_picture(world: World) -> None:
    await put(world, "neon")
    await world.ann.slash(world.channel, "imagine", prompt="a cat", count=2, style="neon")
    several = await world.result()
    await world.ann.slash(world.channel, "imagine", prompt="a fox", image=photo())
    one = await world.result(2)
    original = await newest(world, world.ann)
    await age(world)
    await restart(world)
    number = 2
    for message, labels in (
        (several, ("U1", "V2", "Reroll")),
        (one, ("Vary (Subtle)", "Vary (Strong)", "Reroll", "Upscale", "Zoom 1.5x", "Zoom 2x")),
    ):
        for label in labels:
            answer = await world.ben.click(message, label=label)
            number += 1
            assert not answer.ephemeral, label
            await world.result(number)
    menu = await world.ann.click(one, label="More")
    assert menu.response is not None
    for label in ("Left", "Upscale 4x", "Upscale (Creative)"):
        await world.ann.click(menu.response, label=label)
        number += 1
        await world.result(number)
    form = await world.ben.click(one, label="Remix")
    await world.ben.submit_modal(
        form, {"prompt": "a dog", "strength": "subtle", "style": [":keep"]}
    )
    await world.result(number + 1)
    assert (await newest(world, world.ben)).submission.parent_id == original.id
    await world.ann.send(world.channel, "a cow", reply_to=one)
    await world.result(number + 2)
    assert (await newest(world, world.ann)).request.init_image == original.pictures[0]
    info = await world.ben.click(one, label="Info")
    assert info.response is not None
    assert original.id in str(info.response.embeds[0].title)
    assert "Starred" in said(await world.ben.click(one, label="Star"))
    assert "DM" in said(await world.ben.click(one, label="Send to DM"))


async def test_a_style_that_was_removed_since_is_named(world: World) -> None:
    await put(world, "neon")
    await world.ann.slash(world.channel, "imagine", prompt="a cat", style="neon")
    message = await world.result()
    await age(world)
    await restart(world)
    await world.owner().slash(world.channel, "admin lora remove", style="neon")
    for label in ("Reroll", "Vary (Subtle)", "Zoom 2x"):
        text = said(await world.ben.click(message, label=label))
        assert text == 'The style "neon" was removed. Choose another one with /styles browse.'
    await world.ben.click(message, label="Upscale")  # draws nothing
    await world.result(2)
    form = await world.ben.click(message, label="Remix")
    await world.ben.submit_modal(
        form, {"prompt": "a dog --style none", "strength": "subtle", "negative": ""}
    )
    await world.result(3)


async def test_pictures_that_were_purged_or_lost_say_so(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    purged, parent = await world.result(), await newest(world, world.ann)
    await world.ben.click(purged, label="Vary (Subtle)")
    child = await world.result(2)
    await world.ben.click(child, label="Star")
    await age(world)
    await restart(world)
    olga = world.owner()
    asked = await olga.slash(world.channel, "admin ops purge", days=300)
    assert "1 picture (" in said(asked)
    await olga.click(asked.response, label="Delete them")
    every = [*_changes.CHANGES, _buttons.MORE, _buttons.REMIX, _buttons.REROLL, _buttons.INFO]
    every += [_buttons.STAR, _buttons.TO_DM, _buttons.PUBLISH, _buttons.POSE]
    for action in every:
        answer = await press(world, world.ben, purged, f"easel:{parent.id}:{action}:0:all")
        assert said(answer) == GONE, action
    # The starred one stays, and what needs the picture that it was made from says so.
    await world.ben.click(child, label="Vary (Strong)")
    await world.result(3)
    assert said(await world.ben.click(child, label="Reroll")) == (
        "The picture to start from was deleted. Attach it again, or choose another."
    )
    tree = await world.ben.slash(world.channel, "history tree", picture=(await of(world, child)).id)
    assert tree.response.embeds
    # A file that somebody took away by hand.
    (sha256,) = (await of(world, child)).pictures
    world.parts.pictures._path(sha256).unlink()
    for label in ("Vary (Subtle)", "Upscale", "Zoom 2x", "Send to DM"):
        assert said(await world.ben.click(child, label=label)).startswith(
            "The picture is not there any more."
        )


async def of(world: World, message: Any) -> Generation:
    found = await world.parts.history.by_message(message.id)
    assert found is not None
    return found
