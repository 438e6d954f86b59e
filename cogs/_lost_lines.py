"""Finds the status lines of the last run whose ids it was killed before it could note.

Between Discord's answer and our row lies a moment. What was answered in it would stay for ever, with
a button to cancel what is long done. Such a line is known by what it answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import aiohttp
import discord

from cogs import _errors
from cogs._board import Board
from engine import sheets
from engine.types import Destination, Job, JobState
from storage.jobs import JobTable

log = logging.getLogger(__name__)

_DEPTH = 500  # messages of a channel that are looked through
_TRIES = 4
_TIMEOUT_S = 30.0
_TRANSIENT = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, OSError)


async def left_behind(jobs: JobTable) -> list[Job]:
    """Returns the public jobs of the last run that have no line; to be asked before any is delivered."""
    try:
        return await jobs.without_status_line()
    except Exception:  # lines are less than answers
        log.exception("Jobs of before the restart without a status line are not known")
        return []


async def adopt(client: discord.Client, table: JobTable, board: Board, jobs: Sequence[Job]) -> None:
    """Gives the jobs' lines to the board, those of delivered ones to be removed."""
    places = {job.submission.origin: job.submission.destination for job in jobs}
    lines = await find(client, places)
    async with asyncio.TaskGroup() as group:  # one that must wait holds up no other
        for job in jobs:
            message_id = lines.get(job.submission.origin)
            if message_id is None:
                continue
            try:
                await table.set_status_message(job.id, message_id)
                fresh = await table.get(job.id)
            except Exception:
                log.exception("The status line of job %s is not noted", job.id)
                continue
            if fresh.delivered_at is not None:
                group.create_task(board.remove(fresh), name=f"status line of {job.id}")
            elif fresh.state not in (
                JobState.RENDERED,
                JobState.FAILED,
            ):  # those remove it themselves
                board.add(fresh, message_id)


async def find(client: discord.Client, places: Mapping[str, Destination]) -> dict[str, int]:
    """Returns the ids of the messages that answer these origins, of those that are found."""
    wanted: dict[Destination, dict[int, str]] = defaultdict(dict)
    for origin, place in places.items():
        if (cause := _cause(origin)) is not None and not place.private:
            wanted[_channel(place)][cause] = origin
    found: dict[str, int] = {}
    for place, causes in wanted.items():
        for attempt in range(_TRIES):
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    found |= await _search(client, place, causes)
                break
            except _TRANSIENT as error:
                log.info("Status lines in channel %s not found: %r", place.channel_id, error)
                if _errors.is_unreachable(error):
                    break
            await asyncio.sleep(2.0**attempt)
    return found


async def _search(
    client: discord.Client, place: Destination, causes: Mapping[int, str]
) -> dict[str, int]:
    channel = client.get_partial_messageable(place.channel_id, guild_id=place.guild_id)
    found: dict[str, int] = {}
    since = discord.Object(min(causes))
    async for message in channel.history(limit=_DEPTH, after=since, oldest_first=True):
        origin = causes.get(_answered(client, message))
        if origin is not None:
            found.setdefault(origin, message.id)  # follow-ups come later
        if len(found) == len(causes):
            break
    return found


def _answered(client: discord.Client, message: discord.Message) -> int:
    """Returns what a message of ours answers: an interaction or somebody's message; 0 for nothing."""
    if client.user is None or message.author.id != client.user.id:
        return 0
    if message.interaction_metadata is not None:
        return message.interaction_metadata.id
    reference = message.reference
    return 0 if reference is None or reference.message_id is None else reference.message_id


def _cause(origin: str) -> int | None:
    """Returns the id of the interaction or message behind an origin; None when another job has the line."""
    if sheets.batch_of(origin) is not None and not origin.endswith(":00"):
        return None
    number = origin.split(":")[1] if ":" in origin else ""
    return int(number) if number.isdecimal() else None


def _channel(place: Destination) -> Destination:
    """Returns the place without what differs from job to job."""
    return Destination(channel_id=place.channel_id, guild_id=place.guild_id)
