"""The health file follows the bot's state, and trouble with it never ends the bot."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from cli.health import Health
from engine.client import EngineClient
from engine.queue import JobQueue
from engine.settings import Settings
from engine.types import Limits
from storage.database import Database
from storage.jobs import JobTable
from storage.pictures import PictureFiles


def read(path: Path) -> dict[str, Any] | None:
    """Returns what is in the file, None when there is none."""
    return json.loads(path.read_text()) if path.is_file() else None


def listed(folder: Path) -> list[str]:
    """Returns the names in a folder."""
    return [path.name for path in folder.iterdir()]


async def run_health(data: Path, path: Path) -> dict[str, Any] | None:
    """Runs the writer of an idle bot for some writes; returns what it wrote, raises its errors."""
    looks = 0
    written = asyncio.Event()

    def is_connected() -> bool:
        nonlocal looks
        looks += 1
        if looks > 2:  # so two writes are over
            written.set()
        return True

    async with Database.open(data) as database:
        store = JobTable(database, PictureFiles(data / "pictures"))
        limits = Limits(waiting=1, queue=1)
        engine = EngineClient(Settings(data_dir=data))
        queue = JobQueue(store=store, engine=engine, limits=lambda _: limits)
        task = asyncio.create_task(
            Health(queue, path, is_connected=is_connected, interval_s=0.0).run()
        )
        enough = asyncio.create_task(written.wait())
        async with asyncio.timeout(10):
            await asyncio.wait({task, enough}, return_when=asyncio.FIRST_COMPLETED)
        state = read(path)
        enough.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return state


async def test_the_file_is_whole_and_goes_with_the_bot(tmp_path: Path) -> None:
    path = tmp_path / "run" / "health.json"
    state = await run_health(tmp_path / "data", path)
    assert state is not None
    assert state["connected"] is True
    assert state["engine"] == "loading"
    assert state["waiting"] == 0
    assert listed(path.parent) == []


@pytest.mark.parametrize("name", ["file/health.json", "folder", ".", "/"])
async def test_a_place_that_cannot_be_written_is_logged_once(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with caplog.at_level(logging.WARNING):
        assert await run_health(tmp_path / "data", Path(name)) is None
    [record] = [r for r in caplog.records if "health file" in r.getMessage()]
    assert record.levelno == logging.WARNING
    assert not [name for name in listed(tmp_path) if name.endswith(".tmp")]
