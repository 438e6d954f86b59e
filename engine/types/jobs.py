"""The life of a request: who asked, what became of it, and what the operator decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from engine.types.requests import GenerationRequest

NOBODY = -1  # owner of jobs that the bot itself wants; they wait until no person's job does


class JobState(StrEnum):
    """Where a job is in its life; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    RENDERED = "rendered"  # pictures are on disk and in history
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when the engine has nothing left to do for the job."""
        return self in (JobState.RENDERED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the answer goes.

    Attributes:
        channel_id: Channel, thread or DM channel.
        guild_id: Server, or None in a DM.
        private: Only the owner may see status and result.
        spoiler: Pictures are hidden until clicked.
        locale: Discord locale of its messages.
        parent_channel_id: The channel that a thread belongs to; only until it is a job.
    """

    channel_id: int
    guild_id: int | None = None
    private: bool = False
    spoiler: bool = False
    locale: str = "en-US"
    parent_channel_id: int | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """One request with who asked, where and why: what every entrance hands to `JobQueue.submit`.

    Attributes:
        origin: Unique key of what caused it ("interaction:123"); a second submission with the same
            key is the same job.
        owner_id: Discord user who pays.
        owner_name: Display name, for lists and the picture's page; never used to decide anything.
        action: "imagine", "reroll", ... for history.
        parent_id: Generation that this one came from, or None.
        role_ids: The owner's roles in the destination's server; only until it is a job.
        batch_pictures: Pictures of all jobs of its batch, see `engine.sheets`; 0 without one.
        pins_model: The person asked for the request's very model, by its name or by "the same again".
    """

    origin: str
    owner_id: int
    owner_name: str
    destination: Destination
    request: GenerationRequest
    action: str = "imagine"
    parent_id: str | None = None
    role_ids: tuple[int, ...] = ()
    batch_pictures: int = 0
    pins_model: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """The life of one submission, as stored.

    Attributes:
        id: 13 characters [a-z0-9], random; part of button ids and nonces.
        cost: What the owner was charged, see `EngineInfo.cost`.
        attempts: Engine deaths that the job was running in.
        error: (class name, message) of the failure, see `engine.errors.error_from_wire`.
        status_message_id: The public status line, when there is one.
        result_channel_id: Where the result is, when that is not known to be the destination.
        sending_since: Set before the result's first send; its outcome is unknown until
            `delivered_at` is set.
        delivered_at: When the result or the apology reached its owner, or was given up for /history.
        bumped_at: When an operator put it to the front of the line.
    """

    id: str
    submission: Submission
    state: JobState
    cost: float
    attempts: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: tuple[str, str] | None = None
    status_message_id: int | None = None
    result_message_id: int | None = None
    result_channel_id: int | None = None
    sending_since: datetime | None = None
    delivered_at: datetime | None = None
    bumped_at: datetime | None = None

    @property
    def owner_id(self) -> int:
        """Discord user who pays."""
        return self.submission.owner_id

    @property
    def request(self) -> GenerationRequest:
        """What was asked."""
        return self.submission.request


@dataclass(frozen=True, slots=True)
class Generation:
    """One row of history: a finished job with its pictures' hashes.

    Attributes:
        id: The job's id.
        pictures: sha256 (hex) of each picture file, in order; empty when deleted.
        channel_id: Where the message is, when that is not known to be the destination.
        scores: What the classifier found of each picture, see `Picture.score`.
    """

    id: str
    submission: Submission
    created_at: datetime
    seconds: float
    pictures: tuple[str, ...]
    seeds: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    receipt: Mapping[str, object] = field(default_factory=dict)
    message_id: int | None = None
    channel_id: int | None = None
    deleted_at: datetime | None = None
    scores: tuple[float | None, ...] = ()

    @property
    def request(self) -> GenerationRequest:
        """What was asked."""
        return self.submission.request

    @property
    def is_unsafe(self) -> bool:
        """True when the classifier found one of the pictures unsafe."""
        return any(score is not None and score > 0 for score in self.scores)


class Flow(StrEnum):
    """Whether the queue goes on, as the operator decided."""

    OPEN = "open"
    PAUSED = "paused"  # what runs ends, what waits stays, what comes waits behind it
    DRAINING = "draining"  # what was accepted is made, nothing new is


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model that was loaded last by decision.

    Attributes:
        source: What the settings call it, see `EngineSettings.model`.
        configured: What the settings named then: when they name another one now, that counts.
    """

    source: str
    configured: str
