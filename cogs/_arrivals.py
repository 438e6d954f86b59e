"""From an attached picture to a job: acknowledged first, then fetched, checked, stored and queued.

Until the job is stored, the request is a row of `storage.arrivals`. After a kill the next start goes
on from there, without the interaction: Discord's link to the picture lives for about a day.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter

import aiohttp
import discord

from cogs import _answer, _errors, _options, _status
from cogs._board import Board
from cogs._desk import Parts
from cogs._fetch import Fetcher
from engine.errors import (
    EngineDiedError,
    EngineError,
    GenerationError,
    RefusedFileError,
    RequestError,
    TooManyWaitingError,
)
from engine.intake.still import CleanPicture
from engine.types import Job, Submission
from storage.arrivals import Arrival
from storage.pictures import sha256_of

log = logging.getLogger(__name__)

_MIB = 2**20


class Arrivals:
    """Requests that start from an attached picture."""

    def __init__(self, *, parts: Parts, board: Board) -> None:
        """Nothing is fetched before `run`."""
        self._parts = parts
        self._board = board
        self._fetcher = Fetcher(
            hosts=parts.settings.attachment_hosts,
            max_bytes=int(parts.settings.max_upload_mb * _MIB),
        )
        self._begun: asyncio.Queue[tuple[Arrival, discord.Interaction]] = asyncio.Queue()
        self._by_owner: Counter[int] = Counter()
        self._here: set[str] = set()  # origins that came to this process

    def check(self, address: str, size: int | None = None) -> None:
        """Raises RefusedFileError for a file (its bytes, if known) that would not be fetched."""
        self._fetcher.check(address, size)

    async def place(self, interaction: discord.Interaction, arrival: Arrival) -> None:
        """Stores the request and answers with its status line; the rest follows.

        Raises:
            TooManyWaitingError: The person has enough pictures being checked.
        """
        submission = arrival.submission
        count, limit = self._by_owner[submission.owner_id], self._parts.limits.waiting
        if count >= limit:
            raise TooManyWaitingError(count, limit)
        private = submission.destination.private
        self._by_owner[submission.owner_id] += 1
        self._here.add(arrival.origin)
        is_new = False
        try:
            is_new = await _answer.in_time(
                interaction, self._parts.arrivals.add(arrival), ephemeral=private
            )
        finally:
            if not is_new:
                self._done(arrival)
        if not is_new:
            log.info("%s came twice", arrival.origin)
            return
        message_id = await self._acknowledge(interaction, arrival)
        self._begun.put_nowait((dataclasses.replace(arrival, message_id=message_id), interaction))

    async def run(self) -> None:
        """Takes requests up, those that a killed process left behind too, until cancelled."""
        async with self._fetcher, asyncio.TaskGroup() as group:
            for arrival in await self._left_behind():
                self._by_owner[arrival.submission.owner_id] += 1
                group.create_task(self._take(arrival, None), name=f"picture of {arrival.origin}")
            while True:
                begun = await self._begun.get()
                group.create_task(self._take(*begun), name=f"picture of {begun[0].origin}")

    async def _left_behind(self) -> list[Arrival]:
        try:
            arrivals = await self._parts.arrivals.left_behind()
        except Exception:  # a damaged table must not keep the bot from answering
            log.exception("What waited for pictures before the restart is not known")
            return []
        return [arrival for arrival in arrivals if arrival.origin not in self._here]

    async def _acknowledge(self, interaction: discord.Interaction, arrival: Arrival) -> int | None:
        submission = arrival.submission
        private = submission.destination.private
        face = _status.checking(submission.request.prompt, submission.owner_id)
        try:
            message_id = await _answer.answer_once(interaction, face.content, ephemeral=private)
        except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            # It is stored; its result will come as a message of its own.
            level = logging.INFO if _errors.is_stale(error) else logging.WARNING
            log.log(level, "%s is not acknowledged: %r", arrival.origin, error)
            return None
        if message_id is not None and not private:
            try:
                await self._parts.arrivals.set_message(arrival.origin, message_id)
            except Exception:  # only a restart would miss the line
                log.exception("The status line of %s is not noted", arrival.origin)
        return message_id

    async def _take(self, arrival: Arrival, interaction: discord.Interaction | None) -> None:
        try:
            with self._board.answering(arrival.origin):
                try:
                    picture = await self._picture(arrival)
                    job = await self._submit(arrival, picture)
                except Exception as error:  # the top of every upload
                    await self._refuse(arrival, interaction, error)
                else:
                    await self._hand_over(arrival, job, interaction)
                    await self._tell_notes(interaction, picture)
            await self._parts.arrivals.remove(arrival.origin)
        except Exception:
            log.exception("%s is left to the next start", arrival.origin)
        finally:
            self._done(arrival)

    async def _picture(self, arrival: Arrival) -> CleanPicture:
        return await self._parts.intake.picture(await self._fetcher.fetch(arrival.address))

    async def _submit(self, arrival: Arrival, picture: CleanPicture) -> Job:
        sha256 = await asyncio.to_thread(sha256_of, picture.png)
        is_used = False
        try:
            async with self._parts.pictures.pinned([sha256]):
                await self._parts.pictures.put(picture.png)
                job = await self._parts.queue.submit(self._complete(arrival, picture, sha256))
            is_used = True
        finally:
            if not is_used:
                await self._parts.jobs.drop_unused([sha256])
        return job

    def _complete(self, arrival: Arrival, picture: CleanPicture, sha256: str) -> Submission:
        info = self._parts.engine.info
        if info is None:
            raise EngineDiedError("no handshake yet")
        request = arrival.submission.request
        width, height = request.width, request.height
        if arrival.takes_size:
            scale = request.second_pass.scale if request.second_pass is not None else 1.0
            aspect = f"{picture.width}:{picture.height}"
            width, height = _options.size_of(aspect, info, scale)
        request = dataclasses.replace(
            request, width=width, height=height, init_image=sha256, strength=arrival.strength
        )
        return dataclasses.replace(arrival.submission, request=request)

    async def _hand_over(
        self, arrival: Arrival, job: Job, interaction: discord.Interaction | None
    ) -> None:
        """Gives the status line to the board, which keeps it from here on."""
        if job.state.is_final and job.delivered_at is not None:  # done before a kill
            return
        if arrival.message_id is not None and not job.submission.destination.private:
            try:
                await self._parts.jobs.set_status_message(job.id, arrival.message_id)
            except Exception:  # the job is accepted; only a restart would miss its line
                log.exception("The status line of job %s is not noted", job.id)
        face = _status.checking(job.request.prompt, job.owner_id)
        self._board.add(job, arrival.message_id, interaction, face)

    async def _tell_notes(
        self, interaction: discord.Interaction | None, picture: CleanPicture
    ) -> None:
        if interaction is not None and picture.notes:
            await _errors.say(interaction, " ".join(picture.notes))

    async def _refuse(
        self, arrival: Arrival, interaction: discord.Interaction | None, error: Exception
    ) -> None:
        """Tells the owner alone, in place of the status line; without the token in a message."""
        words = _errors.words(error, f"the picture of {arrival.origin}")
        if interaction is not None and await self._tell(arrival, interaction, words):
            return
        kept: EngineError = GenerationError("its picture could not be read")
        if isinstance(error, RequestError):
            kept = RefusedFileError(str(error))
        await self._parts.queue.refuse(
            arrival.submission, kept, status_message_id=arrival.message_id
        )

    async def _tell(self, arrival: Arrival, interaction: discord.Interaction, words: str) -> bool:
        """Returns False when the token is of no use."""
        try:
            if arrival.submission.destination.private:
                await interaction.edit_original_response(content=words)
                return True
            await interaction.followup.send(words, ephemeral=True)
        except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("%s: the refusal is sent as a message: %r", arrival.origin, error)
            return False
        try:
            await interaction.delete_original_response()
        except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("%s: the status line is not deleted: %r", arrival.origin, error)
        return True

    def _done(self, arrival: Arrival) -> None:
        owner_id = arrival.submission.owner_id
        self._by_owner[owner_id] -= 1
        if self._by_owner[owner_id] <= 0:
            del self._by_owner[owner_id]
        self._here.discard(arrival.origin)
