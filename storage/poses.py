"""Poses that people saved, for themselves or for everybody of a server; all of them are in memory."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from engine.control.library import Pose
from engine.control.maps import Skeleton
from engine.errors import InvalidRequestError
from engine.words import N_
from storage.database import Database
from storage.rows import Clock, to_text, utc_now

log = logging.getLogger(__name__)

PEOPLE: TypeAdapter[tuple[Skeleton, ...]] = TypeAdapter(tuple[Skeleton, ...])
MAX_POSES = 50  # of one person
_UNWRITTEN = re.compile(r"[\s_-]+")

TAKEN = N_("You have a pose {name} already. Choose another name, or delete that one first.")
TAKEN_HERE = N_(
    "This server has a pose {name} already. Choose another name with the command poses rename."
)
TOO_MANY = N_("You have {limit} poses, which is the limit. Delete one first.")


@dataclass(frozen=True, slots=True)
class SavedPose:
    """A pose of somebody.

    Attributes:
        guild_id: Server whose members may use it, too; None for the owner alone.
    """

    id: int
    owner_id: int
    pose: Pose
    guild_id: int | None = None

    @property
    def name(self) -> str:
        """What its owner called it."""
        return self.pose.name


class Poses:
    """The table of poses. Every method with `await` is one transaction."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Knows none before `load`."""
        self._db = db
        self._clock = clock
        self._known: dict[int, SavedPose] = {}

    async def load(self) -> None:
        """Reads all poses; one that cannot be read is logged."""
        for row in await self._db.rows("SELECT * FROM poses ORDER BY id"):
            try:
                self._known[row["id"]] = _saved(row)
            except ValidationError as error:
                log.error("Pose %d cannot be read: %s", row["id"], error)

    def of(self, owner_id: int) -> list[SavedPose]:
        """Returns the poses of a person, oldest first."""
        return [saved for saved in self._known.values() if saved.owner_id == owner_id]

    def shared_in(self, guild_id: int | None) -> list[SavedPose]:
        """Returns what people of a server share there, oldest first; None is no server."""
        if guild_id is None:
            return []
        return [saved for saved in self._known.values() if saved.guild_id == guild_id]

    async def add(self, owner_id: int, pose: Pose, guild_id: int | None = None) -> SavedPose:
        """Stores a pose.

        Raises:
            InvalidRequestError: The name is taken, or the person has too many.
        """
        mine = self.of(owner_id)
        if any(_is_named(saved, pose.name) for saved in mine):
            raise InvalidRequestError(TAKEN, name=pose.name)
        if len(mine) >= MAX_POSES:
            raise InvalidRequestError(TOO_MANY, limit=MAX_POSES)
        self._check_shared(guild_id, pose.name)
        row = await self._one(
            "INSERT INTO poses (owner_id, name, guild_id, people, width, height, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
            (
                owner_id,
                pose.name,
                guild_id,
                to_json_people(pose.people),
                pose.width,
                pose.height,
                to_text(self._clock()),
            ),
        )
        return self._keep(row)

    async def rename(self, saved: SavedPose, name: str) -> SavedPose:
        """Gives a pose another name.

        Raises:
            InvalidRequestError: It is taken.
        """
        if any(_is_named(one, name) for one in self.of(saved.owner_id) if one.id != saved.id):
            raise InvalidRequestError(TAKEN, name=name)
        self._check_shared(saved.guild_id, name, but=saved.id)
        return self._keep(
            await self._one("UPDATE poses SET name = ? WHERE id = ? RETURNING *", (name, saved.id))
        )

    async def share(self, saved: SavedPose, guild_id: int | None) -> SavedPose:
        """Lets a server's members use a pose; None takes it back.

        Raises:
            InvalidRequestError: The server has a pose of this name already.
        """
        self._check_shared(guild_id, saved.name, but=saved.id)
        return self._keep(
            await self._one(
                "UPDATE poses SET guild_id = ? WHERE id = ? RETURNING *", (guild_id, saved.id)
            )
        )

    async def delete(self, saved: SavedPose) -> None:
        """Removes a pose."""
        async with self._db.transaction() as tx:
            await tx.rows("DELETE FROM poses WHERE id = ?", (saved.id,))
        self._known.pop(saved.id, None)

    def forget(self, owner_id: int) -> None:
        """Forgets what is in memory of a person; the rows are erased by `storage.privacy`."""
        for saved in self.of(owner_id):
            del self._known[saved.id]

    def _check_shared(self, guild_id: int | None, name: str, but: int | None = None) -> None:
        if any(_is_named(one, name) for one in self.shared_in(guild_id) if one.id != but):
            raise InvalidRequestError(TAKEN_HERE, name=name)

    async def _one(self, sql: str, values: Sequence[object]) -> sqlite3.Row:
        try:
            async with self._db.transaction() as tx:
                row = await tx.row(sql, tuple(values))  # type: ignore[arg-type]
        except sqlite3.IntegrityError as error:  # two at the same moment
            raise InvalidRequestError(TAKEN, name=str(values[0])) from error
        if row is None:
            raise InvalidRequestError(N_("This pose was deleted. Choose another one."))
        return row

    def _keep(self, row: sqlite3.Row) -> SavedPose:
        saved = self._known[row["id"]] = _saved(row)
        return saved


def to_json_people(people: Sequence[Skeleton]) -> str:
    """Returns the joints as JSON, to a tenth of a pixel."""
    rounded = tuple(
        tuple(None if point is None else (round(point[0], 1), round(point[1], 1)) for point in one)
        for one in people
    )
    return PEOPLE.dump_json(rounded).decode()


def _is_named(saved: SavedPose, name: str) -> bool:
    """True when people would mean this pose by the name, however they write it."""
    return _key(saved.name) == _key(name)


def _key(name: str) -> str:
    return _UNWRITTEN.sub("", name.casefold())


def _saved(row: sqlite3.Row) -> SavedPose:
    people = PEOPLE.validate_json(row["people"])
    pose = Pose(row["name"], people, row["width"], row["height"])
    return SavedPose(row["id"], row["owner_id"], pose, row["guild_id"])
