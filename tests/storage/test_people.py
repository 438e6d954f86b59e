"""People's own defaults."""

from __future__ import annotations

from storage.people import People, Preferences
from tests.storage.samples import HandClock, Store
from tests.storage.test_jobs import add


async def test_defaults_survive_a_restart_and_the_next_job(store: Store, clock: HandClock) -> None:
    wanted = Preferences(negative="text", count=2, private=True)
    await store.people.set_preferences(1, "Ann", wanted)
    await add(store)
    again = People(store.db, clock=clock)
    assert again.preferences(1) == Preferences()
    await again.load()
    assert again.preferences(1) == wanted
    assert again.preferences(2) == Preferences()


async def test_defaults_are_replaced_as_a_whole(store: Store) -> None:
    await store.people.set_preferences(1, "Ann", Preferences(aspect="16:9"))
    await store.people.set_preferences(1, "Ann", Preferences(quality="hd"))
    await store.people.load()
    assert store.people.preferences(1) == Preferences(quality="hd")


async def test_unreadable_defaults_are_none(store: Store) -> None:
    await store.people.set_preferences(1, "Ann", Preferences(aspect="16:9"))
    async with store.db.transaction() as tx:
        await tx.rows("""UPDATE people SET defaults = '{"count": "many"}'""")
    again = People(store.db)
    await again.load()
    assert again.preferences(1) == Preferences()


async def test_the_language_is_one_that_is_known(store: Store) -> None:
    assert store.people.language(1) is None
    for stored, known in (("ja", "ja"), ("tlh", None)):
        await store.people.set_preferences(1, "Ann", Preferences(language=stored))
        assert store.people.language(1) == known
