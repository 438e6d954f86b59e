"""The buttons that make a new picture from one of a result, for everybody and after a restart."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import discord
import pytest
from PIL import Image

from cogs import _buttons, _changes
from engine.types import Generation, Upscaler
from storage.gallery import GONE
from tests.cogs.acts import Recorder, press
from tests.cogs.cdn import photo
from tests.cogs.conftest import World, labels, settings_for, world_of


async def made(world: World, **options: Any) -> discord.Message:
    """A finished picture of Ann, or several."""
    await world.ann.slash(world.channel, "imagine", **({"prompt": "a cat", "seed": 5} | options))
    result = await world.result()
    assert isinstance(result, discord.Message)
    return result


async def of(world: World, message: discord.Message) -> Generation:
    found = await world.parts.history.by_message(message.id)
    assert found is not None
    return found


async def after(world: World, person: Any, message: Any, label: str) -> Generation:
    """What comes of a press, once it is there; the message has to be the newest result."""
    count = len(world.results())
    answer = await person.click(message, label=label)
    assert answer.response is not None
    assert not answer.ephemeral, answer.response.content
    return await of(world, await world.result(count + 1))


@pytest.fixture
async def opened(world: World) -> tuple[World, discord.Message, Generation]:
    message = await made(world)
    return world, message, await of(world, message)


def rows(message: Any) -> list[list[str]]:
    """Labels of the buttons, row by row; simcord gives an answer's as they were sent."""
    sent = [
        row["components"] if isinstance(row, dict) else row.children for row in message.components
    ]
    return [[b["label"] if isinstance(b, dict) else b.label for b in row] for row in sent]


async def test_one_picture_and_several_have_their_own_buttons(world: World) -> None:
    one = await made(world)
    assert rows(one) == [
        ["Vary (Subtle)", "Vary (Strong)", "Remix", "Reroll", "Upscale"],
        ["Zoom 1.5x", "Zoom 2x", "More"],
        ["Info", "Star", "Send to DM", "Delete"],
    ]
    await world.ann.slash(world.channel, "imagine", prompt="cats", count=3)
    several = await world.result(2)
    assert rows(several) == [
        ["U1", "U2", "U3", "Reroll"],
        ["V1", "V2", "V3", "Remix"],
        ["Info", "Star", "Send to DM", "Delete"],
    ]


async def test_u3_upscales_the_third_picture_for_the_presser_after_a_restart(world: World) -> None:
    message = await made(world, count=4, aspect="3:2", spoiler=True)
    before = await of(world, message)
    await world.stop()
    await world.start()
    await world.engine_ready()
    new = await after(world, world.ben, message, "U3")
    request = new.request
    assert request.init_image == before.pictures[2]
    assert request.upscaler is Upscaler.LANCZOS
    assert (request.width, request.height) == (
        2 * before.request.width,
        2 * before.request.height,
    )
    assert (request.num_images, request.prompt) == (1, "a cat")
    assert new.seeds == (before.seeds[2],)
    assert new.receipt["images"] == 1
    assert (new.submission.owner_id, new.submission.parent_id) == (world.ben.id, before.id)
    assert new.submission.destination.spoiler
    usage = await world.parts.ledger.usage(world.ben.id, world.parts.limits)
    assert usage.used_today < 0.1  # far less than a picture


@pytest.mark.parametrize("world", [("--upscaler",)], indirect=True)
async def test_a_learned_upscaler_is_used_where_there_is_one(world: World) -> None:
    message = await made(world)
    first = await of(world, message)
    large = await after(world, world.ben, message, "Upscale")
    assert large.request.upscaler is Upscaler.SWIN2SR
    answer = await world.ben.click(world.results()[-1], label="Info")
    assert answer.response is not None
    fields = {field.name: field.value for field in answer.response.embeds[0].fields}
    assert fields["Upscaler"] == "Swin2SR"
    await world.ann.slash(world.channel, "upscale", source=first.id, factor=4)
    larger = await of(world, await world.result(3))
    assert larger.request.upscaler is Upscaler.SWIN2SR
    assert larger.request.width == 4 * first.request.width


