"""What people look up among pictures: searches, stars, where a picture came from, what a day held."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from engine.errors import UnknownJobError
from engine.types import Generation
from engine.words import N_
from storage.database import Database, Value
from storage.history import GENERATIONS
from storage.rows import Clock, generation_from_row, to_json, to_text, utc_now
from storage.search import match_expression

GONE = N_(
    "This picture is gone: it was deleted, or cleared away because it was old. "
    "/imagine makes another one with its prompt."
)

_OUT_OF_ORDER = 20  # jobs that may have been asked for earlier and finished later
_MAX_DEPTH = 1000
# A star takes 30 us to look up among words, 150 us among words and styles; a match less than 1 us among
# the stars, and as long to count.
MANY_STARS = 100
_MOST_STARS = 1000  # more of them count as so many
_MATCHES_PER_STAR = 40  # fewer, of everybody, are looked up among the stars


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list of pictures should hold.

    Attributes:
        words: All of them are in the prompt; "" for any prompt.
        since: Made at that time or later.
        starred: Starred by the person, whoever made them; otherwise made by the person.
        styles: sha256 of LoRAs, or at least 8 hex digits that one begins with: drawn with one of
            them. `storage.search.NO_STYLE` for pictures without any; () for both.
    """

    words: str = ""
    since: datetime | None = None
    starred: bool = False
    styles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relative:
    """One picture of a family tree; `depth` is 0 for the first ancestor."""

    generation: Generation
    parent_id: str | None
    depth: int


