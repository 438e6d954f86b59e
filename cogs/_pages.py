"""Lists that people page through or pick from: their history and their waiting jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import discord
from discord.app_commands import Choice

from cogs import _buttons, _errors, _text
from cogs._desk import Desk
from engine.types import EngineReady, Generation, Job, Queued

NO_HISTORY = "You have no pictures yet. Make one with /imagine."
NO_OLDER = "There are no older pictures."
NO_JOBS = "You have no jobs waiting."

_PAGE = 10
_TITLE_LIMIT = 120
_MAX_CHOICES = 25
_SEARCHED = 100  # newest pictures that an autocomplete looks through


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
    wanted = typed.strip().casefold()
    found = await desk.parts.history.recent(owner_id, limit=_SEARCHED)
    return [
        Choice(name=_choice(one.request.prompt, one.id), value=one.id)
        for one in found
        if wanted in one.id or wanted in one.request.prompt.casefold()
    ][:_MAX_CHOICES]


async def waiting(desk: Desk, owner_id: int) -> Page:
    """Returns a person's waiting and running jobs, and how long the line is."""
    jobs = await desk.parts.jobs.waiting_of(owner_id)
    places = {place.job_id: place for place in desk.parts.queue.waiting()}
    state = desk.parts.queue.engine_state
    lines = [_job_line(job, places.get(job.id)) for job in jobs] or [NO_JOBS]
    embed = discord.Embed(title="Your jobs", description="\n".join(lines))
    everybody = f"{len(places)} waiting in all" if len(places) != 1 else "1 waiting in all"
    if not isinstance(state, EngineReady):
        everybody += " · the engine is loading"
    embed.set_footer(text=everybody)
    return Page(embed)


async def waiting_choices(desk: Desk, owner_id: int, typed: str) -> list[Choice[str]]:
    """Returns the person's jobs that can be cancelled."""
    wanted = typed.strip().casefold()
    return [
        Choice(name=_choice(job.request.prompt, job.id), value=job.id)
        for job in await desk.parts.jobs.waiting_of(owner_id)
        if wanted in job.id or wanted in job.request.prompt.casefold()
    ][:_MAX_CHOICES]


def joined(parts: Iterable[str]) -> str:
    """Returns the parts as one line."""
    return " · ".join(parts)


def _choice(prompt: str, id_: str) -> str:
    tail = f" ({id_})"
    return _text.plain(prompt, 100 - len(tail)) + tail


def _history_line(generation: Generation) -> str:
    title = _text.shown(generation.request.prompt, _TITLE_LIMIT)
    parts = [f"**{title}**", f"`{generation.id}`", _errors.stamp(generation.created_at)]
    if generation.message_id is not None and not generation.submission.destination.private:
        destination = generation.submission.destination
        place = destination.guild_id if destination.guild_id is not None else "@me"
        link = f"https://discord.com/channels/{place}/{destination.channel_id}"
        parts.append(f"[message]({link}/{generation.message_id})")
    return joined(parts)


def _job_line(job: Job, place: Queued | None) -> str:
    title = _text.shown(job.request.prompt, _TITLE_LIMIT)
    parts = [f"**{title}**", f"`{job.id}`"]
    if place is None:
        parts.append("running")
    else:
        parts.append(f"#{place.position} in line")
        if place.eta_s is not None:
            starts = datetime.now(UTC) + timedelta(seconds=place.eta_s)
            parts.append(f"starts {_errors.stamp(starts)}")
    return joined(parts)