async def test_v2_varies_the_second_picture_as_often_as_there_were(world: World) -> None:
    message = await made(world, count=2)
    before = await of(world, message)
    new = await after(world, world.ben, message, "V2")
    assert new.request.init_image == before.pictures[1]
    assert new.request.strength == _changes.MEDIUM
    assert new.request.num_images == 2
    assert new.request.seed != before.request.seed


async def test_vary_subtle_and_strong_differ_in_the_strength(
    opened: tuple[World, discord.Message, Generation],
) -> None:
    world, message, before = opened
    subtle = await after(world, world.ann, message, "Vary (Subtle)")
    strong = await after(world, world.ben, message, "Vary (Strong)")
    assert [one.request.strength for one in (subtle, strong)] == [0.35, 0.75]
    assert {one.request.init_image for one in (subtle, strong)} == {before.pictures[0]}
    assert subtle.submission.action == "vary_subtle"
    usage = await world.parts.ledger.usage(world.ben.id, world.parts.limits)
    assert usage.used_today > 0.01


async def stored(world: World, sha256: str | None) -> Image.Image:
    assert sha256 is not None
    data = await world.parts.pictures.get(sha256)
    return await asyncio.to_thread(lambda: Image.open(io.BytesIO(data)))


async def test_zoom_starts_from_a_stored_canvas_with_a_mask_that_reroll_uses_again(
    opened: tuple[World, discord.Message, Generation],
) -> None:
    world, message, before = opened
    new = await after(world, world.ben, message, "Zoom 2x")
    request = new.request
    assert (request.width, request.height, request.num_images) == (64, 64, 1)
    assert new.receipt["images"] == 2
    canvas, mask = await stored(world, request.init_image), await stored(world, request.mask_image)
    assert canvas.size == mask.size == (64, 64)
    old = (await stored(world, before.pictures[0])).convert("RGB")
    small = old.resize((32, 32), Image.Resampling.LANCZOS)
    assert canvas.crop((16, 16, 48, 48)).tobytes() == small.tobytes()
    assert (mask.getpixel((15, 32)), mask.getpixel((32, 32))) == (255, 0)
    again = await after(world, world.ann, world.results()[-1], "Reroll")
    assert again.request.images == request.images
    assert again.request.seed != request.seed


async def test_files_of_a_refused_zoom_do_not_stay(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, max_waiting_per_person=1)) as world:
        message = await made(world)
        await world.ben.slash(world.channel, "imagine", prompt="x engine:hold")
        await world.line("Starting")
        before = {path for path in world.settings.data_dir.glob("pictures/*/*") if path.is_file()}
        refused = await world.ben.click(message, label="Zoom 1.5x")
        assert refused.ephemeral
        assert {p for p in world.settings.data_dir.glob("pictures/*/*") if p.is_file()} == before
        world.go()
        await world.result(2)


async def test_more_is_a_private_menu_whose_pictures_are_public(
    opened: tuple[World, discord.Message, Generation],
) -> None:
    world, message, _ = opened
    menu = await world.ben.click(message, label="More")
    assert menu.ephemeral
    assert menu.response is not None
    assert rows(menu.response) == [
        ["Left", "Right", "Up", "Down"],
        ["Upscale 4x", "Upscale (Creative)", "Use as pose"],
    ]
    new = await after(world, world.ben, menu.response, "Left")
    assert not new.submission.destination.private
    mask = await stored(world, new.request.mask_image)
    assert (mask.getpixel((20, 32)), mask.getpixel((60, 32))) == (255, 0)
    creative = await after(world, world.ben, menu.response, "Upscale (Creative)")
    assert (creative.request.width, creative.request.strength) == (128, 0.3)
    assert creative.request.upscaler is None


