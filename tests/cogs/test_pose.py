"""`/pose`: pictures, results and poses of the library guide a new picture; previews come first if wanted."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.control import making
from engine.control.library import built_in
from engine.control.maps import Fit, MapRequest
from engine.control.openpose import draw_skeleton
from engine.types import Generation
from tests.cogs.cdn import Cdn, photo
from tests.cogs.conftest import World, labels, settings_for, world_of
from tests.faulty_engine import WAVING

POSES = {pose.name: pose for pose in built_in()}


async def newest(world: World, number: int = 1) -> Generation:
    message = await world.result(number)
    found = await world.parts.history.by_message(message.id)
    assert found is not None
    return found


async def map_of(world: World, generation: Generation) -> Image.Image:
    (control,) = generation.request.controls
    data = await world.parts.pictures.get(control.image)
    return await asyncio.to_thread(lambda: Image.open(io.BytesIO(data)).convert("RGB"))


def skeleton(width: int, height: int) -> Image.Image:
    """What the scripted engine finds in a reddish picture of that shape."""
    return draw_skeleton([(x * width, y * height) for x, y in WAVING], width, height)


def blue(name: str = "sea.png") -> tuple[str, bytes]:
    """A picture without a person."""
    file = io.BytesIO()
    picture = Image.new("RGB", (64, 64), "navy")
    picture.paste("white", (20, 20, 40, 40))
    picture.save(file, "PNG")
    return name, file.getvalue()


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


def shown(cdn: Cdn, message: Any) -> Image.Image:
    """The picture of a message, as Discord has it."""
    data = cdn.files[str(message.attachments[0].id)]
    return Image.open(io.BytesIO(data)).convert("RGB")


async def test_the_person_of_an_attached_picture_guides_the_new_one(world: World) -> None:
    await world.ann.slash(
        world.channel, "pose", prompt="a robot", image=photo(), control_strength=0.8, end=0.9
    )
    made = await newest(world)
    request = made.request
    assert (request.prompt, request.init_image, made.submission.action) == ("a robot", None, "pose")
    assert (request.width, request.height) == (96, 48), "the picture's own shape"
    (control,) = request.controls
    assert (control.kind, control.scale, control.start, control.end) == ("openpose", 0.8, 0.0, 0.9)
    assert same(await map_of(world, made), skeleton(96, 48))
    kept = {path.name for path in world.settings.data_dir.glob("pictures/*/*")}
    assert kept == {control.image, *made.pictures}, "the photo itself is not kept"
    assert made.receipt["images"] == 1


async def test_without_a_person_outlines_are_taken_and_a_kill_loses_nothing(
    world: World, cdn: Cdn
) -> None:
    cdn.may_answer.clear()
    await world.ann.slash(
        world.channel, "pose", prompt="a castle", image=blue(), aspect="3:2",
        fit="pad", mirror=True,
    )  # fmt: skip
    await world.stop()
    cdn.may_answer.set()
    await world.start()
    made = await newest(world)
    (control,) = made.request.controls
    asked = MapRequest("canny", made.request.width, made.request.height, Fit.PAD, mirror=True)
    expected = making.MapMaker("x", ["canny"]).make(blue()[1], asked)
    assert made.request.width > made.request.height
    assert control.kind == "canny"
    assert same(await map_of(world, made), Image.open(io.BytesIO(expected.png)))


async def test_a_pose_of_the_library_by_name(world: World) -> None:
    await world.ann.slash(
        world.channel, "pose", prompt="a knight", pose="Hands on Hips", aspect="1:1"
    )
    made = await newest(world)
    pose = POSES["hands on hips"]
    expected = making.skeleton_map(
        pose.people, (pose.width, pose.height), MapRequest("openpose", 64, 64)
    )
    assert same(await map_of(world, made), Image.open(io.BytesIO(expected.png)))
    offered = await world.ann.autocomplete(world.channel, "pose", "pose", "arm")
    assert [choice["value"] for choice in offered] == ["arms up"]
    kinds = await world.ann.autocomplete(world.channel, "pose", "control", "")
    assert [choice["value"] for choice in kinds] == ["auto", "openpose", "canny"]


async def test_info_gives_the_command_that_makes_the_same_again(world: World) -> None:
    await world.ann.slash(
        world.channel, "pose", prompt="a robot", image=photo(), seed=7, control_strength=1.2
    )
    made = await newest(world)
    info = await world.ann.click(world.results()[-1], label="Info")
    text = info.response.embeds[0].description or ""
    assert text.startswith("Copy this to make the same picture again")
    line = text.split("```")[1].strip()
    assert line.startswith(f"/pose prompt:a robot source:{made.id} control:openpose")
    options: dict[str, Any] = {}
    for part in line.removeprefix("/pose prompt:a robot ").split(" "):
        name, _, value = part.partition(":")
        if name in options or not value:
            options["negative"] += f" {part}"
        else:
            options[name] = value
    numbers = {"control_strength": float, "start": float, "end": float, "guidance": float,
               "width": int, "height": int, "count": int, "seed": int, "steps": int}  # fmt: skip
    typed = {name: numbers.get(name, str)(value) for name, value in options.items()}
    await world.ann.slash(world.channel, "pose", prompt="a robot", **typed)
    again = await newest(world, 2)
    assert again.request == made.request
    assert again.submission.parent_id == made.id
    fields = {field.name: field.value for field in info.response.embeds[0].fields}
    assert fields["Control"] == "openpose, strength 1.2, from 0 to 1 of the steps"


async def test_reroll_vary_and_remix_keep_the_control(world: World) -> None:
    await world.ann.slash(world.channel, "pose", prompt="a robot", pose="waving")
    made = await newest(world)
    message = world.results()[-1]
    await world.ann.click(message, label="Reroll")
    assert (await newest(world, 2)).request.controls == made.request.controls
    await world.ben.click(message, label="Vary (Strong)")
    varied = (await newest(world, 3)).request
    assert (varied.controls, varied.init_image) == (made.request.controls, made.pictures[0])
    form = await world.ben.click(message, label="Remix")
    await world.ben.submit_modal(form, {"prompt": "a knight", "strength": "strong"})
    remixed = (await newest(world, 4)).request
    assert (remixed.prompt, remixed.controls) == ("a knight", made.request.controls)


async def test_preview_shows_the_map_before_anything_is_made(world: World, cdn: Cdn) -> None:
    answer = await world.ann.slash(
        world.channel, "pose", prompt="a robot", image=photo(), preview=True
    )
    assert answer.ephemeral
    assert answer.response is not None
    assert "control map (openpose)" in answer.response.content
    assert labels(answer.response) == ["Use", "Flip", "Strength 1", "Save pose"]
    assert same(shown(cdn, answer.response), skeleton(96, 48))
    assert not world.messages()
    await world.stop()  # the buttons outlive the process
    await world.start()
    await world.ann.click(answer.response, label="Flip")
    mirrored = [(96 - x * 96, y * 48) for x, y in WAVING]
    order = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
    flipped = draw_skeleton([mirrored[place] for place in order], 96, 48)
    assert same(shown(cdn, answer.response), flipped)
    form = await world.ann.click(answer.response, label="Strength 1")
    await world.ann.submit_modal(form, {"value": "1,4"})
    assert labels(answer.response) == ["Use", "Flip", "Strength 1.4", "Save pose"]
    await world.engine_ready()
    await world.ann.click(answer.response, label="Use")
    made = await newest(world)
    assert made.request.controls[0].scale == 1.4
    assert same(await map_of(world, made), flipped)
    await world.ann.click(answer.response, label="Use")
    assert (await newest(world, 2)).request.seed != made.request.seed


async def test_strength_of_a_preview_is_checked(world: World) -> None:
    answer = await world.ann.slash(
        world.channel, "pose", prompt="a robot", pose="waving", preview=True, private=True
    )
    form = await world.ann.click(answer.response, label="Strength 1")
    refusal = await world.ann.submit_modal(form, {"value": "3"})
    assert "from 0 to 2" in refusal.response.content
    await world.ann.click(answer.response, label="Use")
    await world.until(lambda: world.ann and not world.messages(), "nothing public")


async def test_poses_are_saved_shared_renamed_and_deleted(world: World) -> None:
    answer = await world.ann.slash(
        world.channel, "pose", prompt="a robot", image=photo(), preview=True
    )
    form = await world.ann.click(answer.response, label="Save pose")
    saved = await world.ann.submit_modal(form, {"value": "Hello there"})
    assert "Saved: the pose **Hello there** is yours" in saved.response.content
    refused = await world.ann.slash(world.channel, "pose", prompt="x", pose="helo there 2")
    assert "Did you mean hello there" in refused.response.content
    mine = await world.ann.slash(world.channel, "poses list")
    embed = mine.response.embeds[0]
    assert embed.description.splitlines()[0] == "**Hello there** — yours"
    assert "page 1 of 2" in embed.footer.text
    await world.ann.click(mine.response, label="More")
    assert "**lying** — comes with Easel" in mine.response.embeds[0].description
    theirs = await world.ben.slash(world.channel, "pose", prompt="x", pose="hello there")
    assert "There is no pose" in theirs.response.content

    await world.ann.slash(world.channel, "poses share", name="hello there")
    await world.ann.slash(world.channel, "poses rename", name="hello there", to="Hi")
    offered = await world.ben.autocomplete(world.channel, "pose", "pose", "hi")
    assert offered[0]["value"] == "Hi"
    refused = await world.ben.slash(world.channel, "poses delete", name="hi")
    assert "is not yours" in refused.response.content
    refused = await world.ben.slash(world.channel, "poses share", name="hi", on=False)
    assert "is not yours" in refused.response.content
    await world.ben.slash(world.channel, "pose", prompt="a knight", pose="hi", private=False)
    made = await newest(world)
    assert same(await map_of(world, made), skeleton(made.request.width, made.request.height))

    await world.moderator().slash(world.channel, "poses share", name="hi", on=False)
    assert not world.parts.poses.shared_in(world.guild.id)
    gone = await world.ann.slash(world.channel, "poses delete", name="Hi")
    assert "The pose **Hi** is deleted" in gone.response.content
    assert not world.parts.poses.of(world.ann.id)


async def test_a_pose_is_saved_from_a_picture_and_leaves_with_its_owner(world: World) -> None:
    answer = await world.ann.slash(
        world.channel, "poses save", name="wave", image=photo(), share=True
    )
    assert "everybody in this server can use the pose **wave**" in answer.response.content
    assert [one.name for one in world.parts.poses.shared_in(world.guild.id)] == ["wave"]
    again = await world.ann.slash(world.channel, "poses save", name="Wave", image=photo())
    assert "You have a pose Wave already" in again.response.content
    taken = await world.ann.slash(world.channel, "poses save", name="T-Pose", image=photo())
    assert "comes with Easel" in taken.response.content
    nobody = await world.ann.slash(world.channel, "poses save", name="sea", image=blue())
    assert "I found no person" in nobody.response.content
    asked = await world.ann.slash(world.channel, "privacy delete")
    await world.ann.click(asked.response, label="Delete everything")
    assert not world.parts.poses.shared_in(world.guild.id)


async def test_use_as_pose_on_any_message(world: World, cdn: Cdn) -> None:
    message = await world.ben.send(world.channel, "look", attachments=[photo()])
    form = await world.ann.context_menu(world.channel, "Use as pose", message)
    await world.ann.submit_modal(form, {"prompt": "a robot", "control": "auto", "strength": "0.5"})
    made = await newest(world)
    assert made.request.controls[0].kind == "openpose"
    assert made.request.controls[0].scale == 0.5
    form = await world.ben.context_menu(world.channel, "Use as pose", world.results()[-1])
    entered = {"prompt": "a knight", "control": "canny", "strength": ""}
    await world.ben.submit_modal(form, entered)
    child = await newest(world, 2)
    assert child.submission.parent_id == made.id
    assert (child.request.controls[0].kind, child.request.prompt) == ("canny", "a knight")


async def test_somebody_who_is_not_there_is_told_and_costs_nothing(world: World) -> None:
    answer = await world.ann.slash(
        world.channel, "pose", prompt="a robot", image=blue(), control="openpose"
    )
    await world.until(lambda: answer.followups, "the refusal")
    assert "I found no person in this picture" in answer.followups[0].content
    assert "like canny" in answer.followups[0].content
    await world.until(lambda: not world.messages(), "no status line")
    assert not [path for path in world.settings.data_dir.glob("pictures/*/*") if path.is_file()]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Which pose?"),
        ({"image": photo(), "pose": "waving"}, "Give only one"),
        ({"pose": "waving", "control": "depth"}, "has no ControlNet for depth"),
        ({"pose": "wavng"}, "Did you mean waving"),
        ({"pose": "waving", "start": 0.8, "end": 0.2}, "start must be before the end"),
        ({"pose": "waving", "width": 13}, "width cannot be"),
    ],
)
async def test_what_cannot_be_done_is_said_at_once(
    world: World, options: dict[str, Any], said: str
) -> None:
    answer = await world.ann.slash(world.channel, "pose", prompt="a robot", **options)
    assert answer.ephemeral
    assert answer.response is not None
    assert said in answer.response.content


@pytest.mark.parametrize(
    ("controls", "said"), [("", "has no ControlNets"), ("canny", "no ControlNet for poses")]
)
async def test_models_without_the_control_say_so(tmp_path: Path, controls: str, said: str) -> None:
    async with world_of(settings_for(tmp_path, "--controls", controls)) as world:
        answer = await world.ann.slash(world.channel, "pose", prompt="a robot", pose="waving")
        assert answer.response is not None
        assert said in answer.response.content


async def test_a_picture_waits_for_an_engine_that_starts(tmp_path: Path, cdn: Cdn) -> None:
    settings = settings_for(
        tmp_path, "--loading", "3", "--load-s", "0.2", attachment_hosts=cdn.hosts
    )
    async with world_of(settings, ready=False) as world:
        cdn.stand_in(world)
        await world.ann.slash(world.channel, "pose", prompt="a robot", image=photo())
        assert not world.parts.engine.is_ready
        assert (await newest(world)).request.controls[0].kind == "openpose"


async def test_nobody_reads_many_pictures_at_once(tmp_path: Path, cdn: Cdn) -> None:
    settings = settings_for(tmp_path, attachment_hosts=cdn.hosts, max_waiting_per_person=1)
    async with world_of(settings) as world:
        cdn.stand_in(world)
        cdn.may_answer.clear()
        await world.ann.slash(world.channel, "pose", prompt="a robot", image=photo())
        second = await world.ann.slash(
            world.channel, "pose", prompt="x", image=photo(), preview=True
        )
        assert second.response is not None
        assert "limit 1" in second.response.content
        cdn.may_answer.set()
        await newest(world)
