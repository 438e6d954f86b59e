"""Options that several commands share do in each what they do in /imagine."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.types import Generation, Sampler
from tests.cogs.cdn import photo
from tests.cogs.conftest import World
from tests.cogs.test_styles import put


async def newest(world: World) -> Generation:
    (found, *_) = await world.parts.history.recent(world.ann.id)
    return found


async def made(world: World, number: int, command: str, **options: Any) -> Generation:
    """Ann's picture, which is the one of that number in the channel."""
    answer = await world.ann.slash(world.channel, command, **options)
    assert not answer.ephemeral, answer.response
    await world.result(number)
    return await newest(world)


async def hidden(world: World, command: str, **options: Any) -> Generation:
    """Ann's private picture, which nobody else sees."""
    seen = len(world.messages())
    answer = await world.ann.slash(world.channel, command, private=True, **options)
    assert answer.ephemeral
    await world.until(lambda: answer.response is not None and answer.response.attachments)
    assert len(world.messages()) == seen
    return await newest(world)


async def test_pose_takes_all_options_of_a_picture(world: World) -> None:
    (neon,) = await put(world, "neon")
    new = await made(
        world, 1, "pose", prompt="a knight", pose="waving", control="openpose", control_strength=1.5,
        start=0.1, end=0.7, width=96, height=64, count=2, seed=5, steps=6, guidance=4.5,
        sampler="euler", model="faulty", negative="rain", style="neon", style_strength=0.5,
    )  # fmt: skip
    request = new.request
    (control,) = request.controls
    assert (control.kind, control.scale, control.start, control.end) == ("openpose", 1.5, 0.1, 0.7)
    assert (request.width, request.height, request.num_images, new.seeds) == (96, 64, 2, (5, 6))
    assert (request.num_inference_steps, request.guidance_scale) == (6, 4.5)
    assert (request.sampler, request.negative_prompt) == (Sampler.EULER, "rain")
    assert [(one.sha256, one.weight) for one in request.adapters] == [(neon.sha256, 0.5)]
    private = await hidden(world, "pose", prompt="a knight", pose="waving", aspect="3:2")
    assert private.request.width > private.request.height


async def test_remix_takes_shape_and_style(world: World) -> None:
    (neon,) = await put(world, "neon")
    first = await made(world, 1, "imagine", prompt="a cat")
    new = await made(
        world, 2, "remix", source=first.id, aspect="16:9", style="neon", style_strength=1.5,
        negative="rain", count=2,
    )  # fmt: skip
    request = new.request
    assert request.width > request.height
    assert [(one.sha256, one.weight) for one in request.adapters] == [(neon.sha256, 1.5)]
    assert (request.negative_prompt, request.num_images) == ("rain", 2)
    kept = await made(world, 3, "remix", source=new.id, aspect="keep")
    assert (kept.request.width, kept.request.height) == (request.width, request.height)


async def test_inpaint_goes_as_far_as_was_said_and_both_keep_a_secret(world: World) -> None:
    first = await made(world, 1, "imagine", prompt="a cat")
    options = {"source": first.id, "prompt": "a hat", "cells": "5"}
    new = await made(world, 2, "inpaint", strength=0.4, **options)
    assert new.request.strength == 0.4
    assert (await hidden(world, "inpaint", **options)).submission.destination.private
    assert (await hidden(world, "upscale", source=first.id)).request.width == 2 * 64
    assert (await hidden(world, "upscale", image=photo())).request.width == 2 * 120


async def test_export_takes_the_days_and_the_stars_of_the_list(world: World) -> None:
    old = await made(world, 1, "imagine", prompt="old")
    await made(world, 2, "imagine", prompt="new")
    then = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="microseconds")
    async with world.parts.jobs._db.transaction() as tx:
        await tx.rows("UPDATE generations SET created_at = ? WHERE id = ?", (then, old.id))
    await world.ann.slash(world.channel, "history star", picture=old.id)
    for options, wanted in (({"since": "7 days"}, "new"), ({"starred": True}, "old")):
        answer = await world.ann.slash(world.channel, "history export", **options)
        assert answer.response is not None
        (file,) = answer.response.attachments
        zipped = zipfile.ZipFile(io.BytesIO(await file.read(use_cached=True)))
        (metadata,) = (name for name in zipped.namelist() if name.endswith(".json"))
        assert f'"prompt": "{wanted}"' in zipped.read(metadata).decode()