async def test_upscaled_picture_can_be_varied_rerolled_and_upscaled_until_it_is_too_large(
    opened: tuple[World, discord.Message, Generation],
) -> None:
    world, message, before = opened
    upscaled = await after(world, world.ann, message, "Upscale")
    message = world.results()[-1]
    varied = await after(world, world.ann, message, "Vary (Subtle)")
    assert varied.request.init_image == upscaled.pictures[0]
    assert (varied.request.width, varied.request.upscaler) == (64, None)
    rerolled = await after(world, world.ann, message, "Reroll")
    assert rerolled.request == before.request.__class__(
        **{name: getattr(before.request, name) for name in before.request.__slots__}
        | {"seed": rerolled.request.seed}
    )
    menu = await world.ann.click(message, label="More")
    assert menu.response is not None
    for size in (512, 2048):
        await after(world, world.ann, menu.response, "Upscale 4x")
        message = world.results()[-1]
        assert (await of(world, message)).request.width == size
        menu = await world.ann.click(message, label="More")
        assert menu.response is not None
    refused = await world.ann.click(menu.response, label="Upscale 4x")
    assert refused.response is not None
    assert "8192x8192" in refused.response.content
    assert "smaller factor" in refused.response.content
    refused = await world.ann.click(menu.response, label="Upscale (Creative)")
    assert refused.response is not None
    assert "at most 1024 pixels" in refused.response.content


async def test_delivered_twice_is_one_job(
    opened: tuple[World, discord.Message, Generation],
) -> None:
    world, message, _ = opened
    recorder = Recorder(world)
    await world.ben.click(message, label="Zoom 2x")
    await recorder.again()
    await world.result(2)
    assert len(await world.parts.history.recent(world.ben.id)) == 1


async def test_buttons_of_a_picture_that_is_gone_say_so(world: World) -> None:
    message = await made(world, count=2)
    generation = await of(world, message)
    await world.parts.history.delete_pictures(generation.id)
    actions = [*_changes.CHANGES, _buttons.MORE]
    for action in actions:
        answer = await press(world, world.ben, message, f"easel:{generation.id}:{action}:3")
        assert answer.ephemeral, action
        assert answer.response is not None
        assert answer.response.content == GONE, action


async def test_a_number_that_the_result_has_not_is_refused(
    opened: tuple[World, discord.Message, Generation],
) -> None:
    world, message, generation = opened
    answer = await press(world, world.ben, message, f"easel:{generation.id}:upscale:7")
    assert answer.response is not None
    assert answer.response.content == GONE


async def test_variations_of_a_private_picture_stay_private(world: World) -> None:
    answer = await world.ann.slash(world.channel, "imagine", prompt="a secret", private=True)

    def is_done(one: Any) -> bool:
        return one.response is not None and bool(one.response.attachments)

    await world.until(lambda: is_done(answer))
    assert answer.response is not None
    assert "Publish" in labels(answer.response)
    menu = await world.ann.click(answer.response, label="More")
    assert menu.response is not None
    again = await world.ann.click(menu.response, label="Up")
    assert again.ephemeral
    await world.until(lambda: is_done(again))
    assert world.messages() == []


async def test_another_models_picture_is_varied_by_the_loaded_one(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path)) as world:
        message = await made(world, steps=9)
        await world.stop()
        world.settings = settings_for(tmp_path, "--model", "newer")
        await world.start()
        await world.engine_ready()
        new = await after(world, world.ann, message, "Vary (Subtle)")
        assert (new.request.model, new.request.num_inference_steps) == ("newer", 4)
        assert new.request.prompt == "a cat"


