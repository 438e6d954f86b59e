"""/admin lora: owners add, change and remove styles for everybody, managers switch them off in their server."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from PIL import Image
from simcord.actors import MemberActor
from simcord.builders import ChannelHandle
from simcord.results import InteractionResult

from cogs import _authority
from cogs.admin import _lora
from engine.types import NOBODY, InstalledAdapter, JobState
from storage.adapters import ADDED, DISABLED, EDITED, ENABLED, REMOVED
from storage.people import Preferences
from tests.cogs.cdn import Cdn, photo
from tests.cogs.conftest import SOON_S, World, labels, settings_for, world_of
from tests.cogs.test_styles import put
from tests.engine.lora.lora_files import kohya, written

OWNERS = (
    ("add", {"path": "other.safetensors"}),
    ("edit", {"style": "neon", "name": "mine"}),
    ("remove", {"style": "mine"}),
    ("rescan", {}),
)
MANAGERS = (
    ("list", {}),
    ("info", {"style": "neon"}),
    ("disable", {"style": "neon"}),
    ("enable", {"style": "neon"}),
)


def lora(family: str = "sd15", trigger: str = "glow", alpha: float = 1.0) -> bytes:
    return written(kohya(family, alpha=alpha), metadata={"modelspec.trigger_phrase": trigger})


async def admin(
    world: World,
    person: MemberActor,
    command: str,
    channel: ChannelHandle | None = None,
    **options: Any,
) -> InteractionResult:
    return await person.slash(channel or world.channel, f"admin lora {command}", **options)


def said(answer: InteractionResult) -> str:
    assert answer.ephemeral
    assert answer.response is not None
    return str(answer.response.content)


def refused(world: World, answer: InteractionResult) -> str:
    """What the person alone was told instead."""
    assert answer.response is not None or answer.followups
    message = answer.followups[-1] if answer.followups else answer.response
    assert message is not None
    return str(message.content).replace("\\", "")


async def names(
    world: World, person: MemberActor, command: str = "style", option: str = "name",
    channel: ChannelHandle | None = None,
) -> list[str]:  # fmt: skip
    found = await person.autocomplete(channel or world.channel, command, option, "")
    return [str(one["value"]) for one in found]


async def acts(world: World) -> list[tuple[int, str]]:
    return [(one.actor_id, one.act) for one in reversed(await world.parts.audit.newest())]


async def soon(look: Callable[[], Awaitable[Any]]) -> Any:
    """What the database answers, once it is something."""
    for _ in range(int(SOON_S * 100)):
        if found := await look():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("the database never says it")


async def preview_drawn(world: World, style: InstalledAdapter) -> Image.Image:
    png = await soon(lambda: world.parts.styles.preview(style.sha256))
    return Image.open(io.BytesIO(png))


async def test_an_owner_adds_a_file_and_everybody_has_it_at_once(world: World) -> None:
    owner = world.owner()
    answer = await admin(
        world, owner, "add", file=("Neon_lights.safetensors", lora()), strength=0.5
    )
    assert "Added: **Neon lights**" in said(answer)
    assert "Neon lights" in await names(world, world.ann)
    assert _lora.PREVIEW_FOLLOWS in said(answer)
    (style,) = world.parts.styles.usable()
    assert (style.default_weight, style.trigger_words, style.added_by) == (0.5, ("glow",), owner.id)
    assert style.source == ""  # nothing that the scan of the folder could miss
    await world.parts.styles.rescan()
    await world.ann.slash(world.channel, "imagine", prompt="a cat", style="neon lights")
    result = await world.result()
    assert "style Neon lights:0.5" in result.content
    assert list((world.settings.data_dir / "incoming").iterdir()) == []
    assert await acts(world) == [(owner.id, ADDED)]
    await preview_drawn(world, style)


async def test_a_start_never_takes_a_file_that_is_on_its_way(tmp_path: Path, cdn: Cdn) -> None:
    """Commands come as soon as Discord knows the bot, before its own tasks have begun."""
    settings = settings_for(tmp_path, attachment_hosts=cdn.hosts)
    left = settings.data_dir / "incoming" / "killed.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    async with world_of(settings) as world:
        assert not left.exists()
        cdn.stand_in(world)
        cdn.may_answer.clear()
        async with asyncio.TaskGroup() as group:
            owner = world.owner()
            sent = group.create_task(admin(world, owner, "add", file=("neon.safetensors", lora())))
            await cdn.was_asked.wait()
            async with world.bot.desk.lora_files:  # as its tasks do when they begin late
                cdn.may_answer.set()
                answer = await sent
        assert "Added: **neon**" in said(answer)


async def test_the_preview_is_drawn_by_nobodys_job_and_leaves_nothing(world: World) -> None:
    answer = await admin(world, world.owner(), "add", file=("neon.safetensors", lora()))
    assert "Added: **neon**" in said(answer)
    (style,) = world.parts.styles.usable()
    assert max((await preview_drawn(world, style)).size) <= 256
    db = world.parts.jobs._db
    rows = await soon(lambda: db.rows("SELECT * FROM jobs WHERE delivered_at IS NOT NULL"))
    assert [(row["owner_id"], row["cost"], row["action"]) for row in rows] == [
        (NOBODY, 0.0, "preview")
    ]
    assert await db.rows("SELECT 1 FROM pictures") == []
    assert world.messages() == []


async def test_a_preview_waits_for_people_and_survives_a_restart(world: World) -> None:
    await world.ann.slash(world.channel, "imagine", prompt="engine:hold a cat")
    await admin(world, world.owner(), "add", file=("neon.safetensors", lora()))
    (style,) = world.parts.styles.usable()
    queue = world.parts.queue

    async def waiting_jobs() -> list[Any]:
        return queue.waiting()

    await soon(waiting_jobs)
    await world.ben.slash(world.channel, "imagine", prompt="a dog")
    await world.until(world.results, "Ben's, which came after it and is ready before it")
    assert await world.parts.styles.preview(style.sha256) is None
    (waiting,) = queue.waiting()
    assert (await world.parts.jobs.get(waiting.job_id)).owner_id == NOBODY
    await world.stop()
    world.go()
    await world.start()
    await preview_drawn(world, style)


async def test_add_from_the_folder_with_a_name_words_and_a_picture(world: World) -> None:
    owner, folder = world.owner(), world.settings.lora_folder
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.safetensors").write_bytes(lora())
    assert await names(world, owner, "admin lora add", "path") == ["deep/a.safetensors"]
    options = {"name": "Neon", "trigger": "shine, bright light", "preview": photo()}
    answer = await admin(world, owner, "add", path="deep/a.safetensors", **options)
    assert "Added: **Neon**" in said(answer)
    assert _lora.PREVIEW_FOLLOWS not in said(answer)
    (style,) = world.parts.styles.usable()
    assert style.trigger_words == ("shine", "bright light")
    png = await world.parts.styles.preview(style.sha256)
    assert png is not None
    assert Image.open(io.BytesIO(png)).size == (120, 60)
    scan = await world.parts.styles.rescan()
    assert (scan.added, scan.gone) == ([], [])


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
({}, "one of the two"),
        ({"file": ("a.safetensors", lora()), "path": "a.safetensors"}, "one of the two"),
        ({"path": "https://example.com/a.safetensors"}, "A URL is not accepted"),
        ({"path": "../easel.sqlite"}, "There is no file"),
        ({"path": "/etc/passwd"}, "There is no file"),
        ({"path": "link/../../x.safetensors"}, "There is no file"),
        ({"file": ("a.safetensors", lora("sdxl"))}, "made for SDXL, and the model here is SD 1.5"),
        ({"file": ("a.safetensors", b"PK\x03\x04" + bytes(99))}, "pickled"),
        ({"file": ("a.safetensors", lora()[:-9])}, "is damaged"),
        ({"file": ("a.safetensors", lora()), "name": "a, b"}, "The name of a style"),
        ({"file": ("a.safetensors", lora()), "name": "None"}, "The name of a style"),
        ({"file": ("a.safetensors", lora()), "name": "SEPIA"}, "There is a style 'sepia' already"),
        ({"file": ("a.safetensors", lora()), "trigger": ", ".join("abcdefghi")}, "at most 8 words"),
        ({"file": ("a.safetensors", lora()), "preview": ("a.png", b"no picture")}, "send PNG"),
)  # fmt: skip


async def test_what_is_not_added_is_told_in_one_sentence(world: World) -> None:
    await put(world, "sepia")
    owner = world.owner()
    for options, words in REFUSED:
        answer = await admin(world, owner, "add", **options)
        assert words in refused(world, answer)
        assert [one.name for one in world.parts.styles.registered()] == ["sepia"]
        incoming = world.settings.data_dir / "incoming"
        assert not incoming.exists() or list(incoming.iterdir()) == []
    assert await acts(world) == []


async def test_the_same_file_twice_and_one_too_many_are_refused(world: World) -> None:
    owner = world.owner()
    await admin(world, owner, "add", file=("neon.safetensors", lora()))
    again = await admin(world, owner, "add", file=("other.safetensors", lora()))
    assert "The same file is there already, as the style 'neon'" in refused(world, again)
    object.__setattr__(world.settings, "max_loras", 1)
    full = await admin(world, owner, "add", file=("b.safetensors", lora(alpha=2.0)))
    assert "There are 1 styles, and the limit is 1" in refused(world, full)
    world.settings.lora_folder.mkdir(parents=True)
    (world.settings.lora_folder / "c.safetensors").write_bytes(lora(alpha=3.0))
    scan = await admin(world, owner, "rescan")
    assert "Not used: c.safetensors. There are 1 styles" in said(scan)
    await admin(world, owner, "remove", style="neon")
    assert "New: c" in said(await admin(world, owner, "rescan"))


async def test_a_file_that_is_too_large_is_not_even_fetched(world: World, cdn: Cdn) -> None:
    object.__setattr__(world.bot.desk.lora_files._fetcher, "_max_bytes", 1000)
    asked = cdn.asked
    answer = await admin(world, world.owner(), "add", file=("a.safetensors", bytes(2000)))
    assert "at most 0 MiB" in refused(world, answer) or "MiB are read" in refused(world, answer)
    assert cdn.asked == asked


async def test_removing_a_style_in_use_lets_its_jobs_finish(world: World) -> None:
    owner = world.owner()
    await admin(world, owner, "add", file=("neon.safetensors", lora()), preview=photo())
    (style,) = world.parts.styles.usable()
    file = world.settings.adapter_file(style.sha256)
    for prompt in ("engine:hold a cat", "a dog"):
        await world.ann.slash(world.channel, "imagine", prompt=prompt, style="neon")
    answer = await admin(world, owner, "remove", style="NEON")
    assert "Removed" in said(answer)
    assert "neon" not in await names(world, world.ben)
    await world.parts.adapters.drop_unused()
    assert file.is_file()
    gone = await world.ben.slash(world.channel, "imagine", prompt="a fox", style="neon")
    assert 'The style "neon" was removed' in refused(world, gone)
    world.go()
    result = await world.result(2)
    assert "style neon" in result.content
    await world.parts.adapters.drop_unused()
    assert not file.exists()
    pressed = await world.ben.click(result, label="Reroll")
    assert 'The style "neon" was removed' in refused(world, pressed)
    assert await acts(world) == [(owner.id, ADDED), (owner.id, REMOVED)]


async def test_a_removed_file_of_the_folder_stays_away_until_it_is_added_again(
    world: World,
) -> None:
    owner, folder = world.owner(), world.settings.lora_folder
    folder.mkdir(parents=True)
    file = folder / "neon.safetensors"
    file.write_bytes(lora())
    assert "New: neon" in said(await admin(world, owner, "rescan"))
    assert _lora.FILE_STAYS in said(await admin(world, owner, "remove", style="neon"))
    assert _lora.NOTHING_NEW in said(await admin(world, owner, "rescan"))
    file.touch()
    await world.parts.styles.rescan()
    await world.parts.styles.load()  # as a start does
    await world.parts.styles.rescan()
    assert world.parts.styles.registered() == []
    await admin(world, owner, "add", path="neon.safetensors")
    assert [one.name for one in world.parts.styles.usable()] == ["neon"]
    file.write_bytes(lora(alpha=2.0))
    await admin(world, owner, "remove", style="neon")
    await world.parts.styles.rescan()
    assert [one.name for one in world.parts.styles.usable()] == ["neon"]  # another file


async def test_an_edited_style_is_found_by_its_old_name_too(world: World) -> None:
    owner = world.owner()
    neon, _ = await put(world, "neon", "sepia")
    await world.ann.slash(world.channel, "style", name="neon:0.7")
    answer = await admin(
        world, owner, "edit", style="neon", name="Glow", strength=0.3, trigger="none",
        preview=photo(),
    )  # fmt: skip
    assert "this is **Glow** now" in said(answer)
    style = world.parts.styles.find("glow")
    assert (style.sha256, style.default_weight, style.trigger_words) == (neon.sha256, 0.3, ())
    assert "Glow" in await names(world, world.ann)
    await world.ann.slash(world.channel, "imagine", prompt="a cat")  # her style is still "neon:0.7"
    assert "style Glow:0.7" in (await world.result()).content
    for options, words in (
        ({}, "Say what should change"),
        ({"name": "Sepia"}, "There is a style 'sepia' already"),
        ({"name": "x:y"}, "The name of a style"),
    ):
        assert words in refused(world, await admin(world, owner, "edit", style="Glow", **options))
    assert world.parts.styles.find("glow") == style
    assert await acts(world) == [(owner.id, EDITED)]


async def test_a_server_switches_a_style_off_for_itself_alone(world: World) -> None:
    max_ = world.manager()
    await put(world, "neon", "sepia")
    elsewhere = world.env.create_guild()
    elsewhere._guild.everyone_role.permissions = world.guild._guild.everyone_role.permissions
    other = elsewhere.create_text_channel("pictures")
    eve = elsewhere.add_member(world.env.create_user("eve"))
    await world.ann.slash(world.channel, "imagine", prompt="a cat", style="neon")
    result = await world.result()
    assert "switched off" not in said(await admin(world, max_, "list"))
    answer = await admin(world, max_, "disable", style="neon")
    assert "nobody in this server is offered **neon**" in said(answer)
    for command in ("style", "styles info", "imagine", "remix", "pose"):
        option = "style" if command in ("imagine", "remix", "pose") else "name"
        assert "neon" not in await names(world, world.ann, command, option)
        assert "sepia" in await names(world, world.ann, command, option)
    page = await world.ann.slash(world.channel, "styles browse")
    assert "neon" not in str(page.response.embeds[0].description)  # type: ignore[union-attr]
    for command, options in (
        ("imagine", {"prompt": "a dog", "style": "neon"}),
        ("imagine", {"prompt": "a dog --style neon"}),
        ("style", {"name": "neon"}),
        ("styles info", {"name": "neon"}),
        ("styles try", {"prompt": "a dog", "styles": "neon, none"}),
        ("styles mix", {"name": "mine", "styles": "neon, sepia"}),
    ):
        tried = await world.ann.slash(world.channel, command, **options)
        assert 'The style "neon" is switched off in this server' in refused(world, tried)
    for label in ("Reroll", "Vary (Subtle)"):
        pressed = await world.ann.click(result, label=label)
        assert 'The style "neon" is switched off in this server' in refused(world, pressed)
    assert "neon" in await names(world, eve, channel=other)  # nothing changed for the neighbours
    await eve.slash(other, "imagine", prompt="a cat", style="neon")
    assert "style neon" in (await world.result(1, other)).content
    await world.stop()
    await world.start()
    await world.engine_ready()
    assert "neon" not in await names(world, world.ann)
    assert await names(world, max_, "admin lora enable", "style") == ["neon"]
    assert await names(world, max_, "admin lora disable", "style") == ["sepia"]
    assert "can be used in this server" in said(await admin(world, max_, "enable", style="neon"))
    assert "neon" in await names(world, world.ann)
    assert await acts(world) == [(max_.id, DISABLED), (max_.id, ENABLED)]


async def test_a_file_that_replaces_a_switched_off_style_is_switched_off(world: World) -> None:
    folder = world.settings.lora_folder
    folder.mkdir(parents=True)
    (folder / "neon.safetensors").write_bytes(lora())
    await world.parts.styles.rescan()
    await admin(world, world.manager(), "disable", style="neon")
    (folder / "neon.safetensors").write_bytes(lora(alpha=2.0))
    assert (await world.parts.styles.rescan()).added == ["neon"]
    assert "neon" not in await names(world, world.ann)


async def test_a_default_of_the_server_that_was_switched_off_stops_nobody(world: World) -> None:
    await put(world, "neon")
    await world.parts.places.set_server(world.guild.id, Preferences(style="neon"), actor_id=1)
    await admin(world, world.manager(), "disable", style="neon")
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    assert "neon" not in (await world.result()).content


async def test_owners_commands_are_for_owners_and_managers_for_managers(world: World) -> None:
    world.settings.lora_folder.mkdir(parents=True)
    (world.settings.lora_folder / "other.safetensors").write_bytes(lora())
    await put(world, "neon")
    max_, olga = world.manager(), world.owner()
    world.show_admin(world.ann)
    before = world.parts.styles.registered()
    for command, options in (*OWNERS, *MANAGERS):
        is_owners = (command, options) in OWNERS
        refusal = _authority.NEEDS_OWNER if is_owners else _authority.NEEDS_MANAGER
        others = [world.ann, max_] if is_owners else [world.ann]
        if command in ("enable", "disable"):  # about a server, which an owner may not manage
            others.append(olga)
        for person in others:
            assert said(await admin(world, person, command, **options)) == refusal
    assert world.parts.styles.registered() == before
    assert await world.parts.adapters.hidden() == {}
    assert await acts(world) == []
    for command, options in (*MANAGERS, *OWNERS):
        person = olga if (command, options) in OWNERS else max_
        assert "Only " not in refused(world, await admin(world, person, command, **options))
    done = [DISABLED, ENABLED, ADDED, EDITED, REMOVED, _lora.RESCANNED]
    assert [act for _, act in await acts(world)] == done


async def test_only_those_who_may_use_a_command_are_offered_anything(world: World) -> None:
    await put(world, "neon")
    world.settings.lora_folder.mkdir(parents=True)
    (world.settings.lora_folder / "secret.safetensors").write_bytes(lora())
    max_, olga = world.manager(), world.owner()
    world.show_admin(world.ann)
    for command, option, allowed in (
        ("add", "path", {olga}), ("remove", "style", {olga}), ("edit", "style", {olga}),
        ("info", "style", {olga, max_}), ("disable", "style", {max_}),
    ):  # fmt: skip
        for person in (world.ann, max_, olga):
            found = await names(world, person, f"admin lora {command}", option)
            assert bool(found) is (person in allowed), (command, person.name)


async def test_list_and_info_say_why_a_style_is_not_used(world: World) -> None:
    max_ = world.manager()
    await put(world, "poster", family="sdxl")
    await put(world, *(f"style {number:02}" for number in range(20)))
    await admin(world, max_, "disable", style="style 03")
    page = await admin(world, max_, "list")
    assert page.response is not None
    text = str(page.response.embeds[0].description)
    assert "made for SDXL, and the model here is SD 1.5" in text
    assert "*off in this server*" in text
    assert labels(page.response) == ["More"]
    turned = await max_.click(page.response, label="More")
    shown = turned.response or page.response
    assert "style 19" in str(shown.embeds[0].description)
    facts = await admin(world, max_, "info", style="style 03")
    fields = {field.name: field.value for field in facts.response.embeds[0].fields}  # type: ignore[union-attr]
    assert fields["State"] == "off in this server"
    assert "style 03 style" in str(fields["Called with"])
    missing = await admin(world, max_, "info", style="nosuchthing")
    assert "There is no style" in refused(world, missing)


async def test_jobs_that_run_are_not_disturbed(world: World) -> None:
    owner = world.owner()
    await put(world, "neon")
    await world.ann.slash(world.channel, "imagine", prompt="engine:hold a cat", style="neon")
    await admin(world, owner, "add", file=("b.safetensors", lora()), preview=photo())
    await admin(world, owner, "edit", style="neon", name="other", strength=0.1)
    await admin(world, owner, "rescan")
    world.go()
    result = await world.result()
    assert "other:1" in result.content or "style other" in result.content
    (job_id,) = {c.custom_id.split(":")[1] for row in result.components for c in row.children}
    job = await world.parts.jobs.get(job_id)
    assert job.state is JobState.RENDERED
    assert job.attempts == 0
    assert [one.weight for one in job.request.adapters] == [1.0]
