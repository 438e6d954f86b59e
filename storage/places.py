"""What servers and channels have as defaults: what a command does there when its user has set nothing."""

from __future__ import annotations

import json
import logging

from pydantic import ValidationError

from engine.types import Destination
from storage import audit
from storage.database import Database
from storage.people import NOTHING_SET, PREFERENCES, Preferences
from storage.rows import Clock, utc_now

log = logging.getLogger(__name__)

SET_DEFAULTS = "set defaults of a place"


class Places:
    """The defaults of all servers and channels, in memory, so that no command waits for the disk."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Knows none before `load`."""
        self._db = db
        self._clock = clock
        self._servers: dict[int, Preferences] = {}
        self._channels: dict[int, Preferences] = {}

    async def load(self) -> None:
        """Reads the defaults of the places that have some."""
        for table, known in (("servers", self._servers), ("channels", self._channels)):
            for row in await self._db.rows(
                f"SELECT id, defaults FROM {table} WHERE defaults <> '{{}}'"
            ):
                try:
                    known[row["id"]] = PREFERENCES.validate_json(row["defaults"])
                except ValidationError as error:
                    log.error("The defaults of %s %d cannot be read: %s", table, row["id"], error)

    def server(self, guild_id: int) -> Preferences:
        """Returns what was set for a server."""
        return self._servers.get(guild_id, NOTHING_SET)

    def channel(self, channel_id: int) -> Preferences:
        """Returns what was set for a channel; its threads have none of their own."""
        return self._channels.get(channel_id, NOTHING_SET)

    def negative_prompts(self, destination: Destination) -> tuple[str | None, ...]:
        """Returns what its server and its channel, of a thread that one's, set as negative prompt."""
        if destination.guild_id is None:
            return ()
        channel_id = destination.parent_channel_id or destination.channel_id
        return self.server(destination.guild_id).negative, self.channel(channel_id).negative

    async def set_server(self, guild_id: int, defaults: Preferences, *, actor_id: int) -> None:
        """Stores a server's defaults instead of those of before; the actor goes into the audit."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "INSERT INTO servers (id, defaults) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET defaults = excluded.defaults",
                (guild_id, _text(defaults)),
            )
            await audit.note(tx, self._clock(), actor_id, SET_DEFAULTS, _place(guild_id, None))
        self._servers[guild_id] = defaults

    async def set_channel(
        self, guild_id: int, channel_id: int, defaults: Preferences, *, actor_id: int
    ) -> None:
        """Stores a channel's defaults in the same way."""
        async with self._db.transaction() as tx:
            await tx.rows(
                "INSERT INTO channels (id, guild_id, defaults) VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET defaults = excluded.defaults",
                (channel_id, guild_id, _text(defaults)),
            )
            await audit.note(
                tx, self._clock(), actor_id, SET_DEFAULTS, _place(guild_id, channel_id)
            )
        self._channels[channel_id] = defaults


def _place(guild_id: int, channel_id: int | None) -> dict[str, int | None]:
    return {"guild_id": guild_id, "channel_id": channel_id}


def _text(defaults: Preferences) -> str:
    return json.dumps(PREFERENCES.dump_python(defaults, exclude_none=True))
