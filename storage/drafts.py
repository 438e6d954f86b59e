"""Control maps that somebody looks at before the picture is made, with all that is needed to make it.

A draft is what the buttons below a preview refer to. It holds the map itself and not the picture that
this was read from, and stays for a week.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from datetime import timedelta

from pydantic import TypeAdapter

from engine.control.maps import ControlMap
from engine.errors import UnknownJobError
from engine.types import GenerationRequest
from engine.words import N_
from storage.database import Database
from storage.poses import PEOPLE, to_json_people
from storage.rows import Clock, to_text, utc_now

KEPT = timedelta(days=7)
MAX_DRAFTS = 20  # of one person; the oldest go first
GONE = N_("This preview is too old. Use the command again.")

_REQUEST = TypeAdapter(GenerationRequest)
_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Draft:
    """A picture that could be made.

    Attributes:
        request: With its one control; the control's image is the sha256 of the map.
        private: Only the owner is to see the picture.
        keeps_seed: The owner chose the seed.
        map: What the control reads.
    """

    id: str
    owner_id: int
    request: GenerationRequest
    private: bool
    keeps_seed: bool
    map: ControlMap


class Drafts:
    """The table of drafts; every method is one transaction."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def add(
        self,
        owner_id: int,
        request: GenerationRequest,
        made: ControlMap,
        *,
        private: bool,
        keeps_seed: bool,
    ) -> Draft:
        """Stores a draft, and forgets what is too old or too much."""
        id_ = "".join(secrets.choice(_ALPHABET) for _ in range(13))
        now = self._clock()
        async with self._db.transaction() as tx:
            await tx.rows("DELETE FROM drafts WHERE created_at < ?", (to_text(now - KEPT),))
            await tx.rows(
                "INSERT INTO drafts"
                " (id, owner_id, request, private, keeps_seed, people, png, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    id_,
                    owner_id,
                    _REQUEST.dump_json(request).decode(),
                    private,
                    keeps_seed,
                    to_json_people(made.people),
                    made.png,
                    to_text(now),
                ),
            )
            await tx.rows(
                "DELETE FROM drafts WHERE id IN (SELECT id FROM drafts WHERE owner_id = ?"
                " ORDER BY created_at DESC LIMIT -1 OFFSET ?)",
                (owner_id, MAX_DRAFTS),
            )
        return Draft(id_, owner_id, request, private, keeps_seed, made)

    async def get(self, draft_id: str, owner_id: int) -> Draft:
        """Returns somebody's draft. Raises UnknownJobError when it is not there (any more)."""
        row = await self._db.row(
            "SELECT * FROM drafts WHERE id = ? AND owner_id = ?", (draft_id, owner_id)
        )
        if row is None:
            raise UnknownJobError(GONE)
        request = _REQUEST.validate_json(row["request"])
        made = ControlMap(request.controls[0].kind, row["png"], PEOPLE.validate_json(row["people"]))
        return Draft(
            row["id"],
            row["owner_id"],
            request,
            bool(row["private"]),
            bool(row["keeps_seed"]),
            made,
        )
