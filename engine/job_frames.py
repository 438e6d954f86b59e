"""From the frames of an engine process to the events of the job that they are about."""

from __future__ import annotations

from engine.blame import AcceptedJob
from engine.errors import GenerationError
from engine.protocol import Frame, ProtocolError
from engine.types import (
    GenerationFailed,
    GenerationResult,
    JobEvent,
    Picture,
    Progress,
    Started,
)

KINDS = ("started", "progress", "picture", "done", "failed")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def events_of(job: AcceptedJob, frame: Frame) -> list[JobEvent]:
    """Takes in what a frame of `KINDS` says of the job, and returns what there is to tell of it.

    The job has ended when the last event is a `GenerationResult` or `GenerationFailed`.

    Raises:
        ProtocolError: A picture is none, or nobody asked for it.
        KeyError, TypeError, ValueError, IndexError: The frame is not one that the engine sends.
    """
    fields = frame.fields
    events: list[JobEvent] = []
    if not job.has_started and frame.kind != "failed":
        job.has_started = True
        events.append(Started(job.job_id))
    match frame.kind:
        case "progress":
            preview = frame.blobs[0] if frame.blobs else None
            step, total = int(fields["step"]), int(fields["total"])
            events.append(Progress(job.job_id, step, total, preview))
        case "picture":
            job.pictures[fields["index"]] = _picture(job, frame)
        case "done":
            events.append(_result(job, frame))
        case "failed":
            events.append(GenerationFailed(job.job_id, fields["error"], fields["message"]))
    return events


def has_ended(events: list[JobEvent]) -> bool:
    """Returns True when the events of a job are its last."""
    return bool(events) and isinstance(events[-1], GenerationResult | GenerationFailed)


def _result(job: AcceptedJob, frame: Frame) -> GenerationResult | GenerationFailed:
    seconds = float(frame.fields["seconds"])
    warnings = tuple(map(str, frame.fields["warnings"]))
    receipt = dict(frame.fields["receipt"])
    pictures = tuple(job.pictures[index] for index in sorted(job.pictures))
    if len(pictures) != job.num_images:
        message = "The engine lost a picture. Try again."
        return GenerationFailed(job.job_id, GenerationError.__name__, message)
    return GenerationResult(job.job_id, pictures, seconds, warnings, receipt)


def _picture(job: AcceptedJob, frame: Frame) -> Picture:
    fields = frame.fields
    index, png = int(fields["index"]), frame.blobs[0]
    if not 0 <= index < job.num_images or not png.startswith(_PNG_SIGNATURE):
        raise ProtocolError(f"picture {index} of job {job.job_id} is none")
    score = fields.get("score")
    return Picture(
        index,
        int(fields["seed"]),
        int(fields["width"]),
        int(fields["height"]),
        png,
        None if score is None else float(score),
    )
