"""The registry of styles: files are found, checked, replaced and lost without a word from anybody."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import UnknownAdapterError
from engine.intake.pool import Intake
from engine.settings import Settings
from engine.styles import PREVIEW_SIDE, Styles
from engine.types import AdapterWeight, Destination, Submission
from storage.adapters import AdapterTable
from storage.database import Database
from tests.engine.lora.lora_files import kohya, written
from tests.engine.scripted import info, request


@dataclass
class Shop:
    """A registry with its folder; the model is one of the family sd15."""

    styles: Styles
    table: AdapterTable
    folder: Path

    def put(self, name: str, family: str = "sd15", trigger: str = "", alpha: float = 1.0) -> Path:
        """Writes a LoRA file; another alpha is another file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"modelspec.trigger_phrase": trigger} if trigger else {}
        path.write_bytes(written(kohya(family, alpha=alpha), metadata=metadata))
        return path

    def names(self) -> list[str]:
        return [one.name for one in self.styles.usable()]


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Shop]:
    settings = Settings(data_dir=tmp_path / "data", lora_dir=tmp_path / "loras")
    async with Database.open(settings.data_dir) as database, Intake(settings) as intake:
        table = AdapterTable(database, settings.data_dir)
        styles = Styles(store=table, settings=settings, intake=intake, info=info)
        await styles.load()
        yield Shop(styles, table, settings.lora_folder)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(tmp_path) as one:
        yield one


def submission(*adapters: AdapterWeight) -> Submission:
    return Submission("x", 1, "Ann", Destination(1), request(adapters=adapters))


async def test_files_become_styles_with_what_they_say(shop: Shop, tmp_path: Path) -> None:
    shop.put("Neon_glow.safetensors", trigger="neon style, glow")
    Image.new("RGB", (700, 350), "red").save(shop.folder / "Neon_glow.webp")
    (shop.folder / "notes.txt").write_text("nothing")
    scan = await shop.styles.rescan()
    assert scan.added == ["Neon glow"]
    (style,) = shop.styles.usable()
    assert (style.trigger_words, style.family) == (("neon style", "glow"), "sd15")
    assert shop.styles.find("NEON-glow") == style
    png = await shop.styles.preview(style.sha256)
    assert png is not None
    assert Image.open(io.BytesIO(png)).size == (PREVIEW_SIDE, PREVIEW_SIDE // 2)
    async with opened(tmp_path / "other") as empty:
        assert empty.names() == []  # a missing folder is no error
        await empty.styles.rescan()


async def test_a_start_without_changes_checks_nothing_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.put("neon.safetensors")
    await shop.styles.rescan()

    async def never(*_: object, **__: object) -> None:
        raise AssertionError("checked again")

    monkeypatch.setattr("engine.styles.check_lora_file", never)
    await shop.styles.load()
    scan = await shop.styles.rescan()
    assert (scan.added, scan.gone, scan.refused, shop.names()) == ([], [], {}, ["neon"])


async def test_changed_and_removed_files_are_noticed(shop: Shop) -> None:
    path = shop.put("neon.safetensors")
    await shop.styles.rescan()
    old = shop.styles.find("neon")
    await shop.styles.check(submission(AdapterWeight(old.sha256)))
    shop.put("neon.safetensors", alpha=2.0)
    scan = await shop.styles.rescan()
    assert (scan.added, scan.gone) == (["neon"], ["neon"])
    new = shop.styles.find("neon")
    assert new.sha256 != old.sha256
    with pytest.raises(UnknownAdapterError, match='"neon" was removed'):
        await shop.styles.check(submission(AdapterWeight(old.sha256)))
    path.unlink()
    assert (await shop.styles.rescan()).gone == ["neon"]
    assert shop.names() == []
    assert shop.styles.name_of(new.sha256) == "neon"
    with pytest.raises(UnknownAdapterError, match='"neon" was removed'):
        shop.styles.find("neon")
    shop.put("neon.safetensors", alpha=2.0)
    await shop.styles.rescan()
    assert shop.styles.find("neon").sha256 == new.sha256


async def test_what_is_broken_or_does_not_fit_is_told_once(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.put("big/poster.safetensors", family="sdxl")
    (shop.folder / "broken.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    first = shop.put("a.safetensors", alpha=3.0)
    (shop.folder / "twin.safetensors").write_bytes(first.read_bytes())
    with caplog.at_level(logging.WARNING, "engine.styles"):
        scan = await shop.styles.rescan()
        assert (await shop.styles.rescan()).refused == {}
    assert scan.refused.keys() == {"broken.safetensors", "twin.safetensors"}
    assert len([r for r in caplog.records if r.name == "engine.styles"]) == 2
    assert shop.names() == ["a"]
    with pytest.raises(UnknownAdapterError, match=r"made for SDXL, and the model here is"):
        shop.styles.find("poster")


async def test_unknown_names_get_the_nearest(shop: Shop) -> None:
    with pytest.raises(UnknownAdapterError, match="There are none here yet"):
        shop.styles.find("neon")
    shop.put("neon.safetensors")
    await shop.styles.rescan()
    with pytest.raises(
        UnknownAdapterError, match=r'There is no style "noen"\. Did you mean neon\?'
    ):
        shop.styles.find("noen")


async def test_names_are_free_of_what_means_something_in_a_list(shop: Shop) -> None:
    shop.put("a, b: (c).safetensors", alpha=1.0)
    shop.put("a b c.safetensors", alpha=2.0)
    shop.put("none.safetensors", alpha=3.0)
    shop.put("x\u202ey\u200b.safetensors", alpha=4.0)  # nobody could type that
    await shop.styles.rescan()
    assert shop.names() == ["a b c", "a b c 2", "none 2", "xy"]
