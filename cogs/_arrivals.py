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

from cogs import (
    _answer,
    _canvas,
    _changes,
    _controls,
    _errors,
    _fitting,
    _lost_lines,
    _orders,
    _status,
)
from cogs._board import Board
from cogs._desk import Parts
from cogs._fetch import Fetcher
from cogs._language import again, of_person, speak, speaking
from engine.errors import (
    EngineDiedError,
    EngineError,
    GenerationError,
    RefusedFileError,
    RequestError,
    TooManyWaitingError,
)
from engine.intake.still import CleanPicture
from engine.types import EngineInfo, GenerationRequest, Job, Limits, Submission
from storage.arrivals import Arrival
from storage.pictures import sha256_of

log = logging.getLogger(__name__)

_MIB = 2**20


class Arrivals:
    """Requests that start from an attached picture."""

    def __init__(self, *, client: discord.Client, parts: Parts, board: Board) -> None:
        """Nothing is fetched before `run`."""
        self._client = client
        self._parts = parts
        self._board = board
        self._fetcher = Fetcher(
            hosts=parts.settings.attachment_hosts,
            max_bytes=int(parts.settings.max_upload_mb * _MIB),
        )
        self._begun: asyncio.Queue[tuple[Arrival, discord.Interaction]] = asyncio.Queue()
        self._by_owner: Counter[int] = Counter()
        self._here: dict[str, int] = {}  # origins that came to this process, and their owners
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped: set[str] = set()  # origins whose owner is being erased

    def check(self, address: str, size: int | None = None) -> None:
        """Raises RefusedFileError for a file (its bytes, if known) that would not be fetched."""
        self._fetcher.check(address, size)

    async def picture(self, address: str, person_id: int) -> CleanPicture:
        """Returns a checked picture, for an answer that nothing is stored for.

        Raises:
            TooManyWaitingError: The person has enough pictures being checked.
            RefusedFileError: It is not fetched, or it is no picture.
        """
        self._check_count(person_id, self._parts.rules.of(person_id))
        self._by_owner[person_id] += 1
        try:
            return await self._parts.intake.picture(await self._fetcher.fetch(address))
        finally:
            self._uncount(person_id)

    async def place(self, interaction: discord.Interaction, arrival: Arrival) -> None:
        """Stores the request and answers with its status line; the rest follows.

        Raises:
            TooManyWaitingError: The person has enough pictures being checked.
            RequestError: It may not be made, whatever the picture is.
        """
        submission = arrival.submission
        await self._parts.queue.check(submission)
        self._check_count(submission.owner_id, self._parts.rules.of_submission(submission))
        private = submission.destination.private
        self._by_owner[submission.owner_id] += 1
        self._here[arrival.origin] = submission.owner_id
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
                self._here[arrival.origin] = arrival.submission.owner_id
                self._begin(group, arrival, None)
            while True:
                self._begin(group, *await self._begun.get())

    async def stop(self, owner_id: int) -> None:
        """Ends all requests of a person whose job is not stored yet, and returns when they have ended.

        Their rows and status lines are the caller's to erase.
        """
        mine = [origin for origin, owner in self._here.items() if owner == owner_id]
        self._stopped.update(mine)
        tasks = [task for origin in mine if (task := self._tasks.get(origin)) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self, group: asyncio.TaskGroup, arrival: Arrival, interaction: discord.Interaction | None
    ) -> None:
        origin = arrival.origin
        name = f"picture of {origin}"
        task = group.create_task(self._take_unless_stopped(arrival, interaction), name=name)
        self._tasks[origin] = task

        def ended(_: asyncio.Task[None]) -> None:
            self._tasks.pop(origin, None)
            self._stopped.discard(origin)
            self._done(arrival)

        task.add_done_callback(ended)

    async def _take_unless_stopped(
        self, arrival: Arrival, interaction: discord.Interaction | None
    ) -> None:
        try:
            if arrival.origin not in self._stopped:
                await self._take(arrival, interaction)
        finally:
            if arrival.origin in self._stopped and interaction is not None:
                await self._remove_line(arrival, interaction)

    async def _left_behind(self) -> list[Arrival]:
        try:
            arrivals = await self._parts.arrivals.left_behind()
        except Exception:  # a damaged table must not keep the bot from answering
            log.exception("What waited for pictures before the restart is not known")
            return []
        mine = [arrival for arrival in arrivals if arrival.origin not in self._here]
        places = {
            arrival.origin: arrival.submission.destination
            for arrival in mine
            if arrival.message_id is None
        }
        lines = await _lost_lines.find(self._client, places)
        return [
            dataclasses.replace(arrival, message_id=lines.get(arrival.origin, arrival.message_id))
            for arrival in mine
        ]

    async def _acknowledge(self, interaction: discord.Interaction, arrival: Arrival) -> int | None:
        submission = arrival.submission
        private = submission.destination.private
        with speaking(submission.destination.locale):
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
        speak(arrival.submission.destination.locale)
        try:
            # A private line is out of reach: its owner is told by a message.
            if arrival.refusal is not None and not arrival.submission.destination.private:
                await self._refuse_after_a_kill(arrival, arrival.refusal)
                return
            with self._board.answering(arrival.origin):
                try:
                    picture = await self._fetch(arrival.address)
                    mask = await self._fetch(arrival.mask_address)
                    job = await self._submit(arrival, picture, mask)
                except Exception as error:  # the top of every upload
                    await self._refuse(arrival, interaction, error)
                else:
                    await self._hand_over(arrival, job, interaction)
                    await self._tell_notes(interaction, picture, mask)
            await self._parts.arrivals.remove(arrival.origin)
        except Exception:
            log.exception("%s is left to the next start", arrival.origin)

    async def _fetch(self, address: str | None) -> CleanPicture | None:
        if not address:
            return None
        return await self._parts.intake.picture(await self._fetcher.fetch(address))

    async def _submit(
        self, arrival: Arrival, picture: CleanPicture | None, mask: CleanPicture | None
    ) -> Job:
        parts = self._parts
        submission, files = await self._complete(arrival, picture, mask)
        return await _orders.submit(parts.queue, parts.jobs, parts.pictures, submission, files)

    async def _complete(
        self, arrival: Arrival, picture: CleanPicture | None, mask: CleanPicture | None
    ) -> tuple[Submission, dict[str, bytes]]:
        """Returns what to submit and the files that it refers to, by sha256."""
        info = self._parts.engine.info
        if info is None:
            raise EngineDiedError("no handshake yet")
        files: dict[str, bytes] = {}
        request = arrival.submission.request
        limits = self._parts.rules.of_submission(arrival.submission)
        if arrival.control is not None:
            request, made = await _controls.complete(
                self._parts,
                request,
                arrival.control,
                picture,
                takes_size=arrival.takes_size,
                limits=limits,
            )
            request, files = _controls.guided(request, arrival.control, made)
            return dataclasses.replace(arrival.submission, request=request), files
        if picture is not None:
            sha256 = await asyncio.to_thread(sha256_of, picture.png)
            files[sha256] = picture.png
            request = await _from_picture(arrival, picture, sha256, info, limits)
        if mask is not None or arrival.cells:
            drawn = await self._mask(arrival, request, picture, mask)
            sha256 = await asyncio.to_thread(sha256_of, drawn)
            files[sha256] = drawn
            request = dataclasses.replace(request, mask_image=sha256)
        return dataclasses.replace(arrival.submission, request=request), files

    async def _mask(
        self,
        arrival: Arrival,
        request: GenerationRequest,
        picture: CleanPicture | None,
        mask: CleanPicture | None,
    ) -> bytes:
        """Returns the mask at the size of the picture that it belongs to."""
        if picture is None:
            png = await self._parts.pictures.get(request.init_image or "")
            size = await asyncio.to_thread(_canvas.size_of, png)
        else:
            size = (picture.width, picture.height)
        if mask is None:
            return await asyncio.to_thread(
                _canvas.cells_mask, size, arrival.cells, invert=arrival.invert
            )
        return await asyncio.to_thread(_canvas.drawn_mask, mask.png, size, invert=arrival.invert)

    async def _hand_over(
        self, arrival: Arrival, job: Job, interaction: discord.Interaction | None
    ) -> None:
        """Gives the status line to the board, which keeps it from here on."""
        if job.state.is_final and job.delivered_at is not None:  # done before a kill
            return
        if arrival.message_id is not None and not job.submission.destination.private:
            await self._board.note(job.id, arrival.message_id)
        face = _status.checking(job.request.prompt, job.owner_id)
        self._board.add(job, arrival.message_id, interaction, face)

    async def _tell_notes(
        self, interaction: discord.Interaction | None, *pictures: CleanPicture | None
    ) -> None:
        notes = [note for picture in pictures if picture is not None for note in picture.notes]
        if interaction is not None and notes:
            with speaking(of_person(interaction)):
                text = " ".join(map(again, dict.fromkeys(notes)))
            await _errors.say(interaction, text)

    async def _refuse(
        self, arrival: Arrival, interaction: discord.Interaction | None, error: Exception
    ) -> None:
        """Tells the owner alone, in place of the status line; without the token in a message."""
        locale = arrival.submission.destination.locale
        with speaking(locale if interaction is None else of_person(interaction)):
            words = _errors.words(error, f"the picture of {arrival.origin}")
        if interaction is not None:
            try:  # first: what is told cannot be looked for, only the asker sees it
                await self._parts.arrivals.refused(arrival.origin, words)
            except Exception:  # only a kill in the next moment would tell it once more
                log.exception("That %s is refused is not noted", arrival.origin)
            if await self._tell(arrival, interaction, words):
                return
        kept: EngineError = GenerationError("its picture could not be read")
        if isinstance(error, RequestError):
            kept = RefusedFileError(str(error))
        await self._parts.queue.refuse(
            arrival.submission, kept, status_message_id=arrival.message_id
        )

    async def _refuse_after_a_kill(self, arrival: Arrival, words: str) -> None:
        """Tells a refusal that may have been told: in the status line, without a message of its own.

        Where the line is gone, it was told before that.
        """
        if arrival.message_id is not None and not await self._put(arrival, words):
            return  # the row stays, for the next start
        await self._parts.arrivals.remove(arrival.origin)

    async def _put(self, arrival: Arrival, words: str) -> bool:
        """Replaces what the status line says; False when that may work another time."""
        place = arrival.submission.destination
        channel = self._client.get_partial_messageable(place.channel_id, guild_id=place.guild_id)
        line = channel.get_partial_message(arrival.message_id or 0)
        try:
            await line.edit(content=f"<@{arrival.submission.owner_id}> {words}", view=None)
        except discord.HTTPException as error:
            log.info("%s: its line does not tell the refusal: %s", arrival.origin, error)
            return not _errors.is_passing(error)
        except (aiohttp.ClientError, OSError, TimeoutError, discord.RateLimited) as error:
            log.info("%s: its line does not tell the refusal yet: %r", arrival.origin, error)
            return False
        return True

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
        await self._remove_line(arrival, interaction)
        return True

    async def _remove_line(self, arrival: Arrival, interaction: discord.Interaction) -> None:
        try:
            await interaction.delete_original_response()
        except (discord.HTTPException, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("%s: the status line is not deleted: %r", arrival.origin, error)

    def _done(self, arrival: Arrival) -> None:
        self._uncount(arrival.submission.owner_id)
        self._here.pop(arrival.origin, None)

    def _check_count(self, person_id: int, limits: Limits) -> None:
        count = self._by_owner[person_id]
        if count >= limits.waiting:
            raise TooManyWaitingError(count, limits.waiting)

    def _uncount(self, person_id: int) -> None:
        self._by_owner[person_id] -= 1
        if self._by_owner[person_id] <= 0:
            del self._by_owner[person_id]


async def _from_picture(
    arrival: Arrival, picture: CleanPicture, sha256: str, info: EngineInfo, limits: Limits
) -> GenerationRequest:
    """Returns the request with the picture to start from."""
    request = arrival.submission.request
    change = _changes.CHANGES.get(arrival.submission.action)
    if change is not None:  # as a button below a picture of ours does it
        size = (picture.width, picture.height)
        picked = _changes.Picked(request, sha256, request.seed, picture.png, size)
        return (await change(picked, info)).request
    width, height = request.width, request.height
    if arrival.takes_size:
        room, scale = _fitting.room(info, limits), _fitting.scale_of(request.second_pass)
        width, height = _fitting.size_of(f"{picture.width}:{picture.height}", room, scale)
    return dataclasses.replace(
        request, width=width, height=height, init_image=sha256, strength=arrival.strength
    )
