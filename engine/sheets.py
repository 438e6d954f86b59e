"""Batches: jobs of one command. Those of a sheet are shown together, as one picture with labels.

Each is an ordinary job, stored before anything is answered. Which batch it belongs to stands in its origin,
`batch:<id>:<number>` or `sheet:<id>:<number>`, so that nothing else has to be remembered over a restart.

A batch is accepted where one job is: its own jobs do not stand in its way. They cost as much as any other
pictures, and the queue takes turns between people, so nobody waits longer for them.
"""

from __future__ import annotations

import re

MAX_CELLS = 9
ACTION = "try"
MAX_JOBS = 12
_ORIGIN = re.compile(r"((?:sheet|batch):\d{1,20}):\d{2}")


def key_of(interaction_id: int, *, is_sheet: bool) -> str:
    """Returns the name of the batch that an interaction asks for."""
    return f"{'sheet' if is_sheet else 'batch'}:{interaction_id}"


def origin_of(key: str, number: int) -> str:
    """Returns the origin of a job of the batch; origins sort as the jobs do."""
    return f"{key}:{number:02}"


def batch_of(origin: str) -> str | None:
    """Returns the batch that a job belongs to; None for other jobs."""
    match = _ORIGIN.fullmatch(origin)
    return match[1] if match else None


def sheet_of(origin: str) -> str | None:
    """Returns the sheet that a job belongs to; None for other jobs."""
    batch = batch_of(origin)
    return batch if batch is not None and batch.startswith("sheet:") else None
