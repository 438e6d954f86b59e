"""What a status line says at each moment of a job's life: place in line, engine loading, progress."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from cogs import _text
from cogs._language import N_, again, t
from engine.types import (
    EngineDied,
    EngineLoading,
    EngineReady,
    Flow,
    Job,
    Progress,
    Queued,
)

CANCELLED = "GenerationCancelledError"

CANCEL = N_("Cancel")
STOP = N_("Stop")

_STAGES = (N_("starting"), N_("importing torch"), N_("measuring the speed"))  # the engine's words
_BAR_LENGTH = 12
_PROMPT_LIMIT = 200
_STAGE_LIMIT = 100
_ETA_GRAIN_S = 10  # a reader's clock counts down by itself; small corrections would be noise
_SOON_S = 5.0  # a number of seconds would be wrong before it is read


@dataclass(frozen=True, slots=True)
class Face:
    """What a line shows.

    Attributes:
        content: Text.
        button: Label of the button that ends the job, or None.
        preview: JPEG of the unfinished picture, or None.
        starts_at: Unix time that the text promises, or None.
        is_last: No other face follows.
    """

    content: str
    button: str | None = None
    preview: bytes | None = None
    starts_at: int | None = None
    is_last: bool = False


def queued(
    job: Job,
    place: Queued | None,
    engine: EngineLoading | EngineReady | EngineDied,
    before: Face | None = None,
    *,
    flow: Flow = Flow.OPEN,
) -> Face:
    """Returns the face of a waiting job.

    `place` is None while it is not known yet; `before` keeps an estimate that is still about right.
    """
    line = t("#{position} in line", position=place.position) if place else t("in line")
    if flow is Flow.PAUSED:  # for how long, nobody but the operator knows
        state = t(
            "Paused by the operator of this bot. You are {line}, and your job is kept.", line=line
        )
        return Face(_with_title(job, state), t(CANCEL))
    match engine:
        case EngineLoading():
            stage = _text.shown(again(engine.stage), _STAGE_LIMIT) or t("starting")
            if engine.fraction is not None and math.isfinite(engine.fraction):
                stage += f" ({min(max(engine.fraction, 0.0), 1.0):.0%})"
            if engine.model:
                state = t(
                    "The model is being changed to {model}: {stage}. You are {line}.",
                    model=_text.shown(engine.model, _STAGE_LIMIT),
                    stage=stage,
                    line=line,
                )
                return Face(_with_title(job, state), t(CANCEL))
            state = t("The engine is loading: {stage}. You are {line}.", stage=stage, line=line)
            return Face(_with_title(job, state), t(CANCEL))
        case EngineDied(is_hopeless=True):
            state = t(
                "The model cannot be loaded: the operator of this bot has to put that right. "
                "You are {line}, and your job is kept.",
                line=line,
            )
            return Face(_with_title(job, state), t(CANCEL))
        case EngineDied():
            state = t(
                "The engine stopped and will be started again. You are {line}, and your job is "
                "kept. If this lasts, tell the operator of this bot.",
                line=line,
            )
            return Face(_with_title(job, state), t(CANCEL))
        case EngineReady():
            pass
    starts_at = None
    parts = [line[0].upper() + line[1:]]
    if place is not None and place.eta_s is not None and math.isfinite(place.eta_s):
        if place.eta_s <= _SOON_S:
            parts.append(t("starts in a moment"))
        else:
            starts_at = _starts_at(place.eta_s, before)
            parts.append(t("starts {when}", when=f"<t:{starts_at}:R>"))
    return Face(_with_title(job, ", ".join(parts)), t(CANCEL), starts_at=starts_at)


def checking(prompt: str, owner_id: int) -> Face:
    """Returns the face of a request whose picture is fetched and checked."""
    return Face(_titled(prompt, owner_id, t("Looking at your picture …")))


def start_of(eta_s: float) -> str:
    """Returns when a waiting job starts, as words for a text that is not edited."""
    if eta_s <= _SOON_S:
        return t("starts in a moment")
    return t("starts {when}", when=f"<t:{int(time.time() + eta_s)}:R>")


def started(job: Job) -> Face:
    """Returns the face of a job whose first step is on its way."""
    return Face(_with_title(job, t("Starting …")), t(STOP))


def running(job: Job, progress: Progress, preview: bytes | None = None) -> Face:
    """Returns the face of a running job: a bar, the steps of all its pictures, a preview."""
    total = max(progress.total, 1)
    step = min(max(progress.step, 0), total)
    full = round(_BAR_LENGTH * step / total)
    bar = "▰" * full + "▱" * (_BAR_LENGTH - full)
    state = t("{bar} {step}/{total} steps", bar=bar, step=step, total=total)
    return Face(_with_title(job, state), t(STOP), preview=preview)


def cancelled(job: Job, by_id: int | None = None) -> Face:
    """Returns the last face of a job that somebody ended."""
    state = t("Cancelled. The cost was given back.")
    if by_id is not None and by_id != job.owner_id:
        state = t("Cancelled by {person}. The cost was given back.", person=f"<@{by_id}>")
    return Face(_with_title(job, state), is_last=True)


def _starts_at(eta_s: float, before: Face | None) -> int:
    now = time.time()
    at = int((now + eta_s) // _ETA_GRAIN_S + 1) * _ETA_GRAIN_S
    if before is not None and before.starts_at is not None:
        tolerance = max(_ETA_GRAIN_S, eta_s / 5)
        # A promise that is over would read "starts 5 seconds ago".
        if abs(at - before.starts_at) <= tolerance and before.starts_at > now + _SOON_S:
            return before.starts_at
    return at


def _with_title(job: Job, state: str) -> str:
    return _titled(job.request.prompt, job.owner_id, state)


def _titled(prompt: str, owner_id: int, state: str) -> str:
    return f"**{_text.shown(prompt, _PROMPT_LIMIT)}** — <@{owner_id}>\n{state}"
