"""Which picture somebody means: one of theirs, one behind a message link, one that a message shows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
import discord
from discord.app_commands import Choice

from cogs import _album, _buttons, _text, _whereabouts
from cogs._desk import Desk
from cogs._language import N_, t
from engine.errors import InvalidRequestError, NotAllowedError, UnknownJobError
from engine.types import Generation
from storage.gallery import GONE

NOT_READABLE = N_(
    "I cannot look at the message of that link for you: it is gone, or it is in a place that you or "
    "I cannot read. Attach the picture instead."
)
NO_PICTURE = N_(
    "I see no picture in that message. Discord shows me other people's pictures only from the menu: "
    "open the message's menu and choose Apps, Remix this, or attach the picture."
)
NOT_FINISHED = N_("Its picture is not finished yet. Wait until it is there.")

_LINK = re.compile(
    r"<?https?://(?:\w+\.)?discord(?:app)?\.com/channels/(@me|\d{1,20})/(\d{1,20})/(\d{1,20})/?>?"
)
_NUMBERED = re.compile(r"\s*([a-z0-9]{1,32}):(\d{1,2})\s*")  # what `choices` offers
_PICTURE = re.compile(r"(?i).*\.(png|jpe?g|webp|gif|bmp|tiff?|heic|avif|svg)")
_CHOICES = 25
_JOB = re.compile(r"[a-z0-9]{13}")


@dataclass(frozen=True, slots=True)
class Source:
    """A picture to start from.

    Attributes:
        generation: The result that it is one of, or whose prompt and options go with it.
        index: 0-based place in that result.
        address: Where Discord has the picture; None when it is the result's own.
        size: Bytes of the file at `address`, when Discord said so.
        is_age_restricted: That file is in a channel for adults.
        is_hidden: That file was sent as a spoiler.
    """

    generation: Generation | None = None
    index: int = 0
    address: str | None = None
    size: int | None = None
    is_age_restricted: bool = False
    is_hidden: bool = False

    @property
    def spoiler(self) -> bool:
        """True when what is made of it is to be hidden until clicked, as the picture is."""
        made = self.generation
        return self.is_hidden or (made is not None and made.submission.destination.spoiler)

    @property
    def sha256(self) -> str:
        """The result's own picture.

        Raises:
            UnknownJobError: It was deleted.
            InvalidRequestError: There are fewer.
        """
        generation = self.generation
        if generation is None or generation.deleted_at is not None or not generation.pictures:
            raise UnknownJobError(GONE)
        count = len(generation.pictures)
        if not 0 <= self.index < count:
            if count == 1:
                raise InvalidRequestError(
                    "This result has one picture, so there is no number {number}.",
                    number=self.index + 1,
                )
            raise InvalidRequestError(
                "This result has {count} pictures, so there is no number {number}.",
                count=count,
                number=self.index + 1,
            )
        return generation.pictures[self.index]


def attached(attachment: discord.Attachment, generation: Generation | None = None) -> Source:
    """Returns a file that somebody sent, with the result whose prompt is to go with it."""
    return Source(
        generation,
        address=attachment.url,
        size=attachment.size,
        is_hidden=attachment.is_spoiler(),
    )


def picture_in(attachments: Iterable[discord.Attachment]) -> discord.Attachment | None:
    """Returns the first picture among the files, or else the first file, for it to be refused."""
    files = list(attachments)
    return next((file for file in files if _looks_like_one(file)), files[0] if files else None)


async def choices(desk: Desk, person_id: int, typed: str) -> list[Choice[str]]:
    """Returns the person's pictures to pick from, each of a result with several."""
    if _LINK.fullmatch(typed.strip()):
        return [Choice(name=t("The picture of that message"), value=typed.strip()[:100])]
    found = await _album.matches(desk, person_id, typed)
    several = [
        Choice(name=_label(one, index), value=f"{one.id}:{index + 1}" if index else one.id)
        for one in found
        for index in range(len(one.pictures))
    ]
    return several[:_CHOICES]


async def picked(desk: Desk, interaction: discord.Interaction, typed: str) -> Source:
    """Returns what was picked from `choices`, a linked picture, or the newest with these words.

    Raises:
        RequestError: There is none, or it is not for this person to see.
    """
    if (link := _LINK.fullmatch(typed.strip())) is not None:
        place = None if link[1] == "@me" else int(link[1])
        return await _linked(desk, interaction, place, int(link[2]), int(link[3]))
    index = 0
    if (numbered := _NUMBERED.fullmatch(typed)) is not None:
        typed, index = numbered[1], int(numbered[2]) - 1
    return Source(await _album.pick(desk, interaction.user.id, typed), index)


