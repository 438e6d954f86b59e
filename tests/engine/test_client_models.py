"""Another model takes the place of the loaded one, or does not and that of before is back."""

from __future__ import annotations

import os
import signal

import pytest

from engine.errors import EngineDiedError, ModelLoadError
from engine.model_card import provisional_info
from engine.types import (
    EngineDied,
    EngineLoading,
    EngineReady,
    GenerationFailed,
    GenerationResult,
    Started,
)
from tests.engine.scripted import WAIT_S, ready, request, running_client, settings_for
from tests.model_folders import model_folder

pytestmark = pytest.mark.timeout(WAIT_S)


def settings_of(tmp_path, name, *options, **card):
    folder = tmp_path / name
    if not folder.exists():
        model_folder(folder, **card)
    return settings_for(tmp_path, "--by-settings", *options, model=str(folder))


def switch(log, settings):
    return log.client.switch(settings, provisional_info(settings))


async def test_what_runs_is_finished_before_the_other_model_is_loaded(tmp_path):
    async with running_client(settings_of(tmp_path, "one", "--max-rows", "2")) as log:
        await ready(log)
        for job_id in ("runs", "sent"):
            await log.client.submit(job_id, request("a cat engine:hold", model="one"), {})
        await log.first(Started, "runs")
        pid = log.client.pid
        loaded = switch(log, settings_of(tmp_path, "two"))
        assert (log.client.is_ready, log.client.info.model) == (False, "two")
        with pytest.raises(EngineDiedError):
            await log.client.call("stats")
        (tmp_path / "go").touch()
        info = await loaded
        assert (info.model, log.client.is_ready) == ("two", True)
        assert log.client.pid != pid
        ends = await log.finals("runs", "sent")
        await log.client.submit("new", request(model="two"), {})
        ends |= await log.finals("new")
        await log.until(lambda _: len(log.of(EngineReady)) == 2)
    assert all(isinstance(e, GenerationResult) for e in ends.values())
    assert not log.of(EngineDied)  # nobody reads that the engine broke down
    assert [e.info.model for e in log.of(EngineReady)] == ["one", "two"]
    assert EngineLoading("finishing what runs", None, "two") in log.events
    assert EngineLoading("starting", None, "two") in log.events


async def test_a_model_that_cannot_be_loaded_brings_that_of_before_back(tmp_path, caplog):
    async with running_client(settings_of(tmp_path, "one")) as log:
        await ready(log)
        with pytest.raises(ModelLoadError, match="no model at /nowhere"):
            await switch(log, settings_of(tmp_path, "two", broken=True))
        assert log.client.info.model == "one"
        await log.until(lambda _: len(log.of(EngineReady)) == 2)
        await log.client.submit("a", request(model="one"), {})
        assert isinstance((await log.finals("a"))["a"], GenerationResult)
        info = await switch(log, settings_of(tmp_path, "three"))  # and one can try again
        assert info.model == "three"
    assert [e.info.model for e in log.of(EngineReady)] == ["one", "one", "three"]
    assert not log.of(EngineDied)
    (error,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert "The model two could not be loaded" in error.getMessage()


async def test_an_engine_that_dies_before_its_last_jobs_makes_them_before_it_goes(tmp_path):
    async with running_client(settings_of(tmp_path, "one")) as log:
        await ready(log)
        await log.client.submit("a", request("a cat engine:hold", model="one"), {})
        await log.first(Started, "a")
        loaded = switch(log, settings_of(tmp_path, "two"))
        os.kill(log.client.pid, signal.SIGKILL)
        await log.first(EngineDied)
        (tmp_path / "go").touch()
        assert (await loaded).model == "two"
        assert isinstance((await log.finals("a"))["a"], GenerationResult)
        await log.until(lambda _: len(log.of(EngineReady)) == 2)
    assert [e.info.model for e in log.of(EngineReady)] == ["one", "two"]


async def test_a_model_that_cannot_be_loaded_does_not_hold_up_another_one(tmp_path):
    settings = settings_of(tmp_path, "one", broken=True)
    async with running_client(settings, backoff_s=(0.01, 3600.0)) as log:
        await log.first(EngineDied)
        await log.client.submit("a", request(model="one"), {})
        info = await switch(log, settings_of(tmp_path, "two"))
        assert info.model == "two"
        ended = (await log.finals("a"))["a"]
    assert isinstance(ended, GenerationFailed)
    assert "cannot be loaded any more" in ended.message


@pytest.mark.parametrize("is_starting", [False, True])
async def test_a_start_gives_way(tmp_path, is_starting):
    """Before the first process, as after a restart of the bot, and while one loads."""
    slow = settings_of(tmp_path, "one", "--never-ready", "--loading", "1")
    async with running_client(slow) as log:
        if is_starting:
            await log.until(lambda _: any(e.stage == "loading" for e in log.of(EngineLoading)))
        assert (await switch(log, settings_of(tmp_path, "two"))).model == "two"
        await ready(log)
    assert not log.of(EngineDied)
