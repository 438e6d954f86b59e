"""Which models the managers of a server let it draw with, and which one they would rather have."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from storage import audit
from storage.database import Database
from storage.rows import Clock, utc_now

log = logging.getLogger(__name__)

SET_DEFAULT_MODEL = "set the default model of a server"
ALLOWED_MODEL = "allowed a model in a server"
DENIED_MODEL = "denied a model in a server"


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What holds in a server.

    Attributes:
        default: Name of the model that it would rather have; None for whichever is loaded.
        denied: Names of models that are not used there.
    """

    default: str | None = None
    denied: tuple[str, ...] = ()


_NONE = ModelRules()
_RULES = TypeAdapter(ModelRules)


class ServerModels:
    """The rules of all servers, in memory, so that no command waits for the disk."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Knows none before `load`."""
        self._db = db
        self._clock = clock
        self._rules: dict[int, ModelRules] = {}

    async def load(self) -> None:
        """Reads the rules of the servers that have some."""
        for row in await self._db.rows("SELECT id, models FROM servers WHERE models <> '{}'"):
            try:
                self._rules[row["id"]] = _RULES.validate_json(row["models"])
            except ValidationError as error:
                log.error("The models of server %d cannot be read: %s", row["id"], error)

    def of(self, guild_id: int | None) -> ModelRules:
        """Returns the rules of a server; none hold in a DM."""
        return _NONE if guild_id is None else self._rules.get(guild_id, _NONE)

    def wishes(self) -> Counter[str]:
        """Returns how many servers would rather have which model."""
        return Counter(rules.default for rules in self._rules.values() if rules.default)

    async def set_default(self, guild_id: int, model: str | None, *, actor_id: int) -> None:
        """Stores the model that a server would rather have."""
        rules = dataclasses.replace(self.of(guild_id), default=model)
        await self._store(guild_id, rules, actor_id, SET_DEFAULT_MODEL, model)

    async def allow(self, guild_id: int, model: str, *, actor_id: int) -> None:
        """Lets a server draw with a model again."""
        rules = self.of(guild_id)
        denied = tuple(name for name in rules.denied if name != model)
        rules = dataclasses.replace(rules, denied=denied)
        await self._store(guild_id, rules, actor_id, ALLOWED_MODEL, model)

    async def deny(self, guild_id: int, model: str, *, actor_id: int) -> None:
        """Keeps a server from drawing with a model."""
        rules = self.of(guild_id)
        denied = tuple(sorted({*rules.denied, model}))
        rules = dataclasses.replace(rules, denied=denied)
        await self._store(guild_id, rules, actor_id, DENIED_MODEL, model)

    async def _store(
        self, guild_id: int, rules: ModelRules, actor_id: int, act: str, model: str | None
    ) -> None:
        async with self._db.transaction() as tx:
            await tx.rows(
                "INSERT INTO servers (id, models) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET models = excluded.models",
                (guild_id, _RULES.dump_json(rules).decode()),
            )
            await audit.note(
                tx, self._clock(), actor_id, act, {"guild_id": guild_id, "model": model}
            )
        self._rules[guild_id] = rules
