"""What the owners of the bot decided about the work that all servers share."""

from __future__ import annotations

import dataclasses
import json
import logging

from engine.types import Flow, ModelChoice
from storage import audit
from storage.database import Database
from storage.facts import put
from storage.rows import Clock, utc_now

log = logging.getLogger(__name__)

_FLOW = "queue"  # names of facts
_MODEL = "model"

PAUSED = "paused the queue"
DRAINING = "let the queue run empty"
RESUMED = "let the queue go on"
LOADING_MODEL = "began to load a model"
LOADED_MODEL = "loaded a model"
_ACTS = {Flow.OPEN: RESUMED, Flow.PAUSED: PAUSED, Flow.DRAINING: DRAINING}


class Operation:
    """Decisions that survive restarts."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Knows nothing before `load`."""
        self._db = db
        self._clock = clock
        self._flow = Flow.OPEN
        self._choice: ModelChoice | None = None

    async def load(self) -> None:
        """Reads what was decided before this start."""
        row = await self._db.row("SELECT value FROM facts WHERE key = ?", (_FLOW,))
        self._flow = Flow.OPEN if row is None else Flow(row["value"])
        if self._flow is not Flow.OPEN:
            log.warning(
                "The queue is %s, as it was decided: /admin queue resume lets it go on.", self._flow
            )

        row = await self._db.row("SELECT value FROM facts WHERE key = ?", (_MODEL,))
        self._choice = None if row is None else ModelChoice(**json.loads(row["value"]))

    @property
    def choice(self) -> ModelChoice | None:
        """The model that was chosen; None while that of the settings is the one."""
        return self._choice

    async def note_loading(self, name: str, *, actor_id: int) -> None:
        """Writes into the audit that another model is being loaded."""
        async with self._db.transaction() as tx:
            await audit.note(tx, self._clock(), actor_id, LOADING_MODEL, {"model": name})

    async def set_choice(self, choice: ModelChoice, name: str, *, actor_id: int) -> None:
        """Stores the model that was loaded, for the next start."""
        async with self._db.transaction() as tx:
            await put(tx, _MODEL, json.dumps(dataclasses.asdict(choice)))
            await audit.note(tx, self._clock(), actor_id, LOADED_MODEL, {"model": name})
        self._choice = choice

    @property
    def flow(self) -> Flow:
        """Whether the queue goes on."""
        return self._flow

    async def set_flow(self, flow: Flow, *, actor_id: int) -> None:
        """Stores whether the queue goes on; the actor goes into the audit."""
        async with self._db.transaction() as tx:
            await put(tx, _FLOW, flow)
            await audit.note(tx, self._clock(), actor_id, _ACTS[flow])
        self._flow = flow
