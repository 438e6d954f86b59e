"""Lists that people page through or pick from: their history and their waiting jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import discord
from discord.app_commands import Choice

from cogs import _buttons, _errors, _status, _text
from cogs._desk import Desk
from engine.types import EngineDied, EngineLoading, Generation, Job, Progress, Queued

NO_HISTORY = "You have no pictures yet. Make one with /imagine."
NO_OLDER = "There are no older pictures."
NO_JOBS = "You have no jobs waiting."

_PAGE = 10
_MAX_JOBS = 20  # of 200 characters each; a card holds 4096
_TITLE_LIMIT = 120
_MAX_CHOICES = 25
_SEARCHED = 100  # newest pictures that an autocomplete looks through
_Listed = TypeVar("_Listed", Job, Generation)
_CHOICE = re.compile(r".*\(([a-z0-9]+)\)", re.DOTALL)  # `_choice`, typed instead of picked


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    embed: discord.Embed
    view: discord.ui.View | None = None


async def history(desk: Desk, owner_id: int, before: str | None = None) -> Page:
    """Returns the newest pictures of a person, or those before one of them."""
    found = await desk.parts.history.recent(owner_id, limit=_PAGE + 1, before=before)
    shown = found[:_PAGE]
    if not shown:
        nothing = NO_HISTORY if before is None else NO_OLDER
        return Page(discord.Embed(title="Your pictures", description=nothing))
    embed = discord.Embed(
        title="Your pictures", description="\n".join(_history_line(one) for one in shown)
    )
    embed.set_footer(text="See one with /history show")
    return Page(embed, _buttons.older_view(shown[-1].id) if len(found) > _PAGE else None)


async def history_choices(desk: Desk, owner_id: int, typed: str) -> list[Choice[str]]:
    """Returns the person's newest pictures whose prompt or id contains what was typed."""
    return _choices(await history_matches(desk, owner_id, typed))


async def history_matches(desk: Desk, owner_id: int, typed: str) -> list[Generation]:
    """Returns the person's newest pictures whose prompt or id contains what was typed."""
    return _matching(await desk.parts.history.recent(owner_id, limit=_SEARCHED), typed)


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


async def waiting_choices(desk: Desk, owner_id: int, typed: str) -> list[Choice[str]]:
    """Returns the person's jobs that can be cancelled."""
    return _choices(await waiting_matches(desk, owner_id, typed))


async def waiting_matches(desk: Desk, owner_id: int, typed: str) -> list[Job]:
    """Returns the person's waiting and running jobs whose prompt or id contains what was typed."""
    return _matching(await desk.parts.jobs.waiting_of(owner_id), typed)


def id_of(typed: str) -> str:
    """Returns the id in what a person typed or picked from the choices."""
    text = typed.strip().casefold()
    choice = _CHOICE.fullmatch(text)
    return choice[1] if choice is not None else text


def joined(parts: Iterable[str]) -> str:
    """Returns the parts as one line."""
    return " · ".join(parts)


def _matching(listed: Iterable[_Listed], typed: str) -> list[_Listed]:
    wanted = typed.strip().casefold()
    return [one for one in listed if wanted in one.id or wanted in one.request.prompt.casefold()]


def _choices(found: Sequence[Job | Generation]) -> list[Choice[str]]:
    return [
        Choice(name=_choice(one.request.prompt, one.id), value=one.id)
        for one in found[:_MAX_CHOICES]
    ]


def _choice(prompt: str, id_: str) -> str:
    tail = f" ({id_})"
    return _text.plain(prompt, 100 - len(tail)) + tail


def _history_line(generation: Generation) -> str:
    title = _text.shown(generation.request.prompt, _TITLE_LIMIT)
    parts = [f"`{generation.id}`", _errors.stamp(generation.created_at)]
    if generation.message_id is not None and not generation.submission.destination.private:
        destination = generation.submission.destination
        channel_id = generation.channel_id or destination.channel_id
        is_elsewhere = channel_id != destination.channel_id  # in a DM
        place = "@me" if is_elsewhere or destination.guild_id is None else destination.guild_id
        link = f"https://discord.com/channels/{place}/{channel_id}"
        parts.append(f"[message]({link}/{generation.message_id})")
    return f"**{title}**\n{joined(parts)}"  # one line would break anywhere on a phone


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