class Gallery:
    """Reads finished jobs in the ways that people look for them, newest first; keeps the stars."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Takes the clock as an argument for the tests."""
        self._db = db
        self._clock = clock

    async def find(
        self, person_id: int, wanted: Wanted, *, limit: int, before: str | None = None
    ) -> list[Generation]:
        """Returns pictures that are still there, in the order they were asked for, newest first.

        Words are found whatever their case, accents and English endings. When no picture has them,
        the last one counts as the beginning of a word.

        Args:
            person_id: Whose pictures, or stars.
            wanted: What to look for.
            limit: At most so many.
            before: Id of the last picture of the page before, None for the first page.
        """
        has_words = bool(wanted.words.strip())
        if not has_words and not wanted.styles:
            return await self._find(person_id, wanted, None, limit, before)
        owner_id = None if wanted.starred else person_id
        for is_prefix in (False, True) if has_words else (False,):
            match = match_expression(
                wanted.words, owner_id, styles=wanted.styles, is_prefix=is_prefix
            )
            if match is None:  # no picture has words that are none
                return []
            found = await self._find(person_id, wanted, match, limit, before)
            if found:
                return found
        return []

    async def _find(
        self, person_id: int, wanted: Wanted, match: str | None, limit: int, before: str | None
    ) -> list[Generation]:
        # Each way walks its own index in the order of numbers and stops when the page is full.
        conditions = ["generations.deleted_at IS NULL"]
        values: list[Value] = []
        if wanted.starred:
            number = "stars.number"
            tables = "stars JOIN jobs ON jobs.number = stars.number"
            if match is not None:
                both = "stars CROSS JOIN generation_words"
                if await self._has_few(match, person_id):
                    number = "generation_words.rowid"
                    both = "generation_words CROSS JOIN stars"
                tables = (
                    f"{both} ON generation_words.rowid = stars.number"
                    " JOIN jobs ON jobs.number = stars.number"
                )
                conditions.append("generation_words MATCH ?")
                values.append(match)
            conditions.append("stars.person_id = ?")
            values.append(person_id)
        elif match is not None:
            number = "generation_words.rowid"
            tables = "generation_words JOIN jobs ON jobs.number = generation_words.rowid"
            conditions.append("generation_words MATCH ?")
            values.append(match)
        else:
            number = "jobs.number"
            tables = "jobs INDEXED BY jobs_owner"
            conditions.append("jobs.owner_id = ?")
            values.append(person_id)
        if wanted.since is not None:
            since = to_text(wanted.since)
            conditions.append("generations.created_at >= ?")
            values.append(since)
            if not wanted.starred:
                first = await self._first_since(person_id, since)
                if first is None:
                    return []
                conditions.append(f"{number} >= ?")
                values.append(first)
        if before is not None:
            conditions.append(f"{number} < (SELECT number FROM jobs WHERE id = ?)")
            values.append(before)
        sql = GENERATIONS.replace(
            "FROM generations JOIN jobs ON jobs.id = generations.id",
            f"FROM {tables} JOIN generations ON generations.id = jobs.id",
        )
        rows = await self._db.rows(
            f"{sql} WHERE {' AND '.join(conditions)} ORDER BY {number} DESC LIMIT ?",
            (*values, limit),
        )
        return [generation_from_row(row) for row in rows]

    async def _has_few(self, match: str, person_id: int) -> bool:
        """True when it is quicker to look the matches up among the stars than the other way round."""
        stars = await self._count(
            "SELECT 1 FROM stars WHERE person_id = ? LIMIT ?", person_id, _MOST_STARS
        )
        if stars < MANY_STARS:
            return False
        few = _MATCHES_PER_STAR * max(stars, 1)
        sql = "SELECT 1 FROM generation_words WHERE generation_words MATCH ? LIMIT ?"
        return await self._count(sql, match, few) < few

    async def _count(self, sql: str, value: Value, limit: int) -> int:
        row = await self._db.row(f"SELECT count(*) AS found FROM ({sql})", (value, limit))
        return 0 if row is None else int(row["found"])

    async def _first_since(self, person_id: int, since: str) -> int | None:
        """Returns a number that no picture of the person since then is below."""
        row = await self._db.row(
            "SELECT min(number) AS first FROM ("
            " SELECT jobs.number FROM generations JOIN jobs ON jobs.id = generations.id"
            " WHERE generations.owner_id = ? AND generations.created_at >= ?"
            " ORDER BY generations.created_at LIMIT ?)",
            (person_id, since, _OUT_OF_ORDER),
        )
        return None if row is None else row["first"]

    async def set_star(self, person_id: int, generation_id: str, *, on: bool) -> bool:
        """Stars a picture or takes the star away; returns whether that changed anything.

        Raises:
            UnknownJobError: There is no such picture, or it was deleted.
        """
        async with self._db.transaction() as tx:
            row = await tx.row(
                "SELECT jobs.number FROM generations JOIN jobs ON jobs.id = generations.id"
                " WHERE generations.id = ? AND generations.deleted_at IS NULL",
                (generation_id,),
            )
            if row is None:
                raise UnknownJobError(GONE)
            if on:
                changed = await tx.rows(
                    "INSERT INTO stars (person_id, number, starred_at) VALUES (?, ?, ?)"
                    " ON CONFLICT DO NOTHING RETURNING number",
                    (person_id, row["number"], to_text(self._clock())),
                )
            else:
                changed = await tx.rows(
                    "DELETE FROM stars WHERE person_id = ? AND number = ? RETURNING number",
                    (person_id, row["number"]),
                )
        return bool(changed)

    async def starred(self, person_id: int, generation_ids: Iterable[str]) -> set[str]:
        """Returns those of the pictures that the person has starred."""
        rows = await self._db.rows(
            "SELECT jobs.id FROM json_each(?) AS wanted JOIN jobs ON jobs.id = wanted.value"
            " JOIN stars ON stars.number = jobs.number AND stars.person_id = ?",
            (to_json(list(generation_ids)), person_id),
        )
        return {str(row["id"]) for row in rows}

    async def published(
        self, generation_id: str, *, guild_id: int, channel_id: int, message_id: int
    ) -> None:
        """Notes that a private result is now a public message."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "UPDATE jobs SET private = 0, guild_id = ?, channel_id = ?,"
                " result_channel_id = ?, result_message_id = ? WHERE id = ?",
                (guild_id, channel_id, channel_id, message_id, generation_id),
            )

    async def family(self, generation_id: str, *, limit: int) -> tuple[list[Relative], bool]:
        """Returns a picture's family as a tree in reading order, and whether some are left out.

        The picture and its ancestors come first, then what was made from it, then what was made
        from its parent, its parent's parent and so on, until there are `limit`.

        Raises:
            UnknownJobError: There is no such picture.
        """
        chain = await self._chain(generation_id)
        if not chain:
            raise UnknownJobError("This picture is not in the history any more.")
        kept = chain[:limit]  # the picture itself first, its ancestors upwards
        is_cut = len(chain) > len(kept)
        parents = dict(itertools.pairwise(kept))
        members = dict.fromkeys(kept)
        for beginning in kept:
            # Descendants of the picture itself to any depth; of an ancestor its children only.
            waiting = [beginning]
            while waiting:
                parent = waiting.pop(0)
                room = limit - len(members)
                rows = await self._db.rows(
                    "SELECT id FROM generations WHERE parent_id = ?"
                    " AND id NOT IN (SELECT value FROM json_each(?))"
                    " ORDER BY created_at, id LIMIT ?",
                    (parent, to_json(list(members)), room + 1),
                )
                is_cut = is_cut or len(rows) > room
                for row in rows[:room]:
                    parents[row["id"]] = parent
                    members[row["id"]] = None
                    if beginning == generation_id:
                        waiting.append(row["id"])
        rows = await self._db.rows(
            f"{GENERATIONS} JOIN json_each(?) AS wanted ON wanted.value = generations.id"
            " ORDER BY generations.created_at, generations.id",
            (to_json(list(members)),),
        )
        return _in_reading_order([generation_from_row(row) for row in rows], parents), is_cut

    async def _chain(self, generation_id: str) -> list[str]:
        rows = await self._db.rows(
            "WITH RECURSIVE chain (id, depth) AS ("
            " SELECT id, 0 FROM generations WHERE id = ?"
            " UNION ALL"
            " SELECT generations.parent_id, depth + 1 FROM chain"
            " JOIN generations ON generations.id = chain.id"
            " WHERE generations.parent_id IS NOT NULL AND depth < ?)"
            " SELECT id FROM chain ORDER BY depth",
            (generation_id, _MAX_DEPTH),
        )
        return [str(row["id"]) for row in rows]

    async def pictures_by_day(self, person_id: int, since: datetime) -> dict[date, int]:
        """Returns how many pictures a person made on each day (UTC) that had some."""
        rows = await self._db.rows(
            "SELECT substr(generations.created_at, 1, 10) AS day, count(*) AS pictures"
            " FROM generations"
            " JOIN generation_pictures ON generation_pictures.generation_id = generations.id"
            " WHERE generations.owner_id = ? AND generations.created_at >= ? GROUP BY day",
            (person_id, to_text(since)),
        )
        return {date.fromisoformat(row["day"]): row["pictures"] for row in rows}


def _in_reading_order(generations: Iterable[Generation], parents: dict[str, str]) -> list[Relative]:
    """Returns parents before their children, and the children of one parent by age."""
    children: dict[str | None, list[Generation]] = {}
    for generation in generations:
        children.setdefault(parents.get(generation.id), []).append(generation)
    ordered = []
    stack = [(one, 0) for one in reversed(children.get(None, []))]
    while stack:
        generation, depth = stack.pop()
        ordered.append(Relative(generation, parents.get(generation.id), depth))
        stack += [(one, depth + 1) for one in reversed(children.get(generation.id, []))]
    return ordered