async def of_message(desk: Desk, message: discord.Message, own_id: int | None) -> Source | None:
    """Returns what a message shows: a result of ours, or somebody's file; None when neither.

    Raises:
        UnknownJobError: It is a status line, whose picture is not there yet.
    """
    generation = await desk.parts.history.by_message(message.id)
    if generation is None and message.author.id == own_id:
        # Copies, and what /history shows, are known by their buttons.
        for job_id in _job_ids(message):
            try:
                generation = await desk.parts.history.get(job_id)
                break
            except UnknownJobError:
                if await _is_waiting(desk, job_id):
                    raise UnknownJobError(NOT_FINISHED) from None
    if generation is not None:
        return Source(generation)
    file = picture_in(files_of(message))
    return None if file is None or message.author.id == own_id else attached(file)


async def _is_waiting(desk: Desk, job_id: str) -> bool:
    try:
        return not (await desk.parts.jobs.get(job_id)).state.is_final
    except UnknownJobError:
        return False


async def _linked(
    desk: Desk,
    interaction: discord.Interaction,
    guild_id: int | None,
    channel_id: int,
    message_id: int,
) -> Source:
    person_id = interaction.user.id
    if guild_id is None:
        generation = await desk.parts.history.by_message(message_id)
        if generation is not None and generation.submission.owner_id == person_id:
            return Source(generation)
        if channel_id != interaction.channel_id or interaction.guild_id is not None:
            raise NotAllowedError(NOT_READABLE)  # somebody else's DMs
    try:
        channel = await _channel(interaction, guild_id, channel_id)
        message = await channel.fetch_message(message_id)
    except (discord.NotFound, discord.Forbidden) as error:
        raise NotAllowedError(NOT_READABLE) from error
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        trouble = NotAllowedError(NOT_READABLE)
        trouble.add_note(t("Or Discord has trouble just now."))
        raise trouble from error
    own = interaction.client.user
    source = await of_message(desk, message, own.id if own is not None else None)
    if source is None:
        raise InvalidRequestError(NO_PICTURE)
    restricted = _whereabouts.is_age_restricted(interaction.client, channel_id)
    return dataclasses.replace(source, is_age_restricted=restricted)


async def _channel(
    interaction: discord.Interaction, guild_id: int | None, channel_id: int
) -> discord.abc.Messageable:
    """Returns the channel when the person and the bot can both read it.

    Raises:
        NotAllowedError: One of them cannot.
        discord.HTTPException: The same, or Discord has trouble.
    """
    client = interaction.client
    if guild_id is None:
        return client.get_partial_messageable(channel_id)
    guild = client.get_guild(guild_id)
    if guild is None:
        raise NotAllowedError(NOT_READABLE)
    channel = guild.get_channel_or_thread(channel_id) or await guild.fetch_channel(channel_id)
    member = interaction.user
    if not isinstance(member, discord.Member) or member.guild.id != guild.id:
        member = await guild.fetch_member(member.id)  # raises NotFound for people who are not there
    if isinstance(channel, discord.CategoryChannel | discord.ForumChannel):
        raise NotAllowedError(NOT_READABLE)
    for reader in (member, guild.me):
        allowed = channel.permissions_for(reader)
        if not (allowed.view_channel and allowed.read_message_history):
            raise NotAllowedError(NOT_READABLE)
        if (
            isinstance(channel, discord.Thread)
            and channel.is_private()
            and not allowed.manage_threads
        ):
            await channel.fetch_member(reader.id)  # raises NotFound
    return channel


def _job_ids(message: discord.Message) -> list[str]:
    presses = (
        _buttons.parse(str(getattr(child, "custom_id", None)))
        for row in message.components
        for child in getattr(row, "children", ())
    )
    found = [press.job_id for press in presses if press is not None]
    return [job_id for job_id in dict.fromkeys(found) if _JOB.fullmatch(job_id)]


def files_of(message: discord.Message) -> list[discord.Attachment]:
    """Returns the files of a message, or of what it forwards."""
    forwarded = [file for part in message.message_snapshots for file in part.attachments]
    return [*message.attachments, *forwarded]


def _looks_like_one(file: discord.Attachment) -> bool:
    if file.content_type is not None:
        return file.content_type.startswith("image/")
    return _PICTURE.fullmatch(file.filename) is not None


def _label(generation: Generation, index: int) -> str:
    count = len(generation.pictures)
    tail = f" ({generation.id})"
    if count > 1:
        tail = t(" ({number} of {count}, {id})", number=index + 1, count=count, id=generation.id)
    return _text.plain(generation.request.prompt, 100 - len(tail)) + tail
