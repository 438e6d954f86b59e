"""In which channels of a server pictures are made, and how; in memory, so that no command waits for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from storage import audit
from storage.database import Database
from storage.rows import Clock, utc_now

WHOLE_SERVER = 0  # instead of a channel's id: the channels that have no rule of their own

ALLOWED = "allow pictures in a channel"
DENIED = "deny pictures in a channel"
SET_MODE = "set the mode of a channel"


class Mode(StrEnum):
    """What pictures of a channel have to keep to."""

    NONE = "none"
    SFW = "sfw"  # nothing that is for adults, whatever Discord says of the channel
    SPOILER = "spoiler"  # every picture is hidden until somebody clicks on it
    NSFW_ONLY = "nsfw-only"  # only while Discord has the channel as age-restricted


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """What was decided for a channel, or for the whole server; None says nothing."""

    allowed: bool | None = None
    mode: Mode | None = None


NOTHING = ChannelRule()


class ChannelRules:
    """The rules of all servers; each one is found by its server, too, so none counts in another."""

    def __init__(self, db: Database, *, clock: Clock = utc_now) -> None:
        """Knows none before `load`."""
        self._db = db
        self._clock = clock
        self._rules: dict[tuple[int, int], ChannelRule] = {}

    async def load(self) -> None:
        """Reads all rules."""
        self._rules = {
            (row["guild_id"], row["channel_id"]): ChannelRule(
                None if row["allowed"] is None else bool(row["allowed"]),
                None if row["mode"] is None else Mode(row["mode"]),
            )
            for row in await self._db.rows("SELECT * FROM channel_rules")
        }

    def rule(self, guild_id: int, channel_id: int) -> ChannelRule:
        """Returns what was decided for the channel itself, or for the `WHOLE_SERVER`."""
        return self._rules.get((guild_id, channel_id), NOTHING)

    def of_server(self, guild_id: int) -> dict[int, ChannelRule]:
        """Returns the rules of a server by channel, in no order."""
        return {
            channel: rule for (guild, channel), rule in self._rules.items() if guild == guild_id
        }

    def allows(self, guild_id: int, channel_id: int) -> bool:
        """Returns whether pictures are made in a channel; of a thread ask for what it belongs to."""
        own, server = self.rule(guild_id, channel_id), self.rule(guild_id, WHOLE_SERVER)
        if own.allowed is not None:
            return own.allowed
        return server.allowed is not False

    def mode(self, guild_id: int, channel_id: int) -> Mode:
        """Returns the mode that counts in a channel; of a thread ask for what it belongs to."""
        own, server = self.rule(guild_id, channel_id), self.rule(guild_id, WHOLE_SERVER)
        return own.mode or server.mode or Mode.NONE

    async def set_allowed(
        self, guild_id: int, channel_id: int, allowed: bool, *, actor_id: int
    ) -> None:
        """Stores whether pictures are made in a channel, or in the `WHOLE_SERVER`."""
        rule = dataclasses.replace(self.rule(guild_id, channel_id), allowed=allowed)
        act = ALLOWED if allowed else DENIED
        await self._store(guild_id, channel_id, rule, act, actor_id)

    async def set_mode(self, guild_id: int, channel_id: int, mode: Mode, *, actor_id: int) -> None:
        """Stores the mode of a channel, or of the `WHOLE_SERVER`; `Mode.NONE` is one, too."""
        rule = dataclasses.replace(self.rule(guild_id, channel_id), mode=mode)
        await self._store(guild_id, channel_id, rule, SET_MODE, actor_id, mode=str(mode))

    async def _store(
        self,
        guild_id: int,
        channel_id: int,
        rule: ChannelRule,
        act: str,
        actor_id: int,
        **detail: str,
    ) -> None:
        async with self._db.transaction() as tx:
            await tx.rows(
                "INSERT INTO channel_rules (guild_id, channel_id, allowed, mode)"
                " VALUES (?, ?, ?, ?) ON CONFLICT (guild_id, channel_id)"
                " DO UPDATE SET allowed = excluded.allowed, mode = excluded.mode",
                (guild_id, channel_id, rule.allowed, rule.mode),
            )
            place = {"guild_id": guild_id, "channel_id": channel_id or None}
            await audit.note(tx, self._clock(), actor_id, act, place | detail)
        self._rules[guild_id, channel_id] = rule
