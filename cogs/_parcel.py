"""What a delivery sends: the text, the picture files and the buttons of a result or an apology."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass

import discord

from cogs import _allowance, _buttons, _errors, _text
from cogs._buttons import Press
from cogs._language import N_, again, t
from engine.errors import error_from_wire
from engine.types import Generation, Job
from storage.ledger import Usage
from storage.pictures import PictureFiles

RESULT = "r"
FAILURE = "f"
HELD = "h"

REFUNDED = N_("The cost was given back.")
ELSEWHERE = N_("I could not post it in {channel}.")
WAITS = N_(
    "The moderators of this server look at this picture first, because the safety checker is not sure of "
    "it. It comes here when they release it."
)
TOO_LARGE = N_("The picture is too large to post here. See it with /history show.")

_STYLE = 120  # characters
_TITLE = 400  # characters of the prompt; Info and the file have all of it
_WEBP_QUALITIES = (95, 85, 70)
_SHRINK = 0.75
_SMALLEST_SIDE = 64


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message to deliver.

    Attributes:
        purpose: `RESULT`, `FAILURE` or `HELD`.
        pictures: sha256 of each PNG file in order; empty for an apology. The bytes are read for
            each try, so that results which wait for Discord do not fill the memory.
        spoiler: The pictures are hidden until clicked, also when that was not asked for.
    """

    job: Job
    purpose: str
    content: str
    pictures: tuple[str, ...] = ()
    spoiler: bool = False

    @property
    def nonce(self) -> str:
        """The same for every try to send this message, and for no other message."""
        return f"{self.job.id}:{self.purpose}"

    @property
    def can_publish(self) -> bool:
        """True when the result is private and there is a channel to publish it in."""
        destination = self.job.submission.destination
        return destination.private and destination.guild_id is not None

    @property
    def actions(self) -> tuple[str, ...]:
        """The buttons that this message has and the status line has not."""
        if self.purpose == HELD:
            return _buttons.HELD_ACTIONS
        return _buttons.RESULT_ACTIONS if self.purpose == RESULT else _buttons.FAILURE_ACTIONS

    def elsewhere(self) -> Parcel:
        """Returns the message for a DM, which says why it does not come where it was asked for."""
        channel_id = self.job.submission.destination.channel_id
        note = "\n-# " + t(ELSEWHERE, channel=f"<#{channel_id}>")
        if _text.length(self.content + note) > _text.MAX_CONTENT:
            return self
        return dataclasses.replace(self, content=self.content + note)

    def view(self) -> discord.ui.View:
        """Returns new buttons; a view belongs to one send."""
        if self.purpose == RESULT:
            return _buttons.result_view(
                self.job.id, len(self.pictures), can_publish=self.can_publish
            )
        if self.purpose == HELD:
            return _buttons.view_of(*(Press(self.job.id, one) for one in _buttons.HELD_ACTIONS))
        return _buttons.failure_view(self.job.id)

    def mentions(self) -> discord.AllowedMentions:
        """Allows to ping the owner and nobody else."""
        return discord.AllowedMentions(
            everyone=False,
            roles=False,
            replied_user=False,
            users=[discord.Object(self.job.owner_id)],
        )

    async def files(self, store: PictureFiles, limit_bytes: int) -> list[discord.File]:
        """Returns the pictures as files of at most so many bytes each, PNG where it fits.

        Raises:
            UnknownJobError: A picture is not there any more.
        """
        return await files_of(
            self.job.id,
            self.pictures,
            store,
            limit_bytes,
            alt_text=_text.plain(self.job.request.prompt, _text.MAX_ALT_TEXT),
            spoiler=self.spoiler or self.job.submission.destination.spoiler,
        )


async def files_of(
    job_id: str,
    hashes: Sequence[str],
    store: PictureFiles,
    limit_bytes: int,
    *,
    alt_text: str,
    spoiler: bool,
) -> list[discord.File]:
    """Returns stored pictures as attachments, see `Parcel.files`."""
    files = []
    for index, sha256 in enumerate(hashes):
        data, extension = await store.get(sha256), "png"
        if len(data) > limit_bytes:
            data, extension = await asyncio.to_thread(smaller, data, limit_bytes), "webp"
        files.append(
            discord.File(
                io.BytesIO(data),
                f"easel-{job_id}-{index + 1}.{extension}",
                spoiler=spoiler,
                description=alt_text or None,
            )
        )
    return files


