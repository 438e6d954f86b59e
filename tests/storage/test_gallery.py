"""Searching one's pictures, starring them, and where a picture came from."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.errors import UnknownJobError
from engine.types import AdapterWeight
from storage import gallery
from storage.gallery import Wanted
from storage.search import NO_STYLE
from tests.storage.samples import NO_LIMITS, HandClock, Store, a_result, a_submission, make

DAY_S = 24 * 3600


async def found(store: Store, person_id: int = 1, **wanted: object) -> list[str]:
    rows = await store.gallery.find(person_id, Wanted(**wanted), limit=50)  # type: ignore[arg-type]
    return [row.request.prompt for row in rows]


@pytest.mark.parametrize(
    ("typed", "prompts"),
    [
        ("fox", ["two foxes, (red:1.2)", "A Red FOX"]),
        ("red fox", ["two foxes, (red:1.2)", "A Red FOX"]),
        ("fo", ["two foxes, (red:1.2)", "A Red FOX"]),  # the beginning of the last word
        ("cafe", ["ein Café in Köln"]),
        ("KÖLN", ["ein Café in Köln"]),
        ("koln", ["ein Café in Köln"]),
        ("(red:1.2)", ["two foxes, (red:1.2)"]),
        ("猫", ["窓辺の白い猫とラジオ"]),
        ("白い猫", ["窓辺の白い猫とラジオ"]),
        ("ﾗｼﾞｵ", ["窓辺の白い猫とラジオ"]),  # half-width letters are the same word
        ("猫白", []),
        ("dog", []),
        ('" OR owner:*', []),
        ("NEAR(red fox)", []),
        ("***", []),
    ],
)
async def test_words_are_found_however_they_are_written(
    store: Store, typed: str, prompts: list[str]
) -> None:
    await make(store, owner_id=2, prompt="a fox of somebody else")
    for prompt in ("A Red FOX", "ein Café in Köln", "窓辺の白い猫とラジオ", "two foxes, (red:1.2)"):
        await make(store, prompt=prompt)
    assert await found(store, words=typed) == prompts


async def test_pictures_are_found_by_their_styles_with_and_without_words(store: Store) -> None:
    neon, sepia = "ab" * 32, "abab1234" * 8
    in_neon, in_sepia = AdapterWeight(neon, 0.7), AdapterWeight(sepia)
    await make(store, owner_id=2, prompt="a fox of somebody else", adapters=(in_neon,))
    await make(store, prompt="a fox in neon", adapters=(in_neon,))
    both = await make(store, prompt="a fox in both", adapters=(in_neon, in_sepia))
    await make(store, prompt="a cat in sepia", adapters=(in_sepia,))
    await make(store, prompt="a plain fox")
    for styles, words, prompts in (
        ((neon,), "", ["a fox in both", "a fox in neon"]),
        ((sepia,), "", ["a cat in sepia", "a fox in both"]),
        ((neon, sepia), "fox", ["a fox in both", "a fox in neon"]),
        ((neon,), "f", ["a fox in both", "a fox in neon"]),
        (("abab1234",), "", ["a cat in sepia", "a fox in both"]),
        ((NO_STYLE,), "", ["a plain fox"]),
        ((NO_STYLE,), "cat", []),
        (("cd" * 32,), "", []),
        (('"; DROP',), "", []),
    ):
        assert await found(store, styles=styles, words=words) == prompts, (styles, words)
    await store.gallery.set_star(2, both.id, on=True)
    assert await found(store, 2, styles=(neon,), starred=True) == ["a fox in both"]
    assert await found(store, 2, styles=(NO_STYLE,), starred=True) == []
    assert await found(store, styles=(neon,), since=both.created_at) != []


async def test_deleted_pictures_are_not_found(store: Store) -> None:
    picture = await make(store, prompt="a fox")
    await store.history.delete_pictures(picture.id)
    assert await found(store, words="fox") == []
    assert await found(store) == []


@pytest.mark.parametrize("many", [0, gallery.MANY_STARS])
async def test_pages_of_every_kind_of_list_follow_one_another(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(gallery, "MANY_STARS", many)
    await make(store, prompt="a fox of long ago")
    clock.turn(2 * DAY_S)
    since = clock.now
    made = []
    for number in range(7):
        picture = await make(store, prompt=f"fox number {number}")
        made.append(picture.id)
        await store.gallery.set_star(1, picture.id, on=True)
        await make(store, owner_id=2, prompt="another fox")
    for wanted in (
        Wanted(since=since),
        Wanted("fox number"),
        Wanted("fox", since=since),
        Wanted(starred=True),
        Wanted("fox", starred=True),
        Wanted("fox num", since=since, starred=True),
    ):
        seen: list[str] = []
        while page := await store.gallery.find(
            1, wanted, limit=3, before=seen[-1] if seen else None
        ):
            seen += [one.id for one in page]
        assert seen == made[::-1], wanted


async def test_since_finds_a_job_that_finished_after_a_later_one(
    store: Store, clock: HandClock
) -> None:
    slow, _ = await store.jobs.add(a_submission(), cost=1, limits=NO_LIMITS)
    clock.turn(60)
    await make(store, prompt="the quick one")
    clock.turn(60)
    await store.jobs.finish(slow.id, a_result(slow.id, b"slow"))
    assert await found(store, since=clock.now - timedelta(minutes=2)) == [
        "the quick one",
        "a red circle",
    ]
    assert await found(store, since=clock.now) == ["a red circle"]


async def test_stars_are_a_persons_own(store: Store) -> None:
    picture = await make(store, prompt="a fox")
    await make(store, prompt="a cat")
    assert await store.gallery.set_star(2, picture.id, on=True)
    assert not await store.gallery.set_star(2, picture.id, on=True)
    assert await store.gallery.starred(2, [picture.id, "nonsense"]) == {picture.id}
    assert await store.gallery.starred(1, [picture.id]) == set()
    assert await found(store, 2, starred=True) == ["a fox"]
    assert await found(store, 1, starred=True) == []
    assert await store.gallery.set_star(2, picture.id, on=False)
    assert not await store.gallery.set_star(2, picture.id, on=False)
    assert await found(store, 2, starred=True) == []
    await store.history.delete_pictures(picture.id)
    for generation_id in (picture.id, "nonsense"):
        with pytest.raises(UnknownJobError):
            await store.gallery.set_star(2, generation_id, on=True)


async def test_family_is_a_tree_in_reading_order(store: Store, clock: HandClock) -> None:
    async def child(prompt: str, parent_id: str | None) -> str:
        clock.turn(1)
        return (await make(store, prompt=prompt, parent_id=parent_id)).id

    root = await child("root", None)
    left = await child("left", root)
    right = await child("right", root)
    await child("left leaf", left)
    grandchild = await child("right leaf", right)
    await child("leaf of right leaf", grandchild)
    await child("no relative", None)
    members, is_cut = await store.gallery.family(right, limit=20)
    assert not is_cut
    assert [(m.depth, m.generation.request.prompt) for m in members] == [
        (0, "root"),
        (1, "left"),
        (1, "right"),
        (2, "right leaf"),
        (3, "leaf of right leaf"),
    ]
    nearest, is_cut = await store.gallery.family(right, limit=4)
    assert is_cut
    assert [m.generation.request.prompt for m in nearest] == [
        "root",
        "right",
        "right leaf",
        "leaf of right leaf",
    ]
    with pytest.raises(UnknownJobError):
        await store.gallery.family("nonsense", limit=4)


async def test_pictures_are_counted_by_day(store: Store, clock: HandClock) -> None:
    await make(store, b"of before")
    clock.turn(3 * DAY_S)
    first = clock.now
    await make(store, b"1", b"2")
    await make(store, owner_id=2)
    clock.turn(DAY_S)
    await make(store, b"3")
    assert await store.gallery.pictures_by_day(1, first) == {
        first.date(): 2,
        clock.now.date(): 1,
    }