async def test_remix_form_has_the_old_words_and_makes_what_it_says(
    opened: tuple[World, discord.Message, Generation],
) -> None:
    world, message, before = opened
    await world.stop()
    await world.start()
    await world.engine_ready()
    form = await world.ben.click(message, label="Remix")
    fields = {one["component"]["custom_id"]: one["component"] for one in form.modal["components"]}
    assert list(fields) == ["prompt", "negative", "strength", "file"]
    assert fields["prompt"]["value"] == "a cat"
    assert fields["negative"]["value"] == "out of focus"
    assert [o["label"] for o in fields["strength"]["options"]] == [
        "Subtle",
        "Medium",
        "Strong",
        "Words only",
    ]
    values = {"prompt": "a dog --seed 9", "negative": "", "strength": "strong"}
    await world.ben.submit_modal(form, values)
    new = await of(world, await world.result(2))
    request = new.request
    assert (request.prompt, request.negative_prompt, request.seed) == ("a dog", "", 9)
    assert (request.init_image, request.strength) == (before.pictures[0], 0.75)
    assert (new.submission.owner_id, new.submission.parent_id) == (world.ben.id, before.id)
    form = await world.ben.click(message, label="Remix")
    values = {"prompt": "a cow", "negative": "rain", "strength": "words"}
    await world.ben.submit_modal(form, values)
    new = await of(world, await world.result(3))
    assert (new.request.init_image, new.request.strength) == (None, None)
    assert (new.request.prompt, new.request.negative_prompt) == ("a cow", "rain")


async def test_remix_form_of_several_pictures_asks_which(world: World) -> None:
    message = await made(world, count=3)
    before = await of(world, message)
    form = await world.ann.click(message, label="Remix")
    fields = [one["component"]["custom_id"] for one in form.modal["components"]]
    assert fields == ["prompt", "negative", "strength", "picture", "file"]
    values = {"prompt": "a dog", "negative": "", "strength": "subtle", "picture": "3"}
    await world.ann.submit_modal(form, values)
    new = await of(world, await world.result(2))
    assert (new.request.init_image, new.request.strength) == (before.pictures[2], 0.35)


async def test_remix_form_takes_another_picture(world: World) -> None:
    message = await made(world)
    form = await world.ben.click(message, label="Remix")
    values = {"prompt": "a cat", "negative": "", "strength": "medium", "file": photo()}
    await world.ben.submit_modal(form, values)
    new = await of(world, await world.result(2))
    assert (await stored(world, new.request.init_image)).size == (120, 60)
    assert (new.request.prompt, new.request.strength) == ("a cat", 0.55)


async def test_remix_of_a_picture_that_is_gone_opens_no_form(
    opened: tuple[World, discord.Message, Generation],
) -> None:
    world, message, generation = opened
    form = await world.ben.click(message, label="Remix")
    await world.parts.history.delete_pictures(generation.id)
    values = {"prompt": "a dog", "negative": "", "strength": "strong"}
    late = await world.ben.submit_modal(form, values)
    answer = await world.ben.click(message, label="Remix")
    for one in (late, answer):
        assert one.response is not None
        assert one.response.content == GONE


async def test_info_says_what_a_picture_was_made_from_and_how_to_do_it_again(world: World) -> None:
    before = await of(world, message := await made(world, count=2))
    varied = await after(world, world.ann, message, "V2")
    message = world.results()[-1]
    answer = await world.ann.click(message, label="Info")
    assert answer.response is not None
    (embed,) = answer.response.embeds
    fields = {field.name: field.value for field in embed.fields}
    assert fields["Strength"].startswith("0.55")
    assert (fields["Made by"], fields["Made from"]) == ("vary", before.id)
    line = next(x for x in (embed.description or "").splitlines() if x.startswith("/remix"))
    assert f"source:{before.id}:2 prompt:a cat amount:0.55" in line
    await world.ann.slash(
        world.channel, "remix", source=f"{before.id}:2", prompt="a cat", amount=0.55
    )
    again = await of(world, await world.result(3))
    assert again.request.init_image == varied.request.init_image
    answer = await world.ben.click(message, label="Info")  # it is not Ben's to name
    assert answer.response is not None
    assert "attach the picture" in (answer.response.embeds[0].description or "")
