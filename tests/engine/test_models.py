"""Which models there are, and what becomes of a waiting job when another one is loaded."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from engine.errors import InvalidRequestError
from engine.model_card import read_card
from engine.models import Models
from engine.refit import refit
from engine.settings import Settings
from engine.shelf import expected_info, named_models, settings_for
from engine.types import AdapterWeight, Control, Job, JobState
from tests.engine.scripted import submission
from tests.model_folders import model_folder


@pytest.fixture
def settings(tmp_path):
    model_folder(tmp_path / "models" / "tuned", "sd15")
    model_folder(tmp_path / "models" / "large", "sdxl")
    (tmp_path / "models" / "notes").mkdir()
    (tmp_path / "models" / "wrong.safetensors").write_bytes(b"no model")
    return Settings(
        data_dir=tmp_path,
        model=str(model_folder(tmp_path / "base", "sd15")),
        model_revision="main",
        controlnets="canny=somewhere",
        models=("pocket", str(tmp_path / "gone"), "somebody/fancy-xl", str(tmp_path / "base")),
    )


def test_only_what_the_operator_named_is_a_model(settings):
    found = named_models(settings)
    assert [m.name for m in found if not m.problem] == [
        "base", "pocket", "fancy-xl", "large", "tuned",
    ]  # fmt: skip
    assert [m.card.family for m in found if m.card] == ["sd15", "pocket", "sdxl", "sdxl", "sd15"]
    assert {m.name for m in found if m.problem} == {"gone", "wrong"}


def test_two_models_of_one_name_are_told(settings, tmp_path):
    model_folder(tmp_path / "models" / "other", "sd15", name="Base")
    problems = [m.problem for m in named_models(settings) if "two models" in m.problem]
    assert len(problems) == 1


def test_an_engine_with_another_model_gets_what_fits_it(settings):
    base, pocket, _, _, tuned = (m for m in named_models(settings) if not m.problem)
    assert settings_for(settings, base) == settings
    assert settings_for(settings, tuned).controlnets == "canny=somewhere"
    assert settings_for(settings, tuned).model_revision is None
    assert settings_for(settings, pocket).controlnets is None
    assert settings_for(settings, pocket).engine_environment()["EASEL_MODEL"] == "pocket"
    assert expected_info(settings, tuned).model == "tuned"


async def nothing(*_, **__):
    pass


async def test_names_are_found_however_they_are_written(settings):
    class Loaded:
        info = expected_info(settings, named_models(settings)[0])

    models = Models(settings=settings, engine=Loaded(), save=nothing)
    await models.refresh()
    assert models.find("Fancy XL").name == "fancy-xl"
    assert models.matching("la", 5) == ["large"]
    assert models.matching("tuend", 5) == ["tuned"]
    for name, words in (
        ("/etc/passwd", "There is no model /etc/passwd"),
        ("https://evil/x", "no model"),
        ("gone", "cannot be used"),
    ):
        with pytest.raises(InvalidRequestError, match=words):
            models.check_load(name)
    with pytest.raises(InvalidRequestError, match="base is loaded already"):
        models.check_load("base")
    models.check_named("BASE")
    models.check_named("nonsense")  # /imagine itself knows what to say of it
    with pytest.raises(InvalidRequestError, match="The model tuned is not loaded now, base is"):
        models.check_named("tuned")


def waiting(guild_id=None, pins_model=False, **changes):
    asked = submission("1", model="base", width=64, height=64, **changes)
    destination = dataclasses.replace(asked.destination, guild_id=guild_id)
    asked = dataclasses.replace(asked, destination=destination, pins_model=pins_model)
    return Job("a", asked, JobState.QUEUED, 1.0, 0, datetime.now(UTC))


def test_a_job_is_adapted_when_nothing_changes_that_was_chosen(settings, tmp_path):
    cards = {m.name: m.card for m in named_models(settings)}
    models = {m.name: m for m in named_models(settings)}
    tuned = expected_info(settings, models["tuned"])
    large = expected_info(settings, models["large"])
    slow = model_folder(tmp_path / "slow", "sd15", default_steps=9)
    slow_info = dataclasses.replace(
        tuned, model="slow", default_steps=read_card(slow).default_steps
    )

    def made(job, info, allows=lambda guild_id, model: guild_id != 5):
        return refit(job, info, card_of=cards.get, allows=allows)

    job = waiting(adapters=(AdapterWeight("ab" * 32),), controls=(Control("canny", "cd" * 32),))
    assert made(job, tuned) == dataclasses.replace(job.request, model="tuned")
    same = dataclasses.replace(tuned, model="base")
    assert made(job, same) is job.request
    for ended, info in (
        (waiting(), large),  # other sizes
        (waiting(), slow_info),  # other steps when none are said
        (waiting(pins_model=True), tuned),
        (waiting(guild_id=5), tuned),  # a server that does not draw with it
        (waiting(controls=(Control("depth", "cd" * 32),)), tuned),
        (waiting(), dataclasses.replace(tuned, samplers=tuned.samplers[:1])),
    ):
        with pytest.raises(InvalidRequestError, match="was changed from base to"):
            made(ended, info)
    cards.clear()
    with pytest.raises(InvalidRequestError):
        made(waiting(), tuned)
