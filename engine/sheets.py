"""Sheets: jobs of one person that belong together and are shown as one picture with labels.

Each cell is an ordinary job, stored before anything is answered. Which sheet it belongs to stands in its
origin, `sheet:<id>:<cell>`, so that nothing else has to be remembered over a restart.
"""

from __future__ import annotations

import dataclasses
import re

from engine.types import Limits, Submission

MAX_CELLS = 9
ACTION = "try"
_ORIGIN = re.compile(r"(sheet:\d{1,20}):\d{2}")


def key_of(interaction_id: int) -> str:
    """Returns the name of the sheet that an interaction asks for."""
    return f"sheet:{interaction_id}"


def origin_of(key: str, cell: int) -> str:
    """Returns the origin of a cell's job; origins sort as the cells do."""
    return f"{key}:{cell:02}"


def sheet_of(origin: str) -> str | None:
    """Returns the sheet that a job belongs to; None for other jobs."""
    match = _ORIGIN.fullmatch(origin)
    return match[1] if match else None


def limits_for(submission: Submission, limits: Limits) -> Limits:
    """Returns the limits of a submission: the cells of a sheet are counted as one job.

    They cost as much as any other pictures, and the queue takes turns between people, so nobody waits
    longer for them.
    """
    if sheet_of(submission.origin) is None:
        return limits
    more = MAX_CELLS - 1
    per_minute = limits.per_minute + more if limits.per_minute else 0
    return dataclasses.replace(limits, waiting=limits.waiting + more, per_minute=per_minute)
