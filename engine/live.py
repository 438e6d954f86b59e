"""A job while it is not final, as the queue keeps it in memory, and how its watchers are woken."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto

from engine.errors import GenerationCancelledError, GenerationError
from engine.types import GenerationFailed, GenerationResult, Job, JobEvent, JobState


class Signal:
    """Wakes everybody who waits for the next change."""

    def __init__(self) -> None:
        """Starts without a change."""
        self._event = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set at the next change; take it before looking at the state, then no change is missed."""
        return self._event

    def notify(self) -> None:
        """Something changed."""
        self._event.set()
        self._event = asyncio.Event()


class Stage(Enum):
    """Where an unfinished job is."""

    ARRIVING = auto()  # stored, paced
    WAITING = auto()  # in the fair queue
    SENT = auto()  # the engine has it, none of its rows run
    RUNNING = auto()
    ENDING = auto()  # the engine is done with it, the store is not


@dataclass(slots=True, eq=False)
class LiveJob:
    """One unfinished job.

    Attributes:
        share_done: Part of its steps that ran, 0 to 1.
        newest: Newest event of a running job.
        final: Its last event, once the store has it.
        inbox: Events that the store is to hear of.
    """

    job: Job
    stage: Stage = Stage.ARRIVING
    share_done: float = 0.0
    newest: JobEvent | None = None
    final: JobEvent | None = None
    changed: Signal = field(default_factory=Signal)
    inbox: asyncio.Queue[JobEvent] = field(default_factory=asyncio.Queue)

    @property
    def rows(self) -> int:
        """U-Net rows of one step."""
        return self.job.request.rows

    @property
    def is_waiting(self) -> bool:
        """True until its rows run, and again when the engine died and it is tried once more."""
        return self.final is None and self.stage in (Stage.ARRIVING, Stage.WAITING, Stage.SENT)

    @property
    def is_stepping(self) -> bool:
        """True while it takes or will take rows of the engine's batch."""
        return self.share_done < 1.0

    @property
    def work_left(self) -> float:
        """Work that is not done yet."""
        return self.job.request.work * (1.0 - self.share_done)

    def has_ended(self) -> bool:
        """True once its watchers have the final event."""
        return self.final is not None

    def back_to_waiting(self) -> None:
        """The engine died; it makes the job again from its first step."""
        self.stage, self.newest, self.share_done = Stage.SENT, None, 0.0


def event_of(job: Job) -> JobEvent | None:
    """Returns the final event of a stored job, without pictures; None when it is not final."""
    match job.state:
        case JobState.RENDERED:
            return GenerationResult(job.id, (), 0.0)
        case JobState.FAILED:
            name, message = job.error or (GenerationError.__name__, "The job failed.")
            return GenerationFailed(job.id, name, message)
        case JobState.CANCELLED:
            name = GenerationCancelledError.__name__
            return GenerationFailed(job.id, name, "The job was cancelled.")
        case _:
            return None
