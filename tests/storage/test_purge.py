"""Old pictures that nobody starred go; the rest, and the history of them, stays."""

from __future__ import annotations

import pytest

from engine.errors import UnknownJobError
from engine.types import Generation
from storage.audit import Audit
from storage.purge import PURGED, Purge, Purged
from tests.storage.samples import (
    NO_LIMITS,
    HandClock,
    Store,
    a_request,
    a_result,
    a_submission,
    make,
)

DAY_S = 86_400.0
ACTOR = 9


@pytest.fixture
def purge(store: Store, clock: HandClock) -> Purge:
    return Purge(store.db, store.pictures, clock=clock)


async def delivered(store: Store, *contents: bytes, **fields: object) -> Generation:
    generation = await make(store, *contents, **fields)  # type: ignore[arg-type]
    await store.jobs.mark_delivered(generation.id, 77)
    return generation


async def test_old_pictures_without_a_star_go(store: Store, purge: Purge, clock: HandClock) -> None:
    old = await delivered(store, b"one", b"three")
    starred = await delivered(store, b"starred")
    await store.gallery.set_star(5, starred.id, on=True)
    unsent = await make(store, b"unsent")
    clock.turn(10 * DAY_S)
    shared = await delivered(store, b"one")  # the same picture once more
    clock.turn(21 * DAY_S)
    assert await purge.preview(31) == Purged()  # not older than that, but exactly so old
    clock.turn(1)
    found = await purge.preview(31)
    assert found == Purged(jobs=1, pictures=2, size_bytes=8)
    assert store.files() == {f for g in (old, starred, unsent) for f in g.pictures}
    assert await purge.run(31, ACTOR) == found
    assert store.files() == {f for g in (shared, starred, unsent) for f in g.pictures}
    row = await store.history.get(old.id)  # the row stays
    assert row.request == old.request
    assert row.deleted_at is not None
    assert row.pictures == ()
    with pytest.raises(UnknownJobError, match="not there any more"):
        await store.jobs.image(old.pictures[1])
    assert await purge.preview(31) == Purged()
    [entry] = await Audit(store.db).newest()
    assert (entry.actor_id, entry.act) == (ACTOR, PURGED)
    assert entry.detail == {"days": 31, "pictures": 2, "bytes": 8}


async def test_many_go_in_steps_and_uploads_with_them(
    store: Store, purge: Purge, clock: HandClock
) -> None:
    sha256 = await store.pictures.put(b"an upload")
    for number in range(50):
        await delivered(store, f"{number}".encode(), init_image=sha256, strength=0.5)
    clock.turn(2 * DAY_S)
    young = await delivered(store, b"young")
    assert (await purge.run(1, ACTOR)).pictures == 50
    assert store.files() == set(young.pictures)
    assert await store.db.rows("SELECT 1 FROM pictures WHERE is_upload") == []


async def test_what_a_waiting_job_reads_stays(store: Store, purge: Purge, clock: HandClock) -> None:
    old = await delivered(store, b"needed")
    clock.turn(2 * DAY_S)
    request = a_request(init_image=old.pictures[0], strength=0.5)
    submission = a_submission(request=request, parent_id=old.id)
    job, _ = await store.jobs.add(submission, cost=1.0, limits=NO_LIMITS)
    await purge.run(1, ACTOR)
    assert await store.jobs.image(old.pictures[0]) == b"needed"
    await store.jobs.finish(job.id, a_result(job.id, b"new"))
    with pytest.raises(UnknownJobError):
        await store.jobs.image(old.pictures[0])
