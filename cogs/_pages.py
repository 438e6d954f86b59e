"""Lists that people pick from, and the list of their waiting jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import discord
from discord.app_commands import Choice

from cogs import _status, _text
from cogs._desk import Desk
from engine.types import EngineDied, EngineLoading, Generation, Job, Progress, Queued

NO_JOBS = "You have no jobs waiting."

_MAX_JOBS = 20  # of 200 characters each; a card holds 4096
_TITLE_LIMIT = 120
_MAX_CHOICES = 25
_Listed = TypeVar("_Listed", Job, Generation)
_CHOICE = re.compile(r".*\(([a-z0-9]+)\)", re.DOTALL)  # `_choice`, typed instead of picked


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    embed: discord.Embed
    view: discord.ui.View | None = None


async def waiting(desk: Desk, owner_id: int) -> Page:
    """Returns a person's waiting and running jobs, and how long the line is."""
    jobs = await desk.parts.jobs.waiting_of(owner_id)
    places = {place.job_id: place for place in desk.parts.queue.waiting()}
    lines = [_job_line(desk, job, places.get(job.id)) for job in jobs[:_MAX_JOBS]] or [NO_JOBS]
    if len(jobs) > _MAX_JOBS:
        lines.append(f"and {len(jobs) - _MAX_JOBS} more")
    embed = discord.Embed(title="Your jobs", description="\n".join(lines))
    footer = [_everybody(len(places))]
    match desk.parts.queue.engine_state:
        case EngineLoading():
            footer.append("the engine is loading")
        case EngineDied(is_hopeless=True):
            footer.append("the model cannot be loaded, the operator has to put that right")
        case EngineDied():
            footer.append("the engine stopped and will be started again")
    embed.set_footer(text=joined(footer))
    return Page(embed)


async def waiting_lines(desk: Desk, owner_id: int) -> list[str]:
    """Returns a text of two lines for each of a person's waiting and running jobs."""
    jobs = await desk.parts.jobs.waiting_of(owner_id)
    places = {place.job_id: place for place in desk.parts.queue.waiting()}
    return [_job_line(desk, job, places.get(job.id)) for job in jobs]


async def waiting_choices(desk: Desk, owner_id: int, typed: str) -> list[Choice[str]]:
    """Returns the person's jobs that can be cancelled."""
    return choices(await waiting_matches(desk, owner_id, typed))


async def waiting_matches(desk: Desk, owner_id: int, typed: str) -> list[Job]:
    """Returns the person's waiting and running jobs whose prompt or id contains what was typed."""
    return matching(await desk.parts.jobs.waiting_of(owner_id), typed)


def id_of(typed: str) -> str:
    """Returns the id in what a person typed or picked from the choices."""
    text = typed.strip().casefold()
    choice = _CHOICE.fullmatch(text)
    return choice[1] if choice is not None else text


def joined(parts: Iterable[str]) -> str:
    """Returns the parts as one line."""
    return " · ".join(parts)


def matching(listed: Iterable[_Listed], typed: str) -> list[_Listed]:
    """Returns those whose prompt or id contains what was typed."""
    wanted = typed.strip().casefold()
    return [one for one in listed if wanted in one.id or wanted in one.request.prompt.casefold()]


def choices(found: Sequence[Job | Generation]) -> list[Choice[str]]:
    """Returns what Discord offers while somebody types."""
    return [
        Choice(name=_choice(one.request.prompt, one.id), value=one.id)
        for one in found[:_MAX_CHOICES]
    ]


def _choice(prompt: str, id_: str) -> str:
    tail = f" ({id_})"
    return _text.plain(prompt, 100 - len(tail)) + tail


def _everybody(count: int) -> str:
    if count == 0:
        return "Nobody is waiting"
    return f"{count} jobs waiting in all" if count > 1 else "1 job waiting in all"


def _job_line(desk: Desk, job: Job, place: Queued | None) -> str:
    title = _text.shown(job.request.prompt, _TITLE_LIMIT)
    parts = [f"`{job.id}`"]
    if place is None:
        line = desk.board.get(job.id)
        if line is not None and isinstance(line.event, Progress):
            parts.append(f"running, {line.event.step}/{line.event.total} steps")
        else:
            parts.append("running")
    else:
        parts.append(f"#{place.position} in line")
        if place.eta_s is not None:
            parts.append(_status.start_of(place.eta_s))
    return f"**{title}**\n{joined(parts)}"
