"""Who changed what, newest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import audit
from storage.audit import Audit
from storage.database import Database
from storage.rows import utc_now


async def test_newest_come_first_and_page_by_page(tmp_path: Path) -> None:
    async with Database.open(tmp_path) as database:
        table = Audit(database)
        for number in range(5):
            await table.add(1, "count", number=number)
        first = await table.newest(2)
        assert [entry.detail["number"] for entry in first] == [4, 3]
        rest = await table.newest(10, before=first[-1].number)
        assert [entry.detail["number"] for entry in rest] == [2, 1, 0]


async def test_act_of_a_failed_transaction_is_not_noted(tmp_path: Path) -> None:
    async def fail(database: Database) -> None:
        async with database.transaction() as tx:
            await audit.note(tx, utc_now(), 1, "try")
            raise ValueError("midway")

    async with Database.open(tmp_path) as database:
        with pytest.raises(ValueError, match="midway"):
            await fail(database)
        assert await Audit(database).newest() == []


async def test_acts_of_one_person(tmp_path: Path) -> None:
    async with Database.open(tmp_path) as database:
        table = Audit(database)
        for number in range(6):
            await table.add(number % 2, "count", number=number)
        mine = await table.newest(2, actor_id=1)
        assert [entry.detail["number"] for entry in mine] == [5, 3]
        rest = await table.newest(9, before=mine[-1].number, actor_id=1)
        assert [entry.detail["number"] for entry in rest] == [1]
