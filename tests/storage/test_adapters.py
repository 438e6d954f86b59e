"""The registry of LoRAs: unique names, files by content, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InvalidRequestError, UnknownAdapterError
from engine.types import AdapterWeight, InstalledAdapter, JobState, Limits
from storage.adapters import ADDED, DISABLED, EDITED, ENABLED, REMOVED, AdapterTable
from storage.audit import Audit
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


async def test_removed_adapter_leaves_its_file_to_jobs_and_its_name_to_others(
    store: Store, table: AdapterTable, clock: HandClock, tmp_path: Path
) -> None:
    added = await table.add(a_file(tmp_path), "x", family="sd15", added_by=5)
    await table.set_preview(added.sha256, b"png")
    removed = await table.remove(added.sha256, actor_id=7)
    assert (removed.is_gone, removed.is_removed) == (True, True)
    assert await table.preview(added.sha256) is None
    assert await table.all() == []
    with pytest.raises(UnknownAdapterError):
        await table.find("x")
    with pytest.raises(UnknownAdapterError):
        await table.remove(added.sha256, actor_id=7)
    assert files(store) == {f"{added.sha256}.safetensors"}
    assert await table.drop_unused(keep={added.sha256}) == 0
    assert await table.drop_unused() == 1
    assert files(store) == set()
    again = await table.add(a_file(tmp_path), "y", family="sd15", default_weight=0.5, added_by=5)
    assert (again.name, again.default_weight, again.is_removed) == ("y", 0.5, False)
    assert files(store) == {f"{added.sha256}.safetensors"}
    acts = [(entry.actor_id, entry.act) for entry in await Audit(store.db).newest()]
    assert acts == [(5, ADDED), (7, REMOVED), (5, ADDED)]


async def test_an_edited_style_remembers_its_names(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    added = await table.add(a_file(tmp_path), "x", family="sd15")
    other = await table.add(a_file(tmp_path, b"other"), "taken", family="sd15")

    async def named(name: str) -> InstalledAdapter:
        return await table.edit(
            added.sha256, name=name, trigger_words=["a"], default_weight=0.7, actor_id=3
        )

    edited = await named("y")
    assert (edited.name, edited.former_names) == ("y", ("x",))
    assert (edited.trigger_words, edited.default_weight) == (("a",), 0.7)
    with pytest.raises(InvalidRequestError, match="'taken' already"):
        await named("taken")
    assert (await named("x")).former_names == ("y",)
    assert await table.get(other.sha256) == other
    (newest, *_) = await Audit(store.db).newest()
    assert (newest.actor_id, newest.act, newest.detail["was"]) == (3, EDITED, "y")


async def test_a_style_is_switched_off_in_one_server_alone(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    added = await table.add(a_file(tmp_path), "x", family="sd15")
    await table.set_hidden(1, added.sha256, True, actor_id=3)
    await table.set_hidden(1, added.sha256, True, actor_id=3)
    await table.set_hidden(2, added.sha256, True, actor_id=4)
    await table.set_hidden(2, added.sha256, False, actor_id=4)
    assert await table.hidden() == {1: frozenset({added.sha256})}
    newer = await table.add(a_file(tmp_path, b"2"), "x 2", family="sd15", replaces=added.sha256)
    assert await table.hidden() == {1: frozenset({added.sha256, newer.sha256})}
    with pytest.raises(UnknownAdapterError):
        await table.set_hidden(1, "0" * 64, True, actor_id=3)
    entries = await Audit(store.db).newest()
    assert [(one.act, one.detail["guild_id"]) for one in entries] == [
        (ENABLED, 2), (DISABLED, 2), (DISABLED, 1), (DISABLED, 1),
    ]  # fmt: skip


async def test_what_a_killed_process_left_is_removed(
    store: Store, table: AdapterTable, tmp_path: Path
) -> None:
    await table.collect_garbage()  # without a folder
    added = await table.add(a_file(tmp_path), "x", family="sd15")
    for name in ("abc.tmp", f"{'0' * 64}.safetensors"):
        (store.folder / "adapters" / name).write_bytes(b"half")
    await table.collect_garbage()
    assert files(store) == {f"{added.sha256}.safetensors"}


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
    await table.remove(added.sha256, actor_id=1)
    assert await table.preview(added.sha256) is None
