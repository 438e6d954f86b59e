"""`/admin ops`: status, audit, backup and purge, as an owner sees them."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from simcord.results import InteractionResult

from storage.backups import MADE
from storage.purge import PURGED
from tests.cogs.conftest import World, labels, settings_for, world_of
from tests.cogs.test_settings import fields


def said(answer: InteractionResult) -> Any:
    assert answer.ephemeral
    assert answer.response is not None
    return answer.response.content


async def test_status_tells_what_an_operator_needs(world: World) -> None:
    olga = world.owner()
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    await world.ben.slash(world.channel, "imagine", prompt="engine:hold a dog")
    await world.line("a dog")
    await world.parts.backups.make(olga.id)
    shown = await olga.slash(world.channel, "admin ops status")
    assert shown.ephemeral
    card = fields(shown)
    assert "ready" in card["Engine"]
    assert "GPU memory: 4.0 GiB of 16.0 GiB used" in card["Engine"]
    assert "1 job" in card["Queue"]
    assert f"{world.guild.name}: 1" in card["Queue"]
    assert "1 picture in the last hour" in card["Speed"]
    assert "5.2 steps/s" in card["Speed"]
    assert "95 %" in card["Speed"]
    assert "GiB free" in card["Disk"]
    assert "1 picture: " in card["Disk"]
    assert "last backup: <t:" in card["Disk"]
    assert "none" in card["Restarts of the engine"]
    assert "Python 3" in card["Running"]
    assert max(len(line) for text in card.values() for line in text.splitlines()) < 120
    world.go()
    await world.result(2)


async def test_status_tells_of_an_engine_that_died(world: World) -> None:
    olga = world.owner()
    await world.ann.slash(world.channel, "imagine", prompt="engine:crash-once a cat")
    await world.result()
    card = fields(await olga.slash(world.channel, "admin ops status"))
    assert "SIGKILL" in card["Restarts of the engine"]
    assert card["Restarts of the engine"].startswith("1 in all")


async def test_status_needs_no_engine(tmp_path: Path) -> None:
    async with world_of(settings_for(tmp_path, "--never-ready"), ready=False) as world:
        shown = await world.owner().slash(world.channel, "admin ops status")
        assert fields(shown)["Engine"] == "loading: starting"


async def test_audit_has_pages_and_can_be_of_one_person(world: World) -> None:
    olga = world.owner()
    shown = await olga.slash(world.channel, "admin ops audit")
    assert "Nothing was done" in shown.response.embeds[0].description
    for number in range(12):
        await world.parts.audit.add(world.ann.id, "counted", number=number)
        await world.parts.audit.add(7, "looked", channel_id=world.channel.id, text="**x** @here")
    shown = await olga.slash(world.channel, "admin ops audit")
    text = shown.response.embeds[0].description
    assert text.count("counted") == text.count("looked") == 5
    assert f"<#{world.channel.id}>" in text
    assert "\\*\\*x" in text
    await olga.click(shown.response, label="Older")
    assert "number: 6" in shown.response.embeds[0].description
    mine = await olga.slash(world.channel, "admin ops audit", person=world.ann)
    assert "looked" not in mine.response.embeds[0].description
    await olga.click(mine.response, label="Older")
    text = mine.response.embeds[0].description
    assert text.count("counted") == 2
    assert "looked" not in text
    assert labels(mine.response) == []


async def test_a_backup_can_be_started_from(world: World) -> None:
    olga = world.owner()
    await world.ann.slash(world.channel, "imagine", prompt="before the backup")
    message = await world.result()
    answer = await olga.slash(world.channel, "admin ops backup")
    assert "Backed up" in said(answer)
    assert "1 picture" in said(answer)
    [entry] = await world.parts.audit.newest()
    assert (entry.actor_id, entry.act) == (olga.id, MADE)
    await world.ann.slash(world.channel, "imagine", prompt="after the backup")
    await world.result(2)
    await world.stop()
    await asyncio.to_thread(restore, world)
    await world.start()
    await world.engine_ready()
    found = await world.parts.history.recent(world.ann.id)
    assert [one.request.prompt for one in found] == ["before the backup"]
    await world.ann.click(message, label="Reroll")  # its buttons work as before
    await world.result(3)


def restore(world: World) -> None:
    """What docs/operating.md tells to do, on the data directory of a bot that was stopped."""
    data = world.settings.data_dir
    [backup] = data.glob("backups/*.db")
    for name in ("easel.db", "easel.db-wal"):
        (data / name).unlink(missing_ok=True)
    shutil.copy(backup, data / "easel.db")


async def test_purge_asks_and_then_buttons_say_that_the_picture_is_gone(world: World) -> None:
    olga = world.owner()
    await world.ann.slash(world.channel, "imagine", prompt="old")
    old = await world.result()
    await world.ann.slash(world.channel, "imagine", prompt="old and loved")
    loved = await world.result(2)
    await world.ben.click(loved, label="Star")
    generations = {g.request.prompt: g for g in await world.parts.history.recent(world.ann.id)}
    then = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="microseconds")
    async with world.parts.jobs._db.transaction() as tx:
        await tx.rows("UPDATE generations SET created_at = ?", (then,))
    nothing = await olga.slash(world.channel, "admin ops purge", days=41)
    assert "No picture" in said(nothing)
    asked = await olga.slash(world.channel, "admin ops purge", days=30)
    assert "1 picture (" in said(asked)
    assert world.parts.pictures._path(generations["old"].pictures[0]).exists()
    done = await olga.click(asked.response, label="Delete them")
    assert done.response is None or "Deleted: 1 picture" in done.response.content
    assert not world.parts.pictures._path(generations["old"].pictures[0]).exists()
    assert world.parts.pictures._path(generations["old and loved"].pictures[0]).exists()
    for label in ("Vary (Subtle)", "Upscale", "Star", "Send to DM", "Reroll"):
        answer = await world.ann.click(old, label=label)
        assert answer.ephemeral
        text = said(answer)
        assert "gone" in text or "deleted" in text or "not there" in text, (label, text)
    info = await world.ann.click(old, label="Info")
    assert info.ephemeral  # how it was made stays
    acts = [entry.act for entry in await world.parts.audit.newest()]
    assert acts == [PURGED]
