"""Saved poses and drafts: who sees them, their limits, and that they leave with their owner."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.control.library import Pose, built_in
from engine.control.maps import ControlMap, ControlWish, Fit
from engine.errors import InvalidRequestError, UnknownJobError
from engine.types import Control
from storage.arrivals import Arrival, Arrivals
from storage.poses import MAX_POSES, Poses
from tests.storage.samples import HandClock, Store, a_request, a_submission

SECRET = "zanzibarquux"
WAVING = next(pose for pose in built_in() if pose.name == "waving")


def a_pose(name: str) -> Pose:
    return Pose(name, WAVING.people, WAVING.width, WAVING.height)


def names(saved) -> list[str]:
    return [one.name for one in saved]


async def test_poses_belong_to_a_person_or_to_a_server_too(store: Store) -> None:
    mine = await store.poses.add(1, a_pose("hello"))
    await store.poses.add(2, a_pose("Hello"), guild_id=50)
    await store.poses.add(1, a_pose("jump"))
    for poses in (store.poses, Poses(store.db)):  # from memory and from the disk
        await poses.load()
        assert names(poses.of(1)) == ["hello", "jump"]
        assert names(poses.shared_in(50)) == ["Hello"]
        assert names(poses.shared_in(51)) == names(poses.shared_in(None)) == []
        assert poses.of(1)[0].pose.people == WAVING.people
    shared = await store.poses.share(store.poses.of(1)[1], 51)
    assert names(store.poses.shared_in(51)) == ["jump"]
    await store.poses.share(shared, None)
    assert names(store.poses.shared_in(51)) == []
    assert (await store.poses.rename(mine, "hi")).name == "hi"
    await store.poses.delete(mine)
    assert names(store.poses.of(1)) == ["jump"]
    with pytest.raises(InvalidRequestError, match="was deleted"):
        await store.poses.rename(mine, "again")


async def test_taken_names_and_too_many_poses_are_refused(store: Store) -> None:
    mine = await store.poses.add(1, a_pose("hello"), guild_id=50)
    for name in ("hello", "HELLO", "hel-lo"):
        with pytest.raises(InvalidRequestError, match="You have a pose"):
            await store.poses.add(1, a_pose(name))
    with pytest.raises(InvalidRequestError, match="server has a pose"):
        await store.poses.add(2, a_pose("Hello"), guild_id=50)
    other = await store.poses.add(2, a_pose("hello"))
    with pytest.raises(InvalidRequestError, match="server has a pose"):
        await store.poses.share(other, 50)
    second = await store.poses.add(1, a_pose("second"))
    with pytest.raises(InvalidRequestError, match="You have a pose"):
        await store.poses.rename(second, "Hello")
    assert (await store.poses.rename(mine, "Hello")).name == "Hello"
    for number in range(MAX_POSES - 2):
        await store.poses.add(1, a_pose(f"pose {number}"))
    with pytest.raises(InvalidRequestError, match="which is the limit"):
        await store.poses.add(1, a_pose("one more"))


async def test_drafts_are_their_owners_for_a_week(store: Store, clock: HandClock) -> None:
    request = a_request(controls=(Control("canny", "ab" * 32, 0.8),))
    made = ControlMap("canny", b"map", WAVING.people)
    draft = await store.drafts.add(1, request, made, private=True, keeps_seed=False)
    assert await store.drafts.get(draft.id, 1) == draft
    with pytest.raises(UnknownJobError, match="too old"):
        await store.drafts.get(draft.id, 2)
    clock.turn(8 * 24 * 3600)
    await store.drafts.add(2, request, made, private=False, keeps_seed=True)
    with pytest.raises(UnknownJobError):
        await store.drafts.get(draft.id, 1)


async def test_only_the_newest_drafts_of_a_person_are_kept(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.drafts.MAX_DRAFTS", 3)
    request = a_request(controls=(Control("canny", "ab" * 32),))
    ids = []
    for number in range(5):
        clock.turn(1)
        made = ControlMap("canny", b"%d" % number)
        draft = await store.drafts.add(1, request, made, private=False, keeps_seed=False)
        ids.append(draft.id)
    rows = await store.db.rows("SELECT id FROM drafts ORDER BY created_at")
    assert [row["id"] for row in rows] == ids[2:]


async def test_an_arrival_remembers_what_its_picture_is_read_for(store: Store) -> None:
    arrivals = Arrivals(store.db)
    wish = ControlWish("openpose", 0.7, 0.1, 0.9, Fit.PAD, mirror=True, picture="ab" * 32)
    arrival = Arrival(a_submission(1), "", 0.0, takes_size=True, control=wish)
    assert await arrivals.add(arrival)
    assert await arrivals.left_behind() == [arrival]


async def test_poses_and_drafts_are_exported_and_erased(store: Store, tmp_path: Path) -> None:
    await store.poses.add(1, a_pose(SECRET), guild_id=50)
    request = a_request(prompt=SECRET, controls=(Control("canny", "ab" * 32),))
    made = ControlMap("canny", SECRET.encode() * 100)
    await store.drafts.add(1, request, made, private=False, keeps_seed=False)
    kept = await store.poses.add(2, a_pose("kept"))
    about = await store.privacy.about(1)
    assert about["poses"][0]["name"] == SECRET
    assert about["poses"][0]["people"][0][0] == list(WAVING.people[0][0] or ())
    assert about["drafts"][0]["request"]["prompt"] == SECRET
    assert bytes.fromhex(about["drafts"][0]["png_hex"]) == made.png
    await store.privacy.begin_erasure(1)
    await store.privacy.erase(1)
    store.poses.forget(1)
    assert store.poses.of(1) == store.poses.shared_in(50) == []
    assert store.poses.of(2) == [kept]

    def traces() -> list[Path]:
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return [path for path in files if SECRET.encode() in path.read_bytes()]

    assert await asyncio.to_thread(traces) == []
