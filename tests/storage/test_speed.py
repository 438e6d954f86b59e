"""Every query finds its rows by an index, however many jobs there were."""

from __future__ import annotations

import re

import pytest

from engine.limits import EVERYWHERE, Rule, Target
from engine.types import JobState, Limits
from storage import gallery
from storage.gallery import Wanted
from storage.people import Preferences
from storage.search import NO_STYLE
from tests.storage.samples import HandClock, Store, a_request, a_result, a_submission

# A partial index holds few rows: walking all of it is what it is for.
ALLOWED_SCANS = re.compile(
    r"SCAN (jobs USING (COVERING )?INDEX (jobs_waiting|jobs_undelivered)"
    r"|wanted VIRTUAL TABLE|json_each VIRTUAL TABLE|chain|CONSTANT ROW|SUBQUERY|\(subquery"
    r"|main\.generation_words_config|generation_words VIRTUAL TABLE INDEX \d+:.*M|people USING (COVERING )?INDEX people_defaults"
    r"|servers USING (COVERING )?INDEX servers_defaults|channels USING (COVERING )?INDEX channels_defaults"
    r"|erasures|messages_to_delete|pragma_)"
)


async def use_everything(store: Store, clock: HandClock) -> None:
    limits = Limits(waiting=9, queue=99, daily=99, per_minute=99)

    async def add(**fields: object) -> str:
        submission = a_submission(**fields)  # type: ignore[arg-type]
        return (await store.jobs.add(submission, cost=1, limits=limits))[0].id

    first = await add()
    await store.jobs.mark_running(first)
    await store.jobs.add_attempt([first])
    await store.jobs.unfinished()
    await store.jobs.finish(first, a_result(first, b"1"))
    [sha] = (await store.history.get(first)).pictures
    request = a_request(init_image=sha, strength=0.5)
    second = await add(parent_id=first, request=request)
    await store.jobs.set_status_message(second, 1)
    await store.jobs.finish(second, a_result(second, b"2"))
    failed = await add(request=request)
    await store.jobs.end(failed, JobState.FAILED)
    await store.jobs.undelivered()
    await store.jobs.begin_sending(second)
    await store.jobs.mark_delivered(second, 5)
    await store.jobs.get_many([first, second])
    await store.jobs.waiting_of(1)
    await store.ledger.usage(1, limits)
    await store.history.by_message(5)
    await store.history.set_message(second, 6)
    await store.history.recent(1)
    await store.history.recent(1, before=second)
    await store.history.ancestors(second)
    await store.history.children(first)
    for wanted in (
        Wanted(),
        Wanted("fox"),
        Wanted(since=clock.now),
        Wanted("fox", since=clock.now),
        Wanted(starred=True),
        Wanted("fox", starred=True),
        Wanted(styles=("ab" * 32,)),
        Wanted("fox", since=clock.now, styles=("abababab",)),
        Wanted("fo", starred=True, styles=(NO_STYLE,)),
    ):
        await store.gallery.find(1, wanted, limit=9)
        await store.gallery.find(1, wanted, limit=9, before=second)
    await store.gallery.set_star(1, first, on=True)
    await store.gallery.starred(1, [first])
    await store.gallery.set_star(1, first, on=False)
    await store.gallery.family(second, limit=9)
    await store.gallery.pictures_by_day(1, clock.now)
    await store.history.delete_pictures(second)
    await store.people.load()
    await store.people.set_preferences(1, "Ann", Preferences(count=2))
    await store.places.load()
    await store.places.set_server(20, Preferences(count=2), actor_id=1)
    await store.places.set_channel(20, 10, Preferences(count=2), actor_id=1)
    for everybody in (Target(20), Target(EVERYWHERE)):
        await store.rules.set(everybody, Rule(count=2), actor_id=1)
        await store.rules.reset([everybody], actor_id=1)
    await store.grants.give(1, 5, ends_at=None, actor_id=1)
    await store.grants.take_back(1, actor_id=1)
    await store.jobs.waiting_of(1, 20)
    await store.activities.of(1, 20)
    await store.activities.of(1)
    await store.blocks.block(20, 1, actor_id=1)
    await store.blocks.unblock(20, 1, actor_id=1)
    await store.privacy.records(1, limit=9)
    await store.privacy.records(1, limit=9, before=second)
    await store.privacy.holdings(1)
    await store.privacy.about(1)
    await store.privacy.note_export(1)
    await store.privacy.begin_erasure(1)
    await store.privacy.finish_interrupted()
    await store.privacy.messages_to_delete(9)


@pytest.mark.parametrize("many", [0, gallery.MANY_STARS])
async def test_no_query_reads_a_whole_table(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(gallery, "MANY_STARS", many)
    statements: set[str] = set()
    connection = store.db._connection
    await connection.set_trace_callback(statements.add)
    await use_everything(store, clock)
    await connection.set_trace_callback(None)  # type: ignore[arg-type]
    queries = [text for text in statements if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)", text)]
    assert len(queries) > 25
    plans = {
        query: [row["detail"] for row in await store.db.rows(f"EXPLAIN QUERY PLAN {query}")]
        for query in queries
    }
    for query, plan in plans.items():
        for step in plan:
            assert not step.startswith("SCAN") or ALLOWED_SCANS.match(step), query
    recent = [
        plan
        for query, plan in plans.items()
        if "generations.owner_id = " in query and "created_at DESC" in query
    ]
    assert len(recent) == 2
    for plan in recent:  # a page is read in its order, whatever came before it
        assert any("generations_recent" in step for step in plan)
        assert not any("TEMP B-TREE" in step for step in plan)
    pages = [plan for query, plan in plans.items() if re.search(r"number DESC|rowid DESC", query)]
    assert len(pages) >= 12
    assert not any("TEMP B-TREE" in step for plan in pages for step in plan)
