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
from cogs._language import N_, t, tn
from engine.types import EngineDied, EngineLoading, Flow, Generation, Job, Progress, Queued

NO_JOBS = N_("You have no jobs waiting.")

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
    lines = [_job_line(desk, job, places.get(job.id)) for job in jobs[:_MAX_JOBS]] or [t(NO_JOBS)]
    if len(jobs) > _MAX_JOBS:
        lines.append(t("and {count} more", count=len(jobs) - _MAX_JOBS))
    embed = discord.Embed(title=t("Your jobs"), description="\n".join(lines))
    embed.set_footer(text=joined(state_of_queue(desk, len(places))))
    return Page(embed)


def state_of_queue(desk: Desk, count: int) -> list[str]:
    """Returns how many wait, and what keeps them waiting."""
    parts = [_everybody(count)]
    match desk.parts.queue.engine_state:
        case EngineLoading(model=model) if model:
            parts.append(t("the model is being changed to {model}", model=_text.plain(model, 60)))
        case EngineLoading():
            parts.append(t("the engine is loading"))
        case EngineDied(is_hopeless=True):
            parts.append(t("the model cannot be loaded, the operator has to put that right"))
        case EngineDied():
            parts.append(t("the engine stopped and will be started again"))
    match desk.parts.queue.flow:
        case Flow.PAUSED:
            parts.append(t("paused by the operator of this bot"))
        case Flow.DRAINING:
            parts.append(t("the operator of this bot lets nothing new in"))
    return parts


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
        return t("Nobody is waiting")
    return tn("{number} job waiting in all", "{number} jobs waiting in all", count)


def _job_line(desk: Desk, job: Job, place: Queued | None) -> str:
    title = _text.shown(job.request.prompt, _TITLE_LIMIT)
    return f"**{title}**\n{joined([f'`{job.id}`', *progress_of(desk, job, place)])}"


def progress_of(desk: Desk, job: Job, place: Queued | None) -> list[str]:
    """Returns where an unfinished job stands: how far it runs, or its place and when it starts."""
    if place is None:
        line = desk.board.get(job.id)
        if line is not None and isinstance(line.event, Progress):
            return [t("running, {steps} steps", steps=f"{line.event.step}/{line.event.total}")]
        return [t("running")]
    parts = [t("#{position} in line", position=place.position)]
    if place.eta_s is not None:
        parts.append(_status.start_of(place.eta_s))
    return parts
