"""A database and a running queue for the tests of the queue."""

from __future__ import annotations

import pytest

from storage.database import Database
from tests.engine.hand_engine import running_queue


@pytest.fixture
async def db(tmp_path):
    async with Database.open(tmp_path) as database:
        yield database


@pytest.fixture
async def bench(db, tmp_path):
    async with running_queue(db, tmp_path) as bench:
        yield bench
