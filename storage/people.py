"""People's own defaults: what a command does when they leave an option out."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from storage.database import Database
from storage.rows import Clock, to_text, utc_now

log = logging.getLogger(__name__)

LANGUAGES = {
    "en": "English",
    "de": "Deutsch",
    "ja": "日本語",
}  # by ISO 639-1 code, in their own words


@dataclass(frozen=True, slots=True)
class Preferences:
    """What somebody set; None is "not set". The first six are options of commands by their names.

    Attributes:
        negative: Negative prompt.
        aspect: "16:9".
        count: Pictures of one job.
        quality: "draft", "standard" or "hd".
        style: Styles as people write them, "neon:0.7, sepia".
        private: Results are shown to the owner alone.
        remix_strength: How far a remix goes: "subtle", "medium" or "strong".
        dm_copies: Finished pictures also come by direct message.
        language: One of `LANGUAGES`; None is the language of the person's Discord.
        mixes: Names of the person's own mixes, and the styles that each stands for.
    """

    negative: str | None = None
    aspect: str | None = None
    count: int | None = None
    quality: str | None = None
    style: str | None = None
    private: bool | None = None
    remix_strength: str | None = None
    dm_copies: bool | None = None
    language: str | None = None
    mixes: dict[str, str] | None = None


NOTHING_SET = Preferences()
PREFERENCES = TypeAdapter(Preferences)


class People:
    """Everybody's defaults, in memory, so that no command waits for the disk to know them."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Knows nobody before `load`."""
        self._db = db
        self._clock = clock
        self._known: dict[int, Preferences] = {}

    async def load(self) -> None:
        """Reads the defaults of everybody who set some."""
        for row in await self._db.rows("SELECT id, defaults FROM people WHERE defaults <> '{}'"):
            try:
                self._known[row["id"]] = PREFERENCES.validate_json(row["defaults"])
            except ValidationError as error:
                log.error("The defaults of person %d cannot be read: %s", row["id"], error)

    def preferences(self, person_id: int) -> Preferences:
        """Returns what the person set."""
        return self._known.get(person_id, NOTHING_SET)

    def language(self, person_id: int) -> str | None:
        """Returns the code of the language that the person chose, a key of `LANGUAGES`.

        `People.language` is what a translator asks; None: the person goes by their Discord.
        """
        language = self.preferences(person_id).language
        return language if language in LANGUAGES else None

    async def set_preferences(self, person_id: int, name: str, preferences: Preferences) -> None:
        """Stores what the person set, instead of what was set before."""
        values = PREFERENCES.dump_python(preferences, exclude_none=True)
        async with self._db.transaction() as tx:
            await tx.rows(
                "INSERT INTO people (id, name, defaults, first_seen_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET name = excluded.name, defaults = excluded.defaults",
                (person_id, name, json.dumps(values), to_text(self._clock())),
            )
        self._known[person_id] = preferences

    def forget(self, person_id: int) -> None:
        """Forgets what is in memory; its row is erased by `storage.privacy`."""
        self._known.pop(person_id, None)
