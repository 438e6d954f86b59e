"""What servers and channels have as defaults."""

from __future__ import annotations

from storage.people import Preferences
from storage.places import Places
from tests.storage.samples import Store


async def test_each_place_has_its_own_defaults_over_a_restart(store: Store) -> None:
    await store.places.set_server(20, Preferences(negative="text"), actor_id=1)
    await store.places.set_channel(20, 10, Preferences(count=1), actor_id=1)
    await store.places.set_channel(20, 10, Preferences(count=2), actor_id=2)
    again = Places(store.db)
    assert again.server(20) == again.channel(10) == Preferences()
    await again.load()
    for places in (store.places, again):
        assert places.server(20) == Preferences(negative="text")
        assert places.channel(10) == Preferences(count=2)
        assert places.server(10) == places.channel(20) == Preferences()


async def test_unreadable_defaults_are_none(store: Store) -> None:
    await store.places.set_server(20, Preferences(count=2), actor_id=1)
    await store.places.set_server(21, Preferences(count=3), actor_id=1)
    async with store.db.transaction() as tx:
        await tx.rows("""UPDATE servers SET defaults = '{"count": "many"}' WHERE id = 20""")
    again = Places(store.db)
    await again.load()
    assert again.server(20) == Preferences()
    assert again.server(21) == Preferences(count=3)


async def test_who_set_them_is_in_the_audit_and_what_is_not(store: Store) -> None:
    await store.places.set_channel(20, 10, Preferences(negative="secret"), actor_id=7)
    (row,) = (await store.privacy.about(7))["audit"]
    assert row["detail"] == {"guild_id": 20, "channel_id": 10}
    assert "secret" not in str(row)
