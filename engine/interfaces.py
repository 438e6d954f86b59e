"""The seams: the engine that makes pictures, and the stores that remember jobs and styles.

`engine.client.EngineClient` (a child process) is the `Engine` of today, remote workers are one
later; `storage.jobs.JobTable` is the `JobStore`, `storage.adapters.AdapterTable` the `AdapterStore`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from engine.control.maps import ControlMap, MapRequest
from engine.errors import EngineError
from engine.types import (
    EngineEvent,
    EngineInfo,
    GenerationRequest,
    GenerationResult,
    InstalledAdapter,
    Job,
    JobState,
    Limits,
    Submission,
)


class Engine(Protocol):
    """Runs jobs. It keeps accepted jobs over deaths of its process until they finish or fail."""

    @property
    def info(self) -> EngineInfo | None:
        """The last handshake, or None before the first; stays while the engine restarts."""

    @property
    def is_ready(self) -> bool:
        """True while a process with a loaded model runs."""

    async def submit(
        self,
        job_id: str,
        request: GenerationRequest,
        images: Mapping[str, bytes],
        attempts: int = 0,
    ) -> None:
        """Accepts a job; its events follow. `images` holds encoded init pictures by sha256.

        `attempts` counts engine deaths that the job was running in before (kept in the store over
        restarts of the bot): a job with one runs alone.
        """

    async def cancel(self, job_id: str) -> None:
        """Drops the job at the next step; ends with `GenerationFailed` ("GenerationCancelledError")."""

    def events(self) -> AsyncIterator[EngineEvent]:
        """Yields the events of all jobs and of the engine itself; one reader at a time."""

    async def call(self, kind: str, **fields: Any) -> Any:
        """Asks the engine something ("stats") and returns the answer.

        Raises:
            EngineDiedError: The process ended before it answered.
        """

    async def detect(self, png: bytes, asked: MapRequest) -> ControlMap:
        """Returns the control map of a picture, PNG as the intake or this engine made it.

        Raises:
            InvalidRequestError: There is nothing of that kind in the picture, or nothing that finds it.
            EngineDiedError: No engine is ready, or it ended before it answered.
        """


class JobStore(Protocol):
    """Remembers jobs over restarts. Every method with `await` is one transaction."""

    def is_passing(self, error: Exception) -> bool:
        """Returns True for trouble of the world outside (a full disk, a lock) that may end.

        The same call may then be tried again; after any other error it would fail again.
        """

    async def add(self, submission: Submission, *, cost: float, limits: Limits) -> tuple[Job, bool]:
        """Stores and charges a new job and returns it with True.

        A job of the same `submission.origin` is returned as it is with False, uncharged.

        Raises:
            TooManyWaitingError: The owner has `limits.waiting` jobs that are not final.
            QueueFullError: `limits.queue` jobs of everybody are not final.
            QuotaExceededError: The owner's charges in a window do not leave room for `cost`.
        """

    async def refuse(
        self, submission: Submission, error: EngineError, *, status_message_id: int | None
    ) -> Job:
        """Stores a job that failed before it could begin, uncharged, so that its owner is told.

        A job of the same `submission.origin` is returned as it is.
        """

    async def get(self, job_id: str) -> Job:
        """Raises UnknownJobError."""

    async def unfinished(self) -> Sequence[Job]:
        """Puts `running` jobs back to `queued` and returns all queued ones, oldest first."""

    async def undelivered(self) -> Sequence[Job]:
        """Returns the rendered and failed jobs whose owner was not told yet, oldest first."""

    async def mark_running(self, job_id: str) -> None:
        """Sets the state to running and `started_at`."""

    async def add_attempt(self, job_ids: Sequence[str]) -> None:
        """Counts an engine death against jobs that were running in it."""

    async def mark_bumped(self, job_id: str) -> None:
        """Sets `bumped_at` of a job that is not final to now."""

    async def change_request(self, job_id: str, request: GenerationRequest) -> Job:
        """Replaces what is made for a job that is not final."""

    async def finish(self, job_id: str, result: GenerationResult) -> Job:
        """Writes the picture files, then history and the state `rendered` in one transaction."""

    async def end(
        self, job_id: str, state: JobState, error: EngineError | None = None
    ) -> Job | None:
        """Sets `failed` or `cancelled` and refunds the charge; None when the job was final already."""

    async def image(self, sha256: str) -> bytes:
        """Returns a stored picture. Raises UnknownJobError when it was deleted."""

    async def set_status_message(self, job_id: str, message_id: int | None) -> None:
        """Remembers the public status line; None when nothing is left to do about it."""

    async def begin_sending(self, job_id: str) -> datetime | None:
        """Returns when sending began before, or None; the first call sets it to now."""

    async def mark_delivered(
        self, job_id: str, message_id: int | None, channel_id: int | None = None
    ) -> None:
        """Remembers the message with the result (None: kept for /history) and `delivered_at`."""


class AdapterStore(Protocol):
    """Remembers styles. Every method is one transaction."""

    async def add(
        self,
        source: Path,
        name: str,
        *,
        trigger_words: Sequence[str] = (),
        default_weight: float = 1.0,
        family: str,
        added_by: int = 0,
        description: str = "",
        stamp: str | None = None,
        expected: str | None = None,
        replaces: str | None = None,
    ) -> InstalledAdapter:
        """Copies and registers a checked file."""

    async def get(self, sha256: str) -> InstalledAdapter:
        """Returns one, or raises UnknownAdapterError."""

    async def known(self) -> list[InstalledAdapter]:
        """Returns all of them."""

    async def set_source(self, sha256: str, source: str, stamp: str) -> None:
        """Notes where its file is now."""

    async def set_gone(self, sha256: str) -> None:
        """Notes that its file is gone."""

    async def edit(
        self,
        sha256: str,
        *,
        name: str,
        trigger_words: Sequence[str],
        default_weight: float,
        actor_id: int,
    ) -> InstalledAdapter:
        """Changes one."""

    async def remove(self, sha256: str, *, actor_id: int) -> InstalledAdapter:
        """Notes that somebody removed one."""

    async def hidden(self) -> dict[int, frozenset[str]]:
        """Returns what is switched off, by server."""

    async def set_hidden(self, guild_id: int, sha256: str, hidden: bool, *, actor_id: int) -> None:
        """Switches one off or on in a server."""

    async def drop_unused(self, *, keep: Collection[str] = ()) -> int:
        """Removes copies that nobody needs any more."""

    async def set_preview(self, sha256: str, png: bytes | None) -> None:
        """Stores its preview."""

    async def preview(self, sha256: str) -> bytes | None:
        """Returns its preview."""
