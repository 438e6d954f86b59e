"""Requests that were acknowledged before the picture they start from was fetched and checked.

A row is there from before the answer until the job is stored, so that a kill in between loses
nothing: the next start fetches the picture once more, or says that it cannot.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from engine.control.maps import ControlWish
from engine.errors import EngineError
from engine.types import Submission
from storage.database import Database
from storage.rows import Clock, to_json, to_text, utc_now

log = logging.getLogger(__name__)

_SUBMISSION = TypeAdapter(Submission)
_WISH = TypeAdapter(ControlWish)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that waits for its picture.

    Attributes:
        submission: As it will be submitted, but for the picture.
        address: Where Discord has the picture, signed and valid for about a day; "" when the request
            has one and only the mask is to come.
        strength: How far the picture is changed, 0 to 1.
        takes_size: The result is to have the picture's shape.
        message_id: The status line, when it is known.
        mask_address: Where Discord has the mask, if one was attached.
        cells: Cells of a grid of 3 x 3 that are made anew, counted from 1; () for no such mask.
        invert: Keep what the mask or the cells mark and make the rest anew.
        control: The picture is not started from, but read for a control; None to start from it.
        refusal: What its owner began to be told, when there will be no picture.
    """

    submission: Submission
    address: str
    strength: float
    takes_size: bool
    message_id: int | None = None
    mask_address: str | None = None
    cells: tuple[int, ...] = ()
    invert: bool = False
    control: ControlWish | None = None
    refusal: str | None = None

    @property
    def origin(self) -> str:
        """What caused it, see `Submission`."""
        return self.submission.origin


class Arrivals:
    """The table of arrivals; every method is one transaction."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def add(self, arrival: Arrival) -> bool:
        """Stores it; False when it, or a job of the same origin, is there already."""
        async with self._db.transaction() as tx:
            if await tx.row("SELECT 1 FROM jobs WHERE origin = ?", (arrival.origin,)):
                return False
            row = await tx.row(
                "INSERT INTO arrivals"
                " (origin, owner_id, submission, address, strength, takes_size, created_at,"
                " mask_address, cells, invert, control)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1",
                (
                    arrival.origin,
                    arrival.submission.owner_id,
                    _SUBMISSION.dump_json(arrival.submission).decode(),
                    arrival.address,
                    arrival.strength,
                    arrival.takes_size,
                    to_text(self._clock()),
                    arrival.mask_address,
                    to_json(arrival.cells),
                    arrival.invert,
                    None if arrival.control is None else _WISH.dump_json(arrival.control).decode(),
                ),
            )
        return row is not None

    async def set_message(self, origin: str, message_id: int) -> None:
        """Remembers the status line."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "UPDATE arrivals SET message_id = ? WHERE origin = ?", (message_id, origin)
            )

    async def refused(self, origin: str, words: str) -> None:
        """Remembers what its owner is about to be told; to be called before that is tried."""
        async with self._db.transaction() as tx:
            await tx.rows("UPDATE arrivals SET refusal = ? WHERE origin = ?", (words, origin))

    async def remove(self, origin: str) -> None:
        """Forgets it: its job is stored, or its owner was told that there is none."""
        async with self._db.transaction() as tx:
            await tx.rows("DELETE FROM arrivals WHERE origin = ?", (origin,))

    async def left_behind(self) -> list[Arrival]:
        """Returns those that are there, oldest first; one that cannot be read is logged."""
        rows = await self._db.rows("SELECT * FROM arrivals ORDER BY created_at, origin")
        return [arrival for row in rows if (arrival := _arrival(row)) is not None]


def _arrival(row: sqlite3.Row) -> Arrival | None:
    try:
        submission = _SUBMISSION.validate_json(row["submission"])
        control = None if row["control"] is None else _WISH.validate_json(row["control"])
    except (ValidationError, EngineError):  # written under other limits
        log.exception("The request %s cannot be read any more", row["origin"])
        return None
    return Arrival(
        submission,
        row["address"],
        row["strength"],
        bool(row["takes_size"]),
        row["message_id"],
        row["mask_address"],
        tuple(json.loads(row["cells"])),
        bool(row["invert"]),
        control,
        row["refusal"],
    )
