"""How **Info** says that a picture can be made again: commands that do it, masks to attach, buttons."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image

from cogs import _canvas, _recipe
from engine.types import Generation
from tests.cogs.cdn import photo
from tests.cogs.conftest import World
from tests.cogs.test_inpaint import newest, painted


async def info(world: World, person: Any, number: int) -> tuple[str, dict[str, Any], list[str]]:
    """What is said of the command, its options, and the names of the attached files."""
    answer = await person.click(await world.result(number), label="Info")
    assert answer.response is not None
    (embed,) = answer.response.embeds
    words, _, rest = str(embed.description).partition("\n```\n/")
    names = "prompt|source|cells|invert|strength|amount|negative|count|style|factor"
    parts = re.findall(rf"({names}):(.*?)(?= (?:{names}):|\n|$)", rest)
    kinds: dict[str, Any] = {"strength": float, "amount": float, "count": int, "factor": int}
    options = {name: kinds.get(name, str)(value) for name, value in parts}
    if "invert" in options:
        options["invert"] = True
    return words, options, [file.filename for file in answer.response.attachments]


def same(one: Generation, other: Generation) -> bool:
    return one.request == other.request


@pytest.mark.parametrize(
    ("cells", "invert", "said"), [("top left, 5", False, "1,5"), ("9", True, "9")]
)
async def test_cells_are_found_again_and_the_command_makes_the_same_picture(
    world: World, cells: str, invert: bool, said: str
) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat", negative="text", steps=3)
    parent = await newest(world)
    given = {"source": parent.id, "prompt": "a hat", "cells": cells, "invert": invert}
    await world.ann.slash(world.channel, "inpaint", **given)
    made = await newest(world, 2)
    words, options, files = await info(world, world.ann, 2)
    assert words == _recipe.COPY
    assert files == []
    if invert:  # the same mask, said in one of the two ways
        options_of_it = {"cells": "1,2,3,4,5,6,7,8"}, {"cells": "9", "invert": True}
        assert any(one.items() <= options.items() for one in options_of_it)
    else:
        assert options["cells"] == said
    await world.ann.slash(world.channel, "inpaint", **options)
    assert same(made, await newest(world, 3))
    again, options, _ = await info(world, world.ben, 3)
    assert again == _recipe.COPY
    assert options["source"].startswith("https://")


async def test_a_painted_mask_is_given_back_to_whoever_painted_it(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    parent = await newest(world)
    await world.ann.slash(world.channel, "inpaint", source=parent.id, mask=painted())
    await world.result(2)
    words, options, files = await info(world, world.ann, 2)
    assert (words, files) == (_recipe.COPY_AND_MASK, ["mask.png"])
    assert options["source"] == parent.id
    assert "cells" not in options
    words, _, files = await info(world, world.ben, 2)
    assert (words, files) == (_recipe.COPY_AND_ANY_MASK, [])
    await world.ann.click(await world.result(2), label="Reroll")
    await world.result(3)
    words, options, _ = await info(world, world.ann, 3)
    assert (words, options["source"]) == (_recipe.COPY_AND_MASK, parent.id)


async def test_what_was_attached_is_to_be_attached_again(world: World) -> None:
    await world.ann.slash(world.channel, "inpaint", image=photo(), prompt="a hat", cells="1")
    await world.result()
    words, options, _ = await info(world, world.ann, 1)
    assert (words, options["cells"]) == (_recipe.COPY_AND_ATTACH, "1")
    await world.ann.slash(
        world.channel, "inpaint", image=photo(), prompt="a hat", mask=painted(), invert=True
    )
    await world.result(2)
    words, _, files = await info(world, world.ann, 2)
    assert (words, files) == (_recipe.COPY_AND_BOTH, ["mask.png"])
    assert (await info(world, world.ben, 2))[0] == _recipe.COPY_AND_ANY_BOTH


async def test_zoomed_pictures_name_the_button_also_when_rerolled(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.ann.click(await world.result(), label="Zoom 2x")
    await world.ann.click(await world.result(2), label="Reroll")
    for number in (2, 3):
        await world.result(3)
        message = world.results()[number - 1]
        answer = await world.ann.click(message, label="Info")
        assert answer.response is not None
        assert "Press **Zoom 2x** below the picture" in str(answer.response.embeds[0].description)


@pytest.mark.parametrize("size", [(64, 64), (96, 48), (120, 61)])
def test_only_masks_of_cells_are_taken_for_cells(size: tuple[int, int]) -> None:
    for cells in ((1,), (1, 5, 9), (2, 3, 4, 6, 7, 8)):
        found = _canvas.cells_of(_canvas.cells_mask(size, cells))
        assert found == _canvas.Cells(cells)
    inverted = _canvas.cells_mask(size, (4,), invert=True)
    found = _canvas.cells_of(inverted)
    assert found is not None
    assert _canvas.cells_mask(size, found.marked, invert=found.invert) == inverted
    half = Image.new("L", size, 0)
    half.paste(255, (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    half.save(buffer, "PNG")
    assert _canvas.cells_of(_canvas.drawn_mask(buffer.getvalue(), size)) is None
