"""What is stored about a person, and that nothing of it stays after an erasure."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import UnknownJobError
from engine.types import JobState, Limits
from storage.arrivals import Arrival, Arrivals
from storage.database import Database
from storage.pictures import sha256_of
from storage.privacy import ERASED
from storage.references import collect_garbage
from tests.storage.samples import NO_LIMITS, HandClock, Store, a_request, a_submission, make
from tests.storage.wrecks import SECRET, traces


async def fill(store: Store) -> tuple[str, str]:
    """Person 1 made many things, person 2 some from them; returns what person 2 keeps, by id."""
    upload = await store.pictures.put(f"upload of {SECRET}".encode())
    for number in range(60):  # pages of the database split and move
        owner_id = 1 if number % 3 else 2
        prompt = f"{SECRET} {number} " * 9 if owner_id == 1 else f"something else {number} " * 7
        content = f"{number} {SECRET if owner_id == 1 else ''}".encode()
        picture = await make(store, content, owner_id=owner_id, prompt=prompt)
        if number == 40:
            await store.gallery.set_star(2, picture.id, on=True)
            child = await make(store, b"child", owner_id=2, prompt="of hers", parent_id=picture.id)
    await store.people.set_preferences(1, SECRET, store.people.preferences(1))
    failed, _ = await store.jobs.add(
        a_submission(1, request=a_request(prompt=SECRET, init_image=upload, strength=0.5)),
        cost=1,
        limits=NO_LIMITS,
    )
    await store.jobs.end(failed.id, JobState.FAILED)
    await store.jobs.mark_delivered(failed.id, 500, 50)
    shared = await make(store, b"the same", owner_id=2, prompt="a twin")
    await make(store, b"the same", owner_id=1, prompt=SECRET)
    deleted = await make(store, prompt=f"{SECRET} deleted")
    await store.history.delete_pictures(deleted.id)
    return child.id, shared.id


async def test_nothing_of_an_erased_person_is_left_in_any_file(
    store: Store, tmp_path: Path, clock: HandClock
) -> None:
    child, shared = await fill(store)
    assert len(traces(tmp_path)) > 30
    await store.privacy.begin_erasure(1)
    await store.privacy.erase(1)
    assert traces(tmp_path) == []
    assert await store.privacy.pending() == []
    assert await store.history.recent(1) == []
    for table, column in (("people", "id"), ("jobs", "owner_id"), ("generations", "owner_id")):
        assert await store.db.rows(f"SELECT 1 FROM {table} WHERE {column} = 1") == []
    # What belongs to another person is as it was, but for the parent that is gone.
    assert (await store.history.get(child)).submission.parent_id is None
    assert (await store.history.get(shared)).pictures == (sha256_of(b"the same"),)
    assert len(await store.history.recent(2, limit=100)) == 22
    assert len(store.files()) == 22
    [row] = await store.db.rows("SELECT * FROM audit")
    assert (row["actor_id"], row["act"], row["detail"]) == (1, ERASED, "{}")
    assert await store.privacy.messages_to_delete(10) == [(50, 500)]
    await store.privacy.message_deleted(500)
    assert await store.privacy.messages_to_delete(10) == []
    [row] = await store.db.rows("PRAGMA integrity_check")
    assert row[0] == "ok"


async def test_status_lines_of_pictures_that_were_being_fetched_are_noted(store: Store) -> None:
    arrivals = Arrivals(store.db)
    for owner_id in (1, 2):
        arrival = Arrival(a_submission(owner_id), "https://x/1", 0.5, takes_size=True)
        assert await arrivals.add(arrival)
        await arrivals.set_message(arrival.origin, 500 + owner_id)
    await store.privacy.begin_erasure(1)
    assert await store.privacy.messages_to_delete(9) == [(10, 501)]
    (kept,) = await arrivals.left_behind()
    assert kept.submission.owner_id == 2


async def test_what_was_used_up_counts_after_an_erasure(store: Store, clock: HandClock) -> None:
    limits = Limits(waiting=9, queue=9, daily=2)
    await make(store)
    await store.privacy.begin_erasure(1)
    await store.privacy.erase(1)
    assert (await store.ledger.usage(1, limits)).used_today == 1
    clock.turn(25 * 3600)
    await store.privacy.finish_interrupted()
    assert await store.db.rows("SELECT * FROM charges") == []


async def test_erasure_leaves_what_was_asked_for_after_it(store: Store) -> None:
    before = await make(store, prompt="before")
    await store.privacy.begin_erasure(1)
    after = await make(store, prompt="after")
    await store.privacy.erase(1)
    assert [one.id for one in await store.history.recent(1)] == [after.id]
    with pytest.raises(UnknownJobError):
        await store.history.get(before.id)


@pytest.mark.parametrize("moments", [3, 45, 150])
async def test_interrupted_erasure_is_finished_by_the_next_start(
    tmp_path: Path, clock: HandClock, moments: int
) -> None:
    async with Database.open(tmp_path) as db:
        store = Store(db, tmp_path, clock)
        for number in range(52):
            await make(store, f"{number} {SECRET}".encode(), prompt=f"{SECRET} {number}")
        await store.privacy.begin_erasure(1)
        task = asyncio.create_task(store.privacy.erase(1))
        for _ in range(moments):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with Database.open(tmp_path) as db:
        store = Store(db, tmp_path, clock)
        await collect_garbage(db, store.pictures)
        await store.privacy.finish_interrupted()
        assert traces(tmp_path) == []
        assert await store.privacy.pending() == []
        assert len(await db.rows("SELECT * FROM audit")) == 1
        assert await db.rows("SELECT * FROM pictures") == []


async def test_export_has_everything_by_pages(store: Store) -> None:
    upload = await store.pictures.put(b"an upload")
    await make(store, b"1", b"2", prompt="first")
    last = await make(store, prompt="last", init_image=upload, strength=0.5)
    await make(store, owner_id=2)
    await store.gallery.set_star(1, last.id, on=True)
    await store.privacy.note_export(1)
    page = await store.privacy.records(1, limit=1)
    assert [record.values["request"]["prompt"] for record in page] == ["last"]
    assert page[0].inputs == (upload,)
    [rest] = await store.privacy.records(1, limit=10, before=page[0].job_id)
    assert rest.values["request"]["prompt"] == "first"
    assert rest.pictures == (sha256_of(b"1"), sha256_of(b"2"))
    about = await store.privacy.about(1)
    assert about["person"][0]["name"] == "person 1"
    assert len(about["charges"]) == 2
    assert about["stars"][0]["picture"] == last.id
    assert len(about["audit"]) == 1
    holdings = await store.privacy.holdings(1)
    assert (holdings.jobs, holdings.pictures, holdings.stars) == (2, 3, 1)
