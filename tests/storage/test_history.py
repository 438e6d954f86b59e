"""Finished jobs: pictures on disk before the row, all parameters, parents, shared and deleted files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import UnknownJobError
from engine.types import Generation, Job, JobState
from storage.pictures import sha256_of
from storage.references import collect_garbage
from tests.storage.samples import (
    NO_LIMITS,
    HandClock,
    Store,
    a_request,
    a_result,
    a_submission,
)


async def add(
    store: Store, owner_id: int = 1, *, init: str | None = None, parent_id: str | None = None
) -> Job:
    request = a_request() if init is None else a_request(init_image=init, strength=0.5)
    submission = a_submission(owner_id, request=request, parent_id=parent_id)
    job, _ = await store.jobs.add(submission, cost=1.0, limits=NO_LIMITS)
    return job


async def made(store: Store, *contents: bytes, **fields: object) -> Generation:
    job = await add(store, **fields)  # type: ignore[arg-type]
    await store.jobs.finish(job.id, a_result(job.id, *contents))
    return await store.history.get(job.id)


async def test_finished_job_is_in_history_with_everything(store: Store, clock: HandClock) -> None:
    job = await add(store)
    await store.jobs.mark_running(job.id)
    clock.turn(3)
    finished = await store.jobs.finish(job.id, a_result(job.id, b"one", b"two"))
    assert finished.state == JobState.RENDERED
    assert finished.finished_at == clock.now
    generation = await store.history.get(job.id)
    assert generation == Generation(
        id=job.id,
        submission=job.submission,
        created_at=clock.now,
        seconds=1.5,
        pictures=(sha256_of(b"one"), sha256_of(b"two")),
        seeds=(7, 8),
        warnings=("The last 2 words were not read.",),
        receipt={"model": "pocket", "rows": [2, 2, 4]},
        scores=(None, None),
    )
    assert [await store.jobs.image(sha) for sha in generation.pictures] == [b"one", b"two"]


async def test_finish_twice_is_the_same_job(store: Store) -> None:
    job = await add(store)
    both = await asyncio.gather(
        *(store.jobs.finish(job.id, a_result(job.id, b"one")) for _ in range(2))
    )
    third = await store.jobs.finish(job.id, a_result(job.id, b"other"))
    assert both[0] == both[1] == third
    assert store.files() == {sha256_of(b"one")}


async def test_cancelled_job_stays_cancelled_and_leaves_no_file(store: Store) -> None:
    job = await add(store)
    await store.jobs.end(job.id, JobState.CANCELLED)
    late = await store.jobs.finish(job.id, a_result(job.id, b"late"))
    assert late.state == JobState.CANCELLED
    assert store.files() == set()
    with pytest.raises(UnknownJobError):
        await store.history.get(job.id)


async def test_cancel_while_files_are_written_leaves_one_outcome(store: Store) -> None:
    outcomes = set()
    for turns in range(0, 40, 2):
        content = f"picture {turns}".encode()
        job = await add(store)
        finish = asyncio.create_task(store.jobs.finish(job.id, a_result(job.id, content)))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = await store.jobs.end(job.id, JobState.CANCELLED)
        state = (await finish).state
        outcomes.add(state)
        assert (state == JobState.CANCELLED) == (cancelled is not None)
        assert (sha256_of(content) in store.files()) == (state == JobState.RENDERED)
    assert JobState.CANCELLED in outcomes


async def test_message_of_a_result_finds_its_generation(store: Store) -> None:
    first = await made(store, b"1")
    second = await made(store, b"2")
    await store.jobs.mark_delivered(first.id, 500)
    await store.history.set_message(second.id, 600)
    found = await store.history.by_message(500)
    assert found is not None
    assert (found.id, found.message_id) == (first.id, 500)
    assert (await store.history.get(second.id)).message_id == 600
    assert await store.history.by_message(1) is None
    with pytest.raises(UnknownJobError):
        await store.history.set_message("none", 1)


async def test_recent_pages_through_equal_times_without_gap_or_repeat(
    store: Store, clock: HandClock
) -> None:
    for number in range(7):
        await made(store, f"{number}".encode())
        if number % 3 == 0:
            clock.turn(60)
    await made(store, b"other", owner_id=2)
    everything = [generation.id for generation in await store.history.recent(1, limit=100)]
    assert len(everything) == 7
    pages: list[str] = []
    while page := await store.history.recent(1, limit=2, before=pages[-1] if pages else None):
        pages += [generation.id for generation in page]
    assert pages == everything
    times = [(await store.history.get(id_)).created_at for id_ in everything]
    assert times == sorted(times, reverse=True)


async def test_parents_and_children(store: Store) -> None:
    first = await made(store, b"1")
    second = await made(store, b"2", parent_id=first.id)
    third = await made(store, b"3", parent_id=second.id)
    sibling = await made(store, b"4", parent_id=first.id)
    assert [g.id for g in await store.history.ancestors(third.id)] == [second.id, first.id]
    assert await store.history.ancestors(first.id) == []
    assert {g.id for g in await store.history.children(first.id)} == {second.id, sibling.id}
    assert (await store.history.get(third.id)).submission.parent_id == second.id


async def test_deleted_pictures_leave_their_row(store: Store, clock: HandClock) -> None:
    generation = await made(store, b"one", b"two")
    await store.history.delete_pictures(generation.id)
    deleted_at = clock.now
    clock.turn(60)
    await store.history.delete_pictures(generation.id)
    kept = await store.history.get(generation.id)
    assert (kept.pictures, kept.seeds, kept.deleted_at) == ((), (7, 8), deleted_at)
    assert kept.request == generation.request
    assert store.files() == set()
    assert await store.history.recent(1) == []
    with pytest.raises(UnknownJobError):
        await store.jobs.image(generation.pictures[0])
    with pytest.raises(UnknownJobError):
        await store.history.delete_pictures("none")


async def test_shared_picture_goes_with_its_last_generation(store: Store) -> None:
    first = await made(store, b"same", b"own")
    second = await made(store, b"same", b"same", owner_id=2)
    await store.history.delete_pictures(first.id)
    assert store.files() == {sha256_of(b"same")}
    assert await store.jobs.image(second.pictures[1]) == b"same"
    await store.history.delete_pictures(second.id)
    assert store.files() == set()


async def test_deleting_while_the_same_picture_is_made_again_loses_nothing(store: Store) -> None:
    """Delete and finish of equal content meet at every distance; a row never lacks its file."""
    for turns in range(0, 40, 2):
        old = await made(store, b"same")
        job = await add(store)
        finish = asyncio.create_task(store.jobs.finish(job.id, a_result(job.id, b"same")))
        for _ in range(turns):
            await asyncio.sleep(0)
        await store.history.delete_pictures(old.id)
        await finish
        assert await store.jobs.image(sha256_of(b"same")) == b"same"
        await store.history.delete_pictures(job.id)
        assert store.files() == set()


async def test_picture_to_start_from_must_be_there(store: Store) -> None:
    with pytest.raises(UnknownJobError, match="Attach it again"):
        await add(store, init=sha256_of(b"never put"))
    with pytest.raises(UnknownJobError):
        await add(store, init="../../etc/passwd")


async def test_deleted_result_stays_for_the_job_that_waits_to_start_from_it(store: Store) -> None:
    for ends_well in (True, False):
        parent = await made(store, b"parent")
        [sha] = parent.pictures
        job = await add(store, init=sha, parent_id=parent.id)
        await store.history.delete_pictures(parent.id)
        assert await store.jobs.image(sha) == b"parent"
        if ends_well:
            await store.jobs.finish(job.id, a_result(job.id, b"child"))
        else:
            await store.jobs.end(job.id, JobState.CANCELLED)
        assert store.files() == {sha256_of(b"child")}


async def test_upload_stays_for_what_was_made_from_it(store: Store) -> None:
    upload = await store.pictures.put(b"upload")
    first = await made(store, b"1", init=upload)
    second = await made(store, b"2", init=upload)
    await store.history.delete_pictures(first.id)
    assert store.files() == {upload, sha256_of(b"2")}
    await store.history.delete_pictures(second.id)
    assert store.files() == set()


async def test_garbage_of_an_interrupted_run_is_collected(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await made(store, b"kept")
    waiting = await store.pictures.put(b"upload of a waiting job")
    await add(store, init=waiting)
    cancelled = await store.pictures.put(b"upload of a cancelled job")
    job = await add(store, init=cancelled)
    await store.jobs.end(job.id, JobState.CANCELLED)
    await store.pictures.put(b"no row")
    half = store.folder / "pictures" / waiting[:2] / f"{waiting}.0.tmp"
    half.write_bytes(b"upl")
    lost = await made(store, b"lost")
    await store.pictures.delete(lost.pictures[0])
    assert await collect_garbage(store.db, store.pictures) == 3
    assert store.files() == {kept.pictures[0], waiting}
    assert f"1 picture files are missing, the first is {lost.pictures[0]}" in caplog.text


async def test_full_disk_leaves_the_garbage_for_the_next_start(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.pictures.put(b"left over")
    await store.db.rows("PRAGMA query_only = ON")  # every write fails
    assert await collect_garbage(store.db, store.pictures) == 0
    assert "not removed" in caplog.text
    await store.db.rows("PRAGMA query_only = OFF")
    assert await collect_garbage(store.db, store.pictures) == 1


async def test_damaged_file_is_not_shown_and_mended_by_the_same_picture(
    store: Store, tmp_path: Path
) -> None:
    sha = await store.pictures.put(b"picture")
    (tmp_path / "pictures" / sha[:2] / sha).write_bytes(b"picturf")
    with pytest.raises(UnknownJobError, match="damaged"):
        await store.pictures.get(sha)
    await store.pictures.put(b"picture")
    assert await store.pictures.get(sha) == b"picture"


async def test_failed_write_leaves_no_file_and_the_job_as_it_was(
    store: Store, tmp_path: Path
) -> None:
    job = await add(store)
    folder = tmp_path / "pictures"
    folder.write_text("in the way")
    with pytest.raises(OSError, match="pictures"):
        await store.jobs.finish(job.id, a_result(job.id, b"one"))
    folder.unlink()
    assert (await store.jobs.get(job.id)).state == JobState.QUEUED
    await store.jobs.finish(job.id, a_result(job.id, b"one"))
    assert store.files() == {sha256_of(b"one")}
