"""People that a server's managers, or the bot's owners, have turned away; in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.errors import BlockedError
from engine.limits import EVERYWHERE
from engine.types import Submission
from engine.words import N_
from storage import audit
from storage.database import Database, Transaction
from storage.rows import Clock, to_text, to_time, utc_now

BLOCKED = "blocked"
UNBLOCKED = "unblocked"

HERE = N_(
    "The moderators of this server have turned me off for you here, so please ask one of them if you "
    "think that is a mistake; /privacy and /help still work."
)
ANYWHERE = N_(
    "The owners of this bot have turned it off for you, so please ask one of them if you think that is a "
    "mistake; /privacy and /help still work."
)


@dataclass(frozen=True, slots=True)
class Block:
    """That somebody is turned away in a server; `guild_id` may be `EVERYWHERE`."""

    guild_id: int
    person_id: int
    actor_id: int
    blocked_at: datetime


class Blocks:
    """Who is turned away where."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Knows nobody before `load`."""
        self._db = db
        self._clock = clock
        self._blocks: dict[tuple[int, int], Block] = {}

    async def load(self) -> None:
        """Reads all blocks."""
        for row in await self._db.rows("SELECT * FROM blocks"):
            block = Block(
                row["guild_id"], row["person_id"], row["actor_id"], to_time(row["blocked_at"])
            )
            self._blocks[block.guild_id, block.person_id] = block

    def of(self, person_id: int, guild_id: int) -> Block | None:
        """Returns the block of a person in this server, or by the owners (`EVERYWHERE`)."""
        return self._blocks.get((guild_id, person_id))

    def refusal(self, person_id: int, guild_id: int | None) -> BlockedError | None:
        """Returns what to tell a person who is turned away there; in a DM only the owners do that."""
        if (EVERYWHERE, person_id) in self._blocks:
            return BlockedError(ANYWHERE)
        if guild_id and (guild_id, person_id) in self._blocks:
            return BlockedError(HERE)
        return None

    async def check(self, submission: Submission) -> None:
        """Raises BlockedError for a submission of somebody who is turned away where it comes from."""
        refusal = self.refusal(submission.owner_id, submission.destination.guild_id)
        if refusal is not None:
            raise refusal

    async def block(self, guild_id: int, person_id: int, *, actor_id: int) -> bool:
        """Turns a person away in a server, or `EVERYWHERE`; False when that is so already.

        From its return on, no job of theirs is accepted there: `JobTable.add` looks once more.
        """
        now = self._clock()
        async with self._db.transaction() as tx:
            row = await tx.row(
                "INSERT INTO blocks (guild_id, person_id, actor_id, blocked_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING RETURNING 1",
                (guild_id, person_id, actor_id, to_text(now)),
            )
            if row is not None:
                await audit.note(tx, now, actor_id, BLOCKED, _detail(guild_id, person_id))
        if row is None:
            return False
        self._blocks[guild_id, person_id] = Block(guild_id, person_id, actor_id, now)
        return True

    async def unblock(self, guild_id: int, person_id: int, *, actor_id: int) -> bool:
        """Ends it; False when there was no such block."""
        async with self._db.transaction() as tx:
            row = await tx.row(
                "DELETE FROM blocks WHERE guild_id = ? AND person_id = ? RETURNING 1",
                (guild_id, person_id),
            )
            if row is not None:
                detail = _detail(guild_id, person_id)
                await audit.note(tx, self._clock(), actor_id, UNBLOCKED, detail)
        self._blocks.pop((guild_id, person_id), None)
        return row is not None


async def check_in(tx: Transaction, submission: Submission) -> None:
    """Raises BlockedError in the transaction that stores a job: a block may have come meanwhile."""
    row = await tx.row(
        "SELECT min(guild_id) AS guild_id FROM blocks WHERE person_id = ? AND guild_id IN (?, ?)",
        (submission.owner_id, EVERYWHERE, submission.destination.guild_id or EVERYWHERE),
    )
    where = None if row is None else row["guild_id"]
    if where is not None:
        raise BlockedError(ANYWHERE if where == EVERYWHERE else HERE)


def _detail(guild_id: int, person_id: int) -> dict[str, int | None]:
    return {"guild_id": guild_id or None, "person_id": person_id}