def result(
    job: Job,
    generation: Generation,
    usage: Usage | None,
    style: str = "",
    wish: str = "",
    *,
    spoiler: bool = False,
) -> Parcel:
    """Returns the message with the finished pictures.

    `style` is what stands for its LoRAs; `wish` the model that the server would rather have had; for
    `spoiler` see `Parcel`.
    """
    text = _result_text(job, generation, usage, style, wish)
    return Parcel(job, RESULT, text, generation.pictures, spoiler)


def held(job: Job) -> Parcel:
    """Returns what tells the owner that moderators are to look at the picture first."""
    return dataclasses.replace(apology(job, t(WAITS)), purpose=HELD)


def caption(generation: Generation, *, owner_id: int | None = None) -> str:
    """Returns the text for a copy of a result: the prompt, the owner if given, the seed."""
    facts = [] if owner_id is None else [f"<@{owner_id}>"]
    facts.append(_seeds(generation.seeds))
    return f"**{_text.shown(generation.request.prompt, _TITLE)}** — {' · '.join(facts)}"


def link(generation: Generation) -> str | None:
    """Returns the address of the message that shows the result, unless only its owner sees it."""
    destination = generation.submission.destination
    if generation.message_id is None or destination.private:
        return None
    channel_id = generation.channel_id or destination.channel_id
    is_elsewhere = channel_id != destination.channel_id  # in a DM
    place = "@me" if is_elsewhere or destination.guild_id is None else destination.guild_id
    return f"https://discord.com/channels/{place}/{channel_id}/{generation.message_id}"


def failure(job: Job) -> Parcel:
    """Returns the apology for a job that failed."""
    name, message = job.error or ("GenerationError", "")
    reason = _errors.words(error_from_wire(name, message), f"job {job.id}")
    return apology(job, f"{reason} {t(REFUNDED)}")


def apology(job: Job, reason: str) -> Parcel:
    """Returns a message that says why there is no picture, and names the prompt."""
    tail = f"\n{reason}"
    head = f" — <@{job.owner_id}>"
    room = _text.MAX_CONTENT - _text.length(head + tail) - len("****")
    title = _text.shown(job.request.prompt, min(room, _TITLE))
    return Parcel(job, FAILURE, f"**{title}**{head}{tail}")


def smaller(png: bytes, limit_bytes: int) -> bytes:
    """Returns the picture as WebP that fits: lower quality first, then fewer pixels. Blocks."""
    from PIL import Image  # only pictures of our own engine come here

    with Image.open(io.BytesIO(png), formats=["PNG"]) as opened:
        picture = opened.convert("RGB")
    while True:
        for quality in _WEBP_QUALITIES:
            buffer = io.BytesIO()
            picture.save(buffer, "WEBP", quality=quality, method=4)
            if buffer.tell() <= limit_bytes or max(picture.size) <= _SMALLEST_SIDE:
                return buffer.getvalue()
        width, height = (max(round(side * _SHRINK), 1) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)


def _result_text(
    job: Job, generation: Generation, usage: Usage | None, style: str, wish: str
) -> str:
    facts = [
        f"<@{job.owner_id}>",
        *([t("style {style}", style=_text.shown(style, _STYLE))] if style else []),
        _seeds(generation.seeds),
        t("{seconds:.1f}\N{NO-BREAK SPACE}s", seconds=generation.seconds),
    ]
    if usage is not None and usage.daily > 0:
        facts.append(_allowance.today(usage))
    tail = " — " + " · ".join(facts)
    warnings = [again(warning) for warning in generation.warnings[:4]]
    if wish:
        model = job.request.model
        warnings.append(t("Drawn by {model}: {wish} is not loaded now.", model=model, wish=wish))
    notes = "".join(f"\n-# {_text.shown(warning, 200)}" for warning in warnings)
    room = _text.MAX_CONTENT - _text.length(tail + notes) - len("****")
    return f"**{_text.shown(job.request.prompt, min(room, _TITLE))}**{tail}{notes}"


def _seeds(seeds: Sequence[int]) -> str:
    if not seeds:
        return t("seed unknown")
    if len(seeds) == 1:
        return t("seed {seed}", seed=seeds[0])
    return t("seeds {first}-{last}", first=seeds[0], last=seeds[-1])
