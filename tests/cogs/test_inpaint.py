"""`/inpaint` and `/upscale`: of one's own pictures at once, of attached ones after they were checked."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from cogs import _cells
from engine.errors import InvalidRequestError
from engine.types import Generation, Upscaler
from tests.cogs.cdn import Cdn, photo
from tests.cogs.conftest import World


async def newest(world: World, number: int = 1) -> Generation:
    message = await world.result(number)
    found = await world.parts.history.by_message(message.id)
    assert found is not None
    return found


async def stored(world: World, sha256: str | None) -> Image.Image:
    assert sha256 is not None
    data = await world.parts.pictures.get(sha256)
    return await asyncio.to_thread(lambda: Image.open(io.BytesIO(data)))


def painted() -> tuple[str, bytes]:
    """White on the left half."""
    file = io.BytesIO()
    mask = Image.new("RGB", (20, 10), "black")
    mask.paste("white", (0, 0, 10, 10))
    mask.save(file, "PNG")
    return "mask.png", file.getvalue()


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("1,2,5", (1, 2, 5)),
        ("9 1", (1, 9)),
        ("4-6", (4, 5, 6)),
        ("top left", (1,)),
        ("Top", (1, 2, 3)),
        ("right", (3, 6, 9)),
        ("middle", (5,)),
        ("bottom-centre and left", (1, 4, 7, 8)),
        ("middle right", (6,)),
    ],
)
def test_cells_are_numbers_or_names(text: str, cells: tuple[int, ...]) -> None:
    assert _cells.read(text) == cells


@pytest.mark.parametrize("text", ["10", "0", "nose", "6-4", ",", "top left nose"])
def test_other_parts_are_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="like 1,2,5"):
        _cells.read(text)


async def test_cells_of_my_picture_are_made_anew(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", count=2, seed=5)
    before = await newest(world)
    await world.ann.slash(
        world.channel, "inpaint", source=f"{before.id}:2", prompt="a hat", cells="top left, 5"
    )
    new = await newest(world, 2)
    assert (new.request.prompt, new.request.init_image) == ("a hat", before.pictures[1])
    assert new.request.strength == 0.95
    assert (new.submission.action, new.submission.parent_id) == ("inpaint", before.id)
    mask = await stored(world, new.request.mask_image)
    assert [mask.getpixel(at) for at in ((8, 8), (32, 32), (56, 8), (32, 8))] == [255, 255, 0, 0]


async def test_mask_and_picture_may_both_be_attached_and_survive_a_kill(
    world: World, cdn: Cdn
) -> None:
    cdn.may_answer.clear()
    await world.ann.slash(
        world.channel, "inpaint", image=photo(), prompt="a hat", mask=painted(), invert=True
    )
    await world.stop()
    cdn.may_answer.set()
    await world.start()
    new = await newest(world)
    request = new.request
    assert (await stored(world, request.init_image)).size == (120, 60)
    mask = await stored(world, request.mask_image)
    assert mask.size == (120, 60)
    assert (mask.getpixel((20, 30)), mask.getpixel((100, 30))) == (0, 255)
    assert (request.width, request.height) == (96, 48)
    assert new.receipt["images"] == 2


async def test_attached_mask_for_my_picture(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    before = await newest(world)
    await world.ann.slash(world.channel, "inpaint", source=before.id, mask=painted())
    new = await newest(world, 2)
    assert (new.request.prompt, new.request.init_image) == ("a cat", before.pictures[0])
    mask = await stored(world, new.request.mask_image)
    assert mask.size == (64, 64)
    assert (mask.getpixel((8, 30)), mask.getpixel((60, 30))) == (255, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image": photo()}, "Which part"),
        ({"image": photo(), "cells": "1", "mask": photo()}, "either mask or cells"),
        ({"cells": "1"}, "Which picture"),
        ({"image": photo(), "cells": "1"}, "Say what the new one"),
        ({"image": photo(), "cells": "1-9", "invert": True}, "Nothing would be left"),
        ({"image": photo(), "cells": "nose"}, "like 1,2,5"),
    ],
)
async def test_what_is_missing_is_said_at_once(
    world: World, options: dict[str, Any], said: str
) -> None:
    answer = await world.ann.slash(world.channel, "inpaint", **options)
    assert answer.ephemeral
    assert answer.response is not None
    assert said in answer.response.content


async def test_black_mask_is_refused_after_it_was_looked_at(world: World) -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "black").save(file, "PNG")
    answer = await world.ann.slash(
        world.channel, "inpaint", image=photo(), prompt="x", mask=("m.png", file.getvalue())
    )
    await world.until(lambda: answer.followups, "the refusal")
    assert "no part of it is white" in answer.followups[0].content
    assert not [p for p in world.settings.data_dir.glob("pictures/*/*") if p.is_file()]


@pytest.mark.parametrize(
    ("options", "size", "upscaler"),
    [
        ({"factor": 4}, (480, 240), Upscaler.LANCZOS),
        ({"mode": "creative"}, (240, 120), None),
        ({}, (240, 120), Upscaler.LANCZOS),
    ],
)
async def test_attached_picture_is_made_larger(
    world: World, options: dict[str, Any], size: tuple[int, int], upscaler: Upscaler | None
) -> None:
    await world.ann.slash(world.channel, "upscale", image=photo(), **options)
    request = (await newest(world)).request
    assert (request.width, request.height) == size
    assert request.upscaler is upscaler
    assert (await stored(world, request.init_image)).size == (120, 60)


async def test_my_picture_is_made_larger_and_too_large_is_said(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", width=320, height=64)
    before = await newest(world)
    await world.ann.slash(world.channel, "upscale", source="cat", factor=2, mode="creative")
    new = await newest(world, 2)
    assert (new.request.width, new.request.height) == (640, 128)
    assert new.request.init_image == before.pictures[0]
    answer = await world.ann.slash(
        world.channel, "upscale", source=before.id, factor=4, mode="creative"
    )
    assert answer.response is not None
    assert "at most 1024 pixels" in answer.response.content
