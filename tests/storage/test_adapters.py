"""The registry of LoRAs: unique names, files by content, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InvalidRequestError, UnknownAdapterError
from engine.types import AdapterWeight, InstalledAdapter, JobState, Limits
from storage.adapters import AdapterTable
from storage.pictures import sha256_of
from tests.storage.samples import HandClock, Store, a_request, a_submission


@pytest.fixture
def table(store: Store, clock: HandClock) -> AdapterTable:
    return AdapterTable(store.db, store.folder, clock=clock)


def a_file(folder: Path, content: bytes = b"weights") -> Path:
    path = folder / "source.safetensors"
    path.write_bytes(content)
    return path


def files(store: Store) -> set[str]:
    return {path.name for path in (store.folder / "adapters").glob("*")}


async def test_adapter_is_kept_with_everything(
    store: Store, table: AdapterTable, clock: HandClock, tmp_path: Path
) -> None:
    added = await table.add(
        a_file(tmp_path),
        "  Paper   cut ",
        trigger_words=["papercut", "flat"],
        default_weight=0.8,
        family="sd15",
        added_by=7,
    )
    assert added == InstalledAdapter(
        sha256=sha256_of(b"weights"),
        name="Paper cut",
        trigger_words=("papercut", "flat"),
        default_weight=0.8,
        family="sd15",
        enabled=True,
        added_by=7,
        size_bytes=7,
        added_at=clock.now,
    )
    assert await table.get(added.sha256) == added
    assert await table.find("PAPER CUT") == added
    assert files(store) == {f"{added.sha256}.safetensors"}
    assert (store.folder / "adapters" / f"{added.sha256}.safetensors").read_bytes() == b"weights"


async def test_same_file_twice_is_one_and_a_taken_name_leaves_nothing(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    first = await table.add(a_file(tmp_path), "One", family="sd15")
    assert await table.add(a_file(tmp_path), "Other", family="sd15") == first
    with pytest.raises(InvalidRequestError, match="a style 'one' already"):
        await table.add(a_file(tmp_path, b"others"), "one", family="sd15")
    assert files(store) == {f"{first.sha256}.safetensors"}


async def test_lists_are_by_name_family_and_what_is_allowed(
    table: AdapterTable, tmp_path: Path
) -> None:
    for name, family in (("b", "sd15"), ("A", "sd15"), ("c", "sdxl")):
        await table.add(a_file(tmp_path, name.encode()), name, family=family)
    hidden = await table.set_enabled((await table.find("b")).sha256, False)
    assert not hidden.enabled
    assert [adapter.name for adapter in await table.all()] == ["A", "c"]
    assert [adapter.name for adapter in await table.all("sd15")] == ["A"]
    assert [a.name for a in await table.all("sd15", with_disabled=True)] == ["A", "b"]


async def test_removed_adapter_is_gone_with_its_file(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    added = await table.add(a_file(tmp_path), "x", family="sd15")
    assert await table.remove(added.sha256) == added
    assert files(store) == set()
    for act in (table.get, table.remove, table.find):
        with pytest.raises(UnknownAdapterError):
            await act(added.sha256)
    with pytest.raises(UnknownAdapterError):
        await table.set_enabled(added.sha256, True)


@pytest.mark.parametrize(("name", "weight"), [("", 1.0), ("x" * 51, 1.0), ("x", 3.0)])
async def test_bad_name_and_weight_are_refused(
    store: Store, table: AdapterTable, tmp_path: Path, name: str, weight: float
) -> None:
    with pytest.raises(InvalidRequestError):
        await table.add(a_file(tmp_path), name, default_weight=weight, family="sd15")
    assert files(store) == set()


async def test_file_that_is_not_there_leaves_nothing(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await table.add(tmp_path / "nothing", "x", family="sd15")
    assert files(store) == set()


async def test_what_is_gone_keeps_its_name_and_leaves_it_to_another(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    old = await table.add(a_file(tmp_path), "neon", family="sd15", stamp="1:1")
    assert (old.source, old.stamp) == (str(tmp_path / "source.safetensors"), "1:1")
    await table.set_gone(old.sha256)
    with pytest.raises(UnknownAdapterError):
        await table.find("neon")
    assert await table.all() == []
    new = await table.add(a_file(tmp_path, b"better"), "Neon", family="sd15", stamp="2:2")
    assert await table.find("neon") == new
    assert {one.name: one.is_gone for one in await table.known()} == {"neon": True, "Neon": False}
    assert len(files(store)) == 2  # a job that was accepted with it can still be made
    back = await table.add(a_file(tmp_path), "neon again", family="sd15", stamp="3:3")
    assert (back.sha256, back.name, back.is_gone) == (old.sha256, "neon again", False)


async def test_copies_of_what_is_gone_stay_while_a_job_needs_them(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    kept = await table.add(a_file(tmp_path, b"kept"), "kept", family="sd15")
    needed = await table.add(a_file(tmp_path, b"needed"), "needed", family="sd15")
    unused = await table.add(a_file(tmp_path, b"unused"), "unused", family="sd15")
    asked = a_submission(request=a_request(adapters=(AdapterWeight(needed.sha256),)))
    job, _ = await store.jobs.add(asked, cost=1.0, limits=Limits(waiting=5, queue=5))
    for one in (needed, unused):
        await table.set_gone(one.sha256)
    assert await table.drop_unused() == 1
    assert files(store) == {f"{one.sha256}.safetensors" for one in (kept, needed)}
    await store.jobs.end(job.id, JobState.CANCELLED)
    assert await table.drop_unused() == 1
    assert files(store) == {f"{kept.sha256}.safetensors"}


async def test_a_file_that_changes_while_it_is_read_is_not_taken(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError, match="changed while it was read"):
        await table.add(a_file(tmp_path), "x", family="sd15", expected=sha256_of(b"other"))
    assert files(store) == set()


async def test_preview_is_kept_replaced_and_removed(table: AdapterTable, tmp_path: Path) -> None:
    added = await table.add(a_file(tmp_path), "x", family="sd15")
    assert await table.preview(added.sha256) is None
    for png in (b"one", b"two", None):
        await table.set_preview(added.sha256, png)
        assert await table.preview(added.sha256) == png
    await table.set_preview(added.sha256, b"last")
    await table.remove(added.sha256)
    assert await table.preview(added.sha256) is None
