"""What the owners decided survives a restart and stands in the audit."""

from __future__ import annotations

from pathlib import Path

from engine.types import Flow
from storage.audit import Audit
from storage.database import Database
from storage.operation import DRAINING, PAUSED, RESUMED, Operation


async def test_whether_the_queue_goes_on(tmp_path: Path) -> None:
    async with Database.open(tmp_path) as db:
        operation = Operation(db)
        await operation.load()
        assert operation.flow is Flow.OPEN
        for flow in (Flow.DRAINING, Flow.OPEN, Flow.PAUSED):
            await operation.set_flow(flow, actor_id=7)
            assert operation.flow is flow
        acts = [(entry.actor_id, entry.act) for entry in await Audit(db).newest()]
        assert acts == [(7, PAUSED), (7, RESUMED), (7, DRAINING)]
    async with Database.open(tmp_path) as db:
        operation = Operation(db)
        await operation.load()
        assert operation.flow is Flow.PAUSED
