"""Blocks: where they hold, that nothing goes round them, and that they outlive an erasure."""

from __future__ import annotations

import pytest

from engine.errors import BlockedError
from engine.limits import EVERYWHERE
from storage.blocks import ANYWHERE, BLOCKED, HERE, UNBLOCKED, Blocks
from tests.storage.samples import NO_LIMITS, Store, a_submission

SERVER, OTHER, MOD = 20, 30, 99


@pytest.mark.parametrize(
    ("where", "turned_away", "free", "words"),
    [
        (SERVER, [SERVER], [OTHER, None], HERE),
        (EVERYWHERE, [SERVER, OTHER, None], [], ANYWHERE),
    ],
)
async def test_a_block_holds_where_it_was_set(
    store: Store, where: int, turned_away: list[int | None], free: list[int | None], words: str
) -> None:
    assert await store.blocks.block(where, 1, actor_id=MOD)
    assert not await store.blocks.block(where, 1, actor_id=MOD)
    again = Blocks(store.db)
    await again.load()
    for blocks in (store.blocks, again):
        for guild_id in turned_away:
            with pytest.raises(BlockedError) as caught:
                await blocks.check(a_submission(guild_id=guild_id))
            assert str(caught.value) == words
            await blocks.check(a_submission(2, guild_id=guild_id))
        for guild_id in free:
            await blocks.check(a_submission(guild_id=guild_id))
    assert await store.blocks.unblock(where, 1, actor_id=MOD)
    assert not await store.blocks.unblock(where, 1, actor_id=MOD)
    for guild_id in turned_away:
        await store.blocks.check(a_submission(guild_id=guild_id))
    assert [entry.act for entry in await store.audit.newest()] == [UNBLOCKED, BLOCKED]


async def test_a_job_that_was_checked_before_the_block_is_not_stored_after_it(store: Store) -> None:
    for guild_id, words in ((SERVER, HERE), (EVERYWHERE, ANYWHERE)):
        submission = a_submission(guild_id=SERVER)
        await store.blocks.check(submission)
        await store.blocks.block(guild_id, 1, actor_id=MOD)
        with pytest.raises(BlockedError) as caught:
            await store.jobs.add(submission, cost=1, limits=NO_LIMITS)
        assert str(caught.value) == words
        await store.blocks.unblock(guild_id, 1, actor_id=MOD)
    assert await store.jobs.waiting_of(1) == []
    await store.jobs.add(a_submission(2), cost=1, limits=NO_LIMITS)


async def test_an_erasure_keeps_the_block_and_the_export_tells_of_it(store: Store) -> None:
    await store.blocks.block(SERVER, 1, actor_id=MOD)
    await store.privacy.begin_erasure(1)
    await store.privacy.erase(1)
    again = Blocks(store.db)
    await again.load()
    assert again.of(1, SERVER) is not None
    about = await store.privacy.about(1)
    assert about["person"] == []
    assert [block["guild_id"] for block in about["blocks"]] == [SERVER]
    assert "actor_id" not in about["blocks"][0]


async def test_waiting_jobs_of_one_server(store: Store) -> None:
    for guild_id in (SERVER, OTHER, None):
        await store.jobs.add(a_submission(guild_id=guild_id), cost=1, limits=NO_LIMITS)
    assert len(await store.jobs.waiting_of(1)) == 3
    (job,) = await store.jobs.waiting_of(1, SERVER)
    assert job.submission.destination.guild_id == SERVER
    here = await store.activities.of(1, SERVER)
    assert (here.waiting, here.day, here.month, here.reported) == (1, 1, 0, 0)
    assert (await store.activities.of(1)).day == 3
