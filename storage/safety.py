"""What the managers of a server decided about reports and unsafe pictures; in memory."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from storage import audit
from storage.database import Database
from storage.rows import Clock, utc_now

log = logging.getLogger(__name__)

SET_REPORTS = "set the channel of reports"
SET_CLASSIFIER = "set what becomes of unsafe pictures"


class Classifier(StrEnum):
    """What becomes of pictures that the engine's classifier finds unsafe, or did not look at."""

    OFF = "off"  # nothing
    SPOILER = "spoiler"  # they are hidden until somebody clicks on them
    HOLD = "hold"  # a moderator decides first
    BLOCK = "block"  # they are not shown


@dataclass(frozen=True, slots=True)
class SafetyRules:
    """What holds in a server.

    Attributes:
        reports: The channel of its moderators; None while reports wait for the bot's owners.
        locale: The language of whoever chose it, for servers that have none.
        classifier: What becomes of unsafe pictures.
    """

    reports: int | None = None
    locale: str = "en-US"
    classifier: Classifier = Classifier.OFF


_NONE = SafetyRules()
_RULES = TypeAdapter(SafetyRules)


class ServerSafety:
    """The rules of all servers, so that no command waits for the disk."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Knows none before `load`."""
        self._db = db
        self._clock = clock
        self._rules: dict[int, SafetyRules] = {}

    async def load(self) -> None:
        """Reads the rules of the servers that have some."""
        for row in await self._db.rows("SELECT id, safety FROM servers WHERE safety <> '{}'"):
            try:
                self._rules[row["id"]] = _RULES.validate_json(row["safety"])
            except ValidationError as error:
                log.error("The safety rules of server %d cannot be read: %s", row["id"], error)

    def of(self, guild_id: int | None) -> SafetyRules:
        """Returns the rules of a server; none hold in a DM."""
        return _NONE if guild_id is None else self._rules.get(guild_id, _NONE)

    async def set_reports(
        self, guild_id: int, channel_id: int | None, *, locale: str, actor_id: int
    ) -> None:
        """Stores where reports of a server's pictures go; None: to the bot's owners."""
        rules = dataclasses.replace(self.of(guild_id), reports=channel_id, locale=locale)
        await self._store(guild_id, rules, SET_REPORTS, actor_id, channel_id=channel_id)

    async def set_classifier(self, guild_id: int, mode: Classifier, *, actor_id: int) -> None:
        """Stores what becomes of a server's unsafe pictures."""
        rules = dataclasses.replace(self.of(guild_id), classifier=mode)
        await self._store(guild_id, rules, SET_CLASSIFIER, actor_id, mode=str(mode))

    async def _store(
        self, guild_id: int, rules: SafetyRules, act: str, actor_id: int, **detail: object
    ) -> None:
        async with self._db.transaction() as tx:
            await tx.rows(
                "INSERT INTO servers (id, safety) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET safety = excluded.safety",
                (guild_id, _RULES.dump_json(rules).decode()),
            )
            await audit.note(tx, self._clock(), actor_id, act, {"guild_id": guild_id} | detail)
        self._rules[guild_id] = rules
