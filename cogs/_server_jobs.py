"""The unfinished jobs of a server, or of all servers, as those see them who look after it.

The prompts of private jobs stay with their owners.
"""

from __future__ import annotations

import discord
from discord.app_commands import Choice

from cogs import _pages, _text
from cogs._desk import Desk
from cogs._language import N_, t
from cogs._pages import Page
from engine.errors import InvalidRequestError, UnknownJobError
from engine.types import Job

NO_JOBS = N_("Nobody here has a job waiting or running.")
NOT_HERE = N_(
    "There is no such job waiting or running here. Choose one from the list that appears while you type."
)
SEVERAL = N_("{count} jobs have these words. Choose one from the list that appears while you type.")
PRIVATE = N_("private")

_MAX_TEXT = 4000  # a card holds 4096
_TITLE_LIMIT = 100
_MAX_CHOICES = 25
_MAX_CHOICE = 100


async def page(desk: Desk, client: discord.Client, guild_id: int | None) -> Page:
    """Returns the jobs of a server, or of everybody for None: those that run, then the line."""
    jobs = await desk.parts.jobs.waiting_in(guild_id)
    places = {place.job_id: place for place in desk.parts.queue.waiting()}
    number = {job_id: place.position for job_id, place in places.items()}
    jobs.sort(key=lambda job: number.get(job.id, 0))
    lines = []
    for job in jobs:
        parts = [
            f"`{job.id}`",
            f"<@{job.owner_id}>",
            _where(client, job, tells_server=not guild_id),
        ]
        parts += _pages.progress_of(desk, job, places.get(job.id))
        lines.append(f"**{_title(job)}**\n{_pages.joined(parts)}")
    text = _text.joined_within(lines, _MAX_TEXT)
    if left := len(lines) - (text.count("\n") + 1) // 2:
        text = f"{text}\n{t('and {count} more', count=left)}" if text else t(NO_JOBS)
    title = t("Jobs of this server") if guild_id else t("Jobs of all servers")
    embed = discord.Embed(title=title, description=text or t(NO_JOBS))
    embed.set_footer(text=_pages.joined(_pages.state_of_queue(desk, len(places))))
    return Page(embed)


async def choices(desk: Desk, guild_id: int | None, typed: str) -> list[Choice[str]]:
    """Returns the jobs that can be meant, while somebody types."""
    found = await _matching(desk, guild_id, typed)
    return [Choice(name=_choice(job), value=job.id) for job in found[:_MAX_CHOICES]]


async def find(desk: Desk, guild_id: int | None, typed: str) -> Job:
    """Returns the unfinished job with the id, or else the only one with these words.

    Raises:
        UnknownJobError: There is none in this server.
        InvalidRequestError: There are several.
    """
    wanted = _pages.id_of(typed)
    jobs = await desk.parts.jobs.waiting_in(guild_id)
    found = [job for job in jobs if job.id == wanted] or await _matching(desk, guild_id, typed)
    if not found:
        raise UnknownJobError(NOT_HERE)
    if len(found) > 1:
        raise InvalidRequestError(SEVERAL, count=len(found))
    return found[0]


async def _matching(desk: Desk, guild_id: int | None, typed: str) -> list[Job]:
    """Returns those whose id, or whose public prompt, contains what was typed."""
    jobs = await desk.parts.jobs.waiting_in(guild_id)
    wanted = typed.strip().casefold()
    public = [job for job in jobs if not job.submission.destination.private]
    found = {job.id for job in _pages.matching(public, typed)}
    return [job for job in jobs if job.id in found or wanted in job.id]


def _title(job: Job) -> str:
    if job.submission.destination.private:
        return t(PRIVATE)
    return _text.shown(job.request.prompt, _TITLE_LIMIT)


def _choice(job: Job) -> str:
    tail = f" ({job.id})"
    private = job.submission.destination.private
    title = t(PRIVATE) if private else job.request.prompt
    who = f"{job.submission.owner_name}: {title}"
    return _text.plain(who, _MAX_CHOICE - len(tail)) + tail


def _where(client: discord.Client, job: Job, *, tells_server: bool) -> str:
    destination = job.submission.destination
    if not tells_server:
        return f"<#{destination.channel_id}>"
    if destination.guild_id is None:
        return t("by DM")
    guild = client.get_guild(destination.guild_id)
    return str(destination.guild_id) if guild is None else _text.shown(guild.name, 40)
