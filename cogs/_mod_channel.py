"""The messages in a server's moderation channel, one for each picture to decide about, as the database has it.

Whatever happens to a case is written into its row first; `ModChannel` then brings the message up to date,
also after a restart. It alone sends and edits these messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from datetime import UTC, datetime, timedelta

import aiohttp
import discord

from cogs import _album, _buttons, _drawings, _errors, _parcel, _text, _whereabouts
from cogs._buttons import Press
from cogs._desk import Parts
from cogs._language import N_, of_server, speak, t, tn
from cogs._tidier import Tidier
from engine.errors import UnknownJobError
from engine.types import Generation, Job
from storage.cases import Case, Kind

log = logging.getLogger(__name__)

REPORTED = N_("**Reported picture** of {person}: {link}")
HELD = N_(
    "**Held back:** a picture of {person} for {channel}, which the safety checker did not find safe. "
    "**Show** shows it to you alone."
)
RELEASED_BY = N_("Released by {person}.")
WITHOUT_LINK = N_("its message is not there any more")
PICTURE_DELETED = N_("The picture is deleted.")
DELETED_BY = N_("Deleted by {person}.")
BLOCKED_BY = N_("{owner} was blocked by {person}. /admin user unblock ends it.")
DISMISSED_BY = N_("Dismissed by {person}.")
NO_THUMBNAIL = N_(
    "It may be for adults alone and this channel is not age-restricted, so it is not shown here."
)

_AT_ONCE = 20
_LOOK_S = 60.0  # what other parts of the bot changed is found after so long at most
_NONCE_LIFE = timedelta(minutes=2)
_CLOCK_DIFFERENCE = timedelta(minutes=10)
_SEARCH_DEPTH = 500
_THUMBNAIL_SIDE = 192
_REASON = 300  # characters
_REASONS = 1200
_TRANSIENT = (aiohttp.ClientError, OSError, TimeoutError, discord.RateLimited)


class ModChannel:
    """Shows cases to the moderators."""

    def __init__(
        self, *, client: discord.Client, parts: Parts, tidier: Tidier, retry_s: float = 60.0
    ) -> None:
        """`retry_s` is the pause after a failure."""
        self._client = client
        self._parts = parts
        self._tidier = tidier
        self._retry_s = retry_s
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Says that there is something to show."""
        self._woken.set()

    async def run(self) -> None:
        """Shows until cancelled; begins with what earlier runs left, once it is known what channels are."""
        await self._client.wait_until_ready()
        while True:
            self._woken.clear()
            try:
                is_done = await self._show_some()
            except Exception:  # the database fails, for example: the rows stay
                log.exception("Messages to moderators are not up to date")
                is_done = False
            if not is_done:
                await asyncio.sleep(self._retry_s)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._woken.wait()

    async def _show_some(self) -> bool:
        """Brings messages up to date; False when Discord has to be asked again later."""
        is_done = True
        while cases := await self._parts.cases.to_show(_AT_ONCE):
            for case in cases:
                try:
                    await self._show(case)
                except UnknownJobError:  # erased, and its case with it
                    continue
                except _TRANSIENT as error:
                    log.info("Job %s is not shown to moderators yet: %r", case.job_id, error)
                    is_done = False
                except discord.HTTPException as error:
                    if _errors.is_passing(error):
                        log.info("Job %s is not shown to moderators yet: %s", case.job_id, error)
                        is_done = False
                    else:
                        log.warning("Job %s: its moderators' channel: %s", case.job_id, error)
                        await self._drop(case)
            if not is_done:
                return False
        return True

    async def _show(self, case: Case) -> None:
        rules = self._parts.safety.of(case.guild_id)
        channel_id = case.channel_id or rules.reports
        if channel_id is None:  # turned off meanwhile
            await self._drop(case)
            return
        guild = self._client.get_guild(case.guild_id)
        speak(of_server(guild) or rules.locale)
        channel = self._client.get_partial_messageable(channel_id, guild_id=case.guild_id)
        generation = await self._generation(case)
        if generation is None and case.kind is Kind.REPORT:
            await self._drop(case)
            return
        job = await self._parts.jobs.get(case.job_id)
        message_id, is_new = case.message_id, False
        if message_id is None:
            message_id, is_new = await self._send(channel, case, job, generation)
        if not is_new:
            await self._edit(channel.get_partial_message(message_id), case, job, generation)
        if not await self._parts.cases.note_shown(case, channel_id, message_id):
            await self._tidier.add(channel_id, message_id)  # erased while it was on the way

    async def _edit(
        self,
        message: discord.PartialMessage,
        case: Case,
        job: Job,
        generation: Generation | None,
    ) -> None:
        files, is_hidden = await self._files(message.channel.id, generation)
        try:
            await message.edit(
                content=_words(case, job, generation, is_hidden=is_hidden),
                attachments=files,
                view=_view(case, generation),
                allowed_mentions=discord.AllowedMentions.none(),
            )
        except discord.NotFound as error:
            if error.code == 0:
                raise
            log.info("The moderators deleted the message about job %s", case.job_id)

    async def _drop(self, case: Case) -> None:
        """Forgets a case that the moderators cannot see: the owners of the bot have the report."""
        await self._parts.cases.drop(case)
        if case.kind is Kind.HELD and not case.is_decided:
            await self._parts.queue.tell_again(case.job_id)
            self._tidier.wake()

    async def _generation(self, case: Case) -> Generation | None:
        """Returns what the case is about; None when it was not released, and is in no history."""
        try:
            return await self._parts.history.get(case.job_id)
        except UnknownJobError:
            return None

    async def _send(
        self,
        channel: discord.PartialMessageable,
        case: Case,
        job: Job,
        generation: Generation | None,
    ) -> tuple[int, bool]:
        """Returns the id of the message, which is sent once even if the outcome of a try is unknown.

        With it whether it is sure that the message shows the case as it is now: Discord answers a second
        try with what the first one sent.
        """
        since = await self._parts.cases.begin_sending(case)
        if since is not None and datetime.now(UTC) - since > _NONCE_LIFE:
            found = await self._find(channel, case, since)
            if found is not None:
                return found, False
        files, is_hidden = await self._files(channel.id, generation)
        message = await channel.send(
            _words(case, job, generation, is_hidden=is_hidden),
            files=files,
            view=_view(case, generation) or discord.ui.View(),
            nonce=f"{case.job_id}:{case.kind}",
            allowed_mentions=discord.AllowedMentions.none(),
        )
        return message.id, since is None

    async def _find(
        self, channel: discord.PartialMessageable, case: Case, since: datetime
    ) -> int | None:
        after = discord.Object(discord.utils.time_snowflake(since - _CLOCK_DIFFERENCE))
        own = self._client.user
        actions = _buttons.CASE_ACTIONS if case.kind is Kind.REPORT else _buttons.CASE_HELD_ACTIONS
        async for message in channel.history(limit=_SEARCH_DEPTH, after=after, oldest_first=True):
            is_mine = own is not None and message.author.id == own.id
            if is_mine and _buttons.carries(message, case.job_id, actions):
                return message.id
        return None

    async def _files(
        self, channel_id: int, generation: Generation | None
    ) -> tuple[list[discord.File], bool]:
        """Returns the thumbnail, and whether it is left out for the reader's age."""
        if generation is None or not generation.pictures or not self._may_attach(channel_id):
            return [], False
        if not self._may_show(channel_id, generation):
            return [], True
        pictures = [
            picture
            for index in range(len(generation.pictures))
            if (picture := await _album.picture(self._parts, generation, index)) is not None
        ]
        if not pictures:
            return [], False
        sheet = await asyncio.to_thread(_drawings.contact_sheet, pictures, 2, side=_THUMBNAIL_SIDE)
        description = _text.plain(generation.request.prompt, _text.MAX_ALT_TEXT)
        name = f"easel-{generation.id}.webp"
        return [discord.File(io.BytesIO(sheet), name, spoiler=True, description=description)], False

    def _may_show(self, channel_id: int, generation: Generation) -> bool:
        """True when the picture is not for adults alone, as far as is known, or the channel is."""
        if _whereabouts.is_age_restricted(self._client, channel_id):
            return True
        if generation.is_unsafe:
            return False
        source = self._client.get_channel(generation.submission.destination.channel_id)
        return source is not None and not _whereabouts.is_age_restricted(self._client, source.id)

    def _may_attach(self, channel_id: int) -> bool:
        channel = self._client.get_channel(channel_id)
        if not isinstance(channel, discord.abc.GuildChannel):
            return True
        return channel.permissions_for(channel.guild.me).attach_files


