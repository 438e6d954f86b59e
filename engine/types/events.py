"""What the engine reports of jobs and of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.types.engine_info import EngineInfo


@dataclass(frozen=True, slots=True)
class Picture:
    """One finished picture.

    Attributes:
        index: 0-based place in its job.
        seed: Its own seed.
        png: Encoded PNG with its A1111 parameters in the text chunk `parameters`.
        score: What the classifier found: unsafe above 0; None when nothing looked at the picture.
    """

    index: int
    seed: int
    width: int
    height: int
    png: bytes
    score: float | None = None


# Of a job, in this order; `GenerationResult` or `GenerationFailed` is last.


@dataclass(frozen=True, slots=True)
class Queued:
    """The job waits. `position` is 1-based; `eta_s` is seconds until it starts, None when unknown."""

    job_id: str
    position: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Started:
    """The job's rows are in the batch."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """State, not history: a slow reader sees the newest.

    `step` and `total` are summed over the job's pictures. `preview` is a small JPEG or None: the
    engine sends one now and then, `JobQueue.watch` repeats the newest.
    """

    job_id: str
    step: int
    total: int
    preview: bytes | None = None


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """All pictures of a job, in order of `index`.

    Attributes:
        seconds: Time from the job's first step to its last encoded picture.
        warnings: Sentences for the owner ("The last 12 words of the prompt were not read.").
        receipt: JSON-able facts that replay the pictures: model, hashes, versions, dtype and the row
            count of each step.
    """

    job_id: str
    pictures: tuple[Picture, ...]
    seconds: float
    warnings: tuple[str, ...] = ()
    receipt: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GenerationFailed:
    """The job ended without a picture: class name and message of the error, see `error_from_wire`."""

    job_id: str
    error: str
    message: str


JobEvent = Queued | Started | Progress | GenerationResult | GenerationFailed

# Of the engine itself.


@dataclass(frozen=True, slots=True)
class EngineLoading:
    """The engine is starting: what it is doing ("downloading unet") and how far (0 to 1, or None).

    `model` is the name of another model that is to take the place of the one of before, or "".
    """

    stage: str
    fraction: float | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The model is loaded; jobs run from now on."""

    info: EngineInfo


@dataclass(frozen=True, slots=True)
class EngineDied:
    """The process ended. `job_ids` were running in it and are tried again unless they fail.

    `message` is for the operator's log. `is_hopeless` when it could not load the model: it is started
    again now and then, but that will not help before the operator does something. `noticed_s` went by
    between its end and this event.
    """

    message: str
    job_ids: tuple[str, ...]
    is_hopeless: bool = False
    noticed_s: float = 0.0


EngineEvent = EngineLoading | EngineReady | EngineDied | JobEvent
