"""A picture that was sent as a spoiler stays hidden in whatever is made of it, by every way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cogs.cdn import photo
from tests.cogs.conftest import World

HIDDEN = ("SPOILER_photo.png", photo()[1])


async def hidden_result(world: World, number: int = 1) -> Any:
    message = await world.result(number)
    assert message.attachments
    assert all(file.is_spoiler() for file in message.attachments)
    return message


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("imagine", {"prompt": "a hat"}),
        ("remix", {"prompt": "a hat"}),
        ("upscale", {}),
        ("inpaint", {"prompt": "a hat", "cells": "1"}),
        ("pose", {"prompt": "a hat", "control": "canny"}),
    ],
)
async def test_attached_to_a_command(world: World, command: str, options: dict[str, Any]) -> None:
    await world.ann.slash(world.channel, command, image=HIDDEN, **options)
    await hidden_result(world)


async def test_in_what_the_preview_of_a_pose_leads_to(world: World) -> None:
    preview = await world.ben.slash(
        world.channel, "pose", prompt="a hat", image=HIDDEN, control="canny", preview=True
    )
    await world.ben.click(preview.response, label="Flip")
    await world.ben.click(preview.response, label="Use")
    await hidden_result(world)


@pytest.mark.parametrize("menu", ["Upscale", "Remix this", "Use as pose"])
async def test_by_the_menu_of_a_message(world: World, menu: str) -> None:
    message = await world.ann.send(world.channel, "look", attachments=[HIDDEN])
    opened = await world.ben.context_menu(world.channel, menu, message)
    if menu == "Remix this":
        await world.ben.submit_modal(opened, {"prompt": "a hat", "strength": "subtle"})
    if menu == "Use as pose":
        await world.ben.submit_modal(opened, {"prompt": "a hat", "control": "canny"})
    await hidden_result(world)


async def test_in_a_reply_and_in_a_form_and_varied_from_there(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    plain = await world.result()
    assert not plain.attachments[0].is_spoiler()
    await world.ben.send(world.channel, "a hat", reply_to=plain, attachments=[HIDDEN])
    hidden = await hidden_result(world, 2)
    await world.ann.send(world.channel, "a dog", reply_to=hidden)
    await hidden_result(world, 3)
    form = await world.ben.context_menu(world.channel, "Remix this", plain)
    await world.ben.submit_modal(form, {"prompt": "a", "strength": "subtle", "file": HIDDEN})
    hidden = await hidden_result(world, 4)
    for number, label in enumerate(("Vary (Subtle)", "Upscale", "Zoom 2x", "Reroll"), 5):
        await world.ben.click(hidden, label=label)
        await hidden_result(world, number)