def _words(case: Case, job: Job, generation: Generation | None, *, is_hidden: bool) -> str:
    owner = f"<@{case.owner_id}>"
    has_pictures = generation is not None and bool(generation.pictures)
    if case.kind is Kind.HELD:
        lines = [t(HELD, person=owner, channel=f"<#{job.submission.destination.channel_id}>")]
    else:
        link = None if generation is None else _parcel.link(generation)
        lines = [t(REPORTED, person=owner, link=link or t(WITHOUT_LINK)), *_reasons(case)]
        if is_hidden:
            lines.append("-# " + t(NO_THUMBNAIL))
    if case.deleted_by is not None:
        lines.append(t(DELETED_BY, person=f"<@{case.deleted_by}>"))
    elif not has_pictures:
        lines.append(t(PICTURE_DELETED))
    if case.blocked_by is not None:
        lines.append(t(BLOCKED_BY, owner=owner, person=f"<@{case.blocked_by}>"))
    if case.closed_by is not None:
        text = DISMISSED_BY if case.kind is Kind.REPORT else RELEASED_BY
        lines.append(t(text, person=f"<@{case.closed_by}>"))
    return "\n".join(lines)


def _reasons(case: Case) -> list[str]:
    lines = []
    if count := len(case.reasons):
        lines.append(tn("{number} report", "{number} reports", count))
    reasons = [f"> {_text.shown(reason, _REASON)}" for reason in case.reasons if reason]
    if reasons:
        lines.append(_text.joined_within(reasons, _REASONS))
    return lines


def _view(case: Case, generation: Generation | None) -> discord.ui.View | None:
    """Returns the buttons for what is still to be decided."""
    has_pictures = generation is not None and bool(generation.pictures)
    actions = []
    if case.closed_by is not None:
        return None
    if case.kind is Kind.HELD:
        if not has_pictures:
            return None
        actions = list(_buttons.CASE_HELD_ACTIONS)
    else:
        if has_pictures:
            actions.append(_buttons.CASE_DELETE)
        if case.blocked_by is None:
            actions.append(_buttons.CASE_BLOCK)
        if case.deleted_by is None and case.blocked_by is None:
            actions.append(_buttons.CASE_DISMISS)
    return _buttons.view_of(*(Press(case.job_id, action) for action in actions))
