"""Reports of pictures: one for each person, and gone with the person or the picture's maker."""

from __future__ import annotations

from tests.storage.samples import HandClock, Store, make


async def report(store: Store, job_id: str, person_id: int) -> bool:
    return await store.reports.add(job_id, person_id, guild_id=1, channel_id=2, message_id=3)


async def test_a_person_reports_a_picture_once(store: Store, clock: HandClock) -> None:
    picture, other = await make(store), await make(store)
    assert await report(store, picture.id, 5)
    assert not await report(store, picture.id, 5)
    clock.turn(60)
    assert await report(store, picture.id, 6)
    assert await report(store, other.id, 5)
    found = await store.reports.newest()
    assert [(one.job_id, one.reporter_id) for one in found] == [
        (other.id, 5),
        (picture.id, 6),
        (picture.id, 5),
    ]
    assert found[0].reported_at == clock.now
    assert len(await store.reports.newest(limit=1)) == 1


async def test_reports_are_exported_and_go_with_either_person(store: Store) -> None:
    of_one, of_two = await make(store, owner_id=1), await make(store, owner_id=2)
    for job_id, person_id in ((of_one.id, 3), (of_two.id, 1), (of_two.id, 3)):
        await report(store, job_id, person_id)
    about = await store.privacy.about(1)
    assert [one["picture"] for one in about["reports"]] == [of_two.id]
    await store.privacy.begin_erasure(1)
    await store.privacy.erase(1)
    assert [(one.job_id, one.reporter_id) for one in await store.reports.newest()] == [
        (of_two.id, 3)
    ]
