"""What becomes of a picture that the engine's classifier finds unsafe, or did not look at: as the server says.

A server's managers choose it by `/admin safety classifier`. In age-restricted channels pictures are shown as
they are, unless the channel's mode is sfw: these channels are for what the classifier looks for.
"""

from __future__ import annotations

from typing import Any

import discord

from cogs import _whereabouts
from cogs._desk import Parts, desk_of
from cogs._language import N_
from cogs._whereabouts import Place
from engine.errors import NotAllowedError, UnsafePictureError
from engine.types import Destination, Generation, Job, JobState
from storage.channel_rules import Mode
from storage.safety import Classifier

NOT_CHECKED = N_(
    "This server shows only pictures that a safety checker has looked at, and the operator of this bot has "
    "turned it off. A manager of this server can allow them by /admin safety classifier."
)
NOT_SHOWN = N_(
    "This server shows only pictures that the safety checker finds safe, and this one is not."
)


def mode_at(parts: Parts, place: Place | None) -> Classifier:
    """Returns what becomes of unsafe pictures in a place; nothing in a DM."""
    if place is None:
        return Classifier.OFF
    rules = parts.safety.of(place.guild_id)
    keeps_out = parts.channel_rules.mode(place.guild_id, place.channel_id) is Mode.SFW
    return Classifier.OFF if place.is_age_restricted and not keeps_out else rules.classifier


def mode_of(client: discord.Client, parts: Parts, destination: Destination) -> Classifier:
    """Returns what becomes of unsafe pictures where a job was asked for."""
    if destination.guild_id is None:
        return Classifier.OFF
    place = _whereabouts.place_at(client, destination.guild_id, destination.channel_id)
    return mode_at(parts, place)


async def settle(client: discord.Client, parts: Parts, job: Job) -> tuple[Job, Classifier]:
    """Does what the server wants before a job is delivered; tried again, it comes to the same.

    Returns the job, which has failed after all when its pictures are not to be shown, and how it is
    shown: `OFF` as it is, `HOLD` not before moderators release it.
    """
    if job.state is not JobState.RENDERED:
        return job, Classifier.OFF
    fresh = await parts.jobs.get(job.id)
    if fresh.state is not job.state:  # withdrawn by a try before this one, or by moderators
        return fresh, Classifier.OFF
    verdict = await _judge(client, parts, job)
    if verdict is Classifier.BLOCK:
        job = await parts.jobs.withdraw(job.id, UnsafePictureError("unsafe"))
    elif verdict is Classifier.HOLD:
        await parts.cases.hold(job.id, job.submission.destination.guild_id or 0)
    return job, verdict


async def settle_in_sheet(client: discord.Client, parts: Parts, job: Job) -> tuple[Job, bool]:
    """The same for a job of a sheet, of which nothing can wait; True when the sheet is a spoiler."""
    if job.state is not JobState.RENDERED or job.delivered_at is not None:
        return job, False
    verdict = await _judge(client, parts, job)
    if verdict in (Classifier.BLOCK, Classifier.HOLD):
        job = await parts.jobs.withdraw(job.id, UnsafePictureError("unsafe"))
    return job, verdict is Classifier.SPOILER


async def _judge(client: discord.Client, parts: Parts, job: Job) -> Classifier:
    """Returns what to do with a finished job: `OFF` is to show it as it is.

    A picture that was held back once stays so until it is released. Moderators do not get to see what is
    private, so that is not shown at all instead; nor is what would wait for moderators without a channel.
    """
    generation = await parts.history.get(job.id)
    destination = job.submission.destination
    mode = mode_of(client, parts, destination)
    if not is_suspect(generation) or not generation.pictures:
        return Classifier.OFF
    if mode is Classifier.OFF and generation.deleted_at is None:
        return Classifier.OFF
    if mode is not Classifier.OFF and not client.is_ready():
        await client.wait_until_ready()  # before it nobody knows which channels are age-restricted
        mode = mode_of(client, parts, destination)
    case = await parts.cases.held(job.id)
    if case is not None:
        return Classifier.OFF if case.closed_by is not None else Classifier.HOLD
    can_wait = parts.safety.of(destination.guild_id).reports is not None and not destination.private
    return Classifier.BLOCK if mode is Classifier.HOLD and not can_wait else mode


def is_suspect(generation: Generation) -> bool:
    """True when a picture was found unsafe, or when nothing looked at it."""
    return generation.is_unsafe or any(score is None for score in generation.scores)


def check_engine(interaction: discord.Interaction[Any], place: Place | None) -> None:
    """Raises NotAllowedError where pictures have to be looked at and the engine has nothing to do so."""
    parts = desk_of(interaction).parts
    info = parts.engine.info
    if info is None or info.has_classifier:
        return
    if mode_at(parts, place) is not Classifier.OFF:
        raise NotAllowedError(NOT_CHECKED)


def check_publish(parts: Parts, place: Place, generation: Generation) -> bool:
    """Returns whether a picture is to be a spoiler when it is published in a place.

    Raises:
        NotAllowedError: It is not to be shown there.
    """
    mode = mode_at(parts, place)
    if mode is Classifier.OFF or not is_suspect(generation):
        return False
    if mode is not Classifier.SPOILER:
        raise NotAllowedError(NOT_SHOWN)
    return True
