"""`/admin model`: owners load another one for all, managers decide what their own server draws with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from simcord.results import InteractionResult

from storage.operation import LOADED_MODEL, LOADING_MODEL
from storage.server_models import ALLOWED_MODEL, DENIED_MODEL, SET_DEFAULT_MODEL
from tests.cogs.conftest import World, settings_for, world_of
from tests.cogs.test_styles import put
from tests.model_folders import model_folder


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[World]:
    """A world whose engine has the model that the settings name, and others to load."""
    folder = tmp_path / "data" / "models"
    for name, family in (("tuned", "sd15"), ("large", "sdxl")):
        model_folder(folder / name, family)
    model_folder(folder / "wreck", "sd15", broken=True)
    (folder / "bad.safetensors").write_bytes(b"no model")
    settings = settings_for(tmp_path, "--by-settings", per_minute=0, max_waiting_per_person=20)
    base = model_folder(tmp_path / "base", "sd15")
    async with world_of(settings.model_copy(update={"model": str(base)})) as opened:
        yield opened


def words(answer: InteractionResult) -> str:
    assert answer.ephemeral
    assert answer.response is not None
    return str(answer.response.content)


def listed(answer: InteractionResult) -> list[str]:
    assert answer.response is not None
    return str(answer.response.embeds[0].description).splitlines()


def loaded(world: World) -> str:
    assert world.parts.engine.info is not None
    return world.parts.engine.info.model


async def acts(world: World) -> list[str]:
    return [entry.act for entry in reversed(await world.parts.audit.newest())]


async def test_an_owner_loads_another_model_and_it_survives_a_restart(studio: World) -> None:
    world = studio
    olga = world.owner()
    offered = await olga.autocomplete(world.channel, "admin model load", "model", "")
    assert [one["value"] for one in offered] == ["base", "large", "tuned", "wreck"]
    answer = await olga.slash(world.channel, "admin model load", model="Tuned")
    assert words(answer) == "tuned is loaded. It will be after a restart, too."
    assert await acts(world) == [LOADING_MODEL, LOADED_MODEL]
    assert "loaded already" in words(
        await olga.slash(world.channel, "admin model load", model="tuned")
    )
    await world.ann.slash(world.channel, "imagine", prompt="a cat", model="tuned")
    await world.result()
    await world.stop()
    await world.start()
    await world.engine_ready()
    assert loaded(world) == "tuned"
    named = words(await world.ann.slash(world.channel, "imagine", prompt="a cat --model base"))
    assert named.startswith("The model base is not loaded now, tuned is.")
    named = words(await world.ann.slash(world.channel, "imagine", prompt="a cat", model="dream"))
    assert "The only one here is tuned" in named


async def test_a_model_that_cannot_be_loaded_leaves_the_one_of_before(studio: World) -> None:
    world = studio
    olga = world.owner()
    answer = await olga.slash(world.channel, "admin model load", model="wreck")
    assert words(answer).startswith("wreck could not be loaded, so base is loaded again.")
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.result()
    assert loaded(world) == "base"
    assert world.parts.operation.choice is None
    for typed in ("/etc/passwd", "https://models.example/x", "../base", "bad"):
        refused = words(await olga.slash(world.channel, "admin model load", model=typed))
        assert "no model" in refused or "cannot be used" in refused
    assert await acts(world) == [LOADING_MODEL]


async def test_only_owners_load(studio: World) -> None:
    world = studio
    world.show_admin(world.ann)
    manager = world.manager()
    for person in (world.ann, manager):
        answer = await person.slash(world.channel, "admin model load", model="tuned")
        assert "Only the owners" in words(answer)
        assert await person.autocomplete(world.channel, "admin model load", "model", "") == []
    assert loaded(world) == "base"
    assert await acts(world) == []


async def test_waiting_jobs_are_made_with_it_or_given_back(studio: World) -> None:
    world = studio
    olga = world.owner()
    await olga.slash(world.channel, "admin queue pause")
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    await world.ben.slash(world.channel, "imagine", prompt="a dog", model="base")
    await olga.slash(world.channel, "admin model load", model="tuned")
    apology = await world.line("The model was changed from base to tuned while this waited")
    assert f"<@{world.ben.id}>" in apology.content
    assert apology.content.endswith("The cost was given back.")
    await olga.slash(world.channel, "admin queue resume")
    await world.result()
    (made,) = await world.parts.history.recent(world.ann.id)
    assert made.request.model == "tuned"
    usage = await world.parts.ledger.usage(world.ben.id, world.parts.limits)
    assert (usage.used_today, usage.waiting) == (0, 0)


async def test_styles_for_another_base_are_hidden_and_told_why(studio: World) -> None:
    world = studio
    await put(world, "neon")
    olga = world.owner()
    assert [one.name for one in world.parts.styles.usable()] == ["neon"]
    await olga.slash(world.channel, "admin model load", model="large")
    assert world.parts.styles.usable() == []
    answer = await world.ann.slash(world.channel, "styles info", name="neon")
    assert "is made for" in words(answer)
    await olga.slash(world.channel, "admin model load", model="base")
    assert [one.name for one in world.parts.styles.usable()] == ["neon"]


async def test_a_manager_decides_for_this_server_alone(studio: World) -> None:
    world = studio
    world.show_admin(world.ben)
    manager = world.manager()
    other = world.env.create_guild("other")
    there = other.create_text_channel("there")
    cid = other.add_member(world.env.create_user("cid"))
    for command in ("default", "allow", "deny"):
        answer = await world.ben.slash(world.channel, f"admin model {command}", model="base")
        assert "Manage Server" in words(answer)
        answer = await manager.slash(world.channel, f"admin model {command}", model="nothing")
        assert "There is no model nothing" in words(answer)
        offered = await manager.autocomplete(world.channel, f"admin model {command}", "model", "ba")
        assert [one["value"] for one in offered] == ["base"]
    assert "Manage Server" in words(await world.ben.slash(world.channel, "admin model list"))
    assert await acts(world) == []

    await manager.slash(world.channel, "admin model deny", model="BASE")
    refused = words(await world.ann.slash(world.channel, "imagine", prompt="a cat"))
    assert refused.startswith("This server does not draw with base, the model that is loaded now.")
    await cid.slash(there, "imagine", prompt="a dog")
    await world.result(1, there)
    lines = listed(await manager.slash(world.channel, "admin model list"))
    assert lines[0].endswith(" · loaded · not used in this server")
    assert [line.partition(" · ")[0] for line in lines] == [
        "**base**", "**large**", "**tuned**", "**wreck**",
    ]  # fmt: skip
    await manager.slash(world.channel, "admin model allow", model="base")
    await manager.slash(world.channel, "admin model default", model="tuned")
    await world.stop()
    await world.start()
    await world.engine_ready()
    await world.ann.slash(world.channel, "imagine", prompt="a cat")
    result = await world.result()
    assert result.content.endswith("\n-# Drawn by base: tuned is not loaded now.")
    assert await acts(world) == [DENIED_MODEL, ALLOWED_MODEL, SET_DEFAULT_MODEL]
    lines = listed(await world.owner().slash(world.channel, "admin model list"))
    (tuned,) = (line for line in lines if line.startswith("**tuned**"))
    assert tuned.endswith(" · this server would rather have it · 1 server wants it")
    assert "**bad** · cannot be used, the log says why" in lines
    await manager.slash(world.channel, "admin model default")
    assert world.parts.server_models.of(world.guild.id).default is None
