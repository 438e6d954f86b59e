"""The most that a person may ask for, and who said so; `engine.limits` says whose limit counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Whose(StrEnum):
    """Who set a limit, and for whom."""

    OWNERS = "owners"  # the bot's owners, for everybody
    OWNERS_PERSON = "owners_person"  # they, for this person
    SERVER = "server"  # the managers of a server, for everybody there
    ROLE = "role"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Bound:
    """The most of something, and who said so."""

    value: int
    whose: Whose


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server's managers allow a person; only the jobs of that server are counted.

    Attributes:
        guild_id: The server.
        waiting: Jobs of the person there that are not final; None is no limit of theirs.
        per_minute: Jobs of the person there in 60 seconds; the same.
    """

    guild_id: int
    waiting: Bound | None = None
    per_minute: Bound | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a person may ask for, have waiting and use up; 0 means no limit for the two windows.

    A batch (see `engine.sheets`) is accepted where one job is; what it costs is counted in full.

    Attributes:
        waiting: Jobs of one person that are not final.
        queue: Jobs of everybody that are not final.
        daily: Cost of one person in 24 hours, see `EngineInfo.cost`.
        per_minute: Jobs of one person in 60 seconds.
        steps: Steps of one picture, those of a second pass included; None is the engine's own limit.
        side: Pixels of a finished picture's longer side; the same.
        count: Pictures of one command; the same.
        here: What counts in the server beside all this.
    """

    waiting: int
    queue: int
    daily: float = 0.0
    per_minute: int = 0
    steps: Bound | None = None
    side: Bound | None = None
    count: Bound | None = None
    here: ServerLimits | None = None
