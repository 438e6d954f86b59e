"""`/styles try`: one prompt and seed in several styles or weights, and the picture that shows them."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass

import discord

from cogs import _buttons, _counts, _drawings, _parcel, _style_book, _styles, _text
from cogs._buttons import Press
from cogs._desk import Parts
from cogs._language import N_, t
from cogs._parcel import Parcel
from engine import sheets
from engine.errors import InvalidRequestError, UnknownJobError
from engine.style_shelf import Shelf
from engine.types import AdapterWeight, GenerationRequest, Job, JobState
from storage.pictures import PictureFiles

NO_STYLE = N_("no style")
TOO_MANY = N_("That is {count} pictures, and a sheet takes {limit}. Name fewer styles or weights.")
ONE_CELL = N_("A sheet compares at least two pictures. Name more styles, or several weights.")
_CELL_SIDE = 384
_TITLE = 400


def cells(
    styles: Shelf, pieces: Sequence[str], weights: Sequence[float], mixes: _styles.Mixes
) -> list[tuple[AdapterWeight, ...]]:
    """Returns the styles of each cell: every piece with every weight, row by row.

    Raises:
        RequestError: There are too few or too many, or a style is not there.
    """
    strengths: Sequence[float | None] = weights or (None,)
    found = [
        _styles.resolve(styles, piece, mixes, strength)
        for piece in pieces
        for strength in (strengths if piece.casefold() != _styles.NONE else (None,))
    ]
    if len(found) > sheets.MAX_CELLS:
        raise InvalidRequestError(TOO_MANY, count=len(found), limit=sheets.MAX_CELLS)
    if len(found) < 2:
        raise InvalidRequestError(ONE_CELL)
    return found


def weights_of(text: str | None) -> list[float]:
    """Returns the weights of a list like "0.3, 0.6, 1".

    Raises:
        InvalidRequestError: One of them is no number, or out of its range.
    """
    found = []
    for part in (text or "").replace(";", ",").split(","):
        if not part.strip():
            continue
        try:
            found.append(_styles.strength_of(float(part)) or 0.0)
        except ValueError as error:
            shown = _text.plain(part, 40)
            raise InvalidRequestError(
                '"{text}" is no weight. Write them like 0.3, 0.6, 1.', text=shown
            ) from error
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class SheetParcel(Parcel):
    """The message with a finished sheet.

    Attributes:
        sheet: WebP.
        alt_text: What it shows.
        uses: Label and style of each cell that can be chosen.
    """

    sheet: bytes = b""
    alt_text: str = ""
    uses: tuple[tuple[str, AdapterWeight], ...] = ()

    @property
    def actions(self) -> tuple[str, ...]:
        """The button by which the message is found again."""
        return (_buttons.INFO,)

    def view(self) -> discord.ui.View:
        """Returns a button for each style, which makes it the presser's own."""
        view = discord.ui.View(timeout=None)
        for label, adapter in self.uses:
            rest = f"{adapter.sha256[: _style_book.SHA]}:{adapter.weight:g}"
            press = Press(self.job.id, _style_book.USE, 0, rest)
            view.add_item(_buttons.button(press, _text.plain(t("Use {style}", style=label), 60)))
        view.add_item(_buttons.button(Press(self.job.id, _buttons.INFO)))
        return view

    async def files(self, store: PictureFiles, limit_bytes: int) -> list[discord.File]:
        """Returns the sheet; it is far smaller than any limit of Discord."""
        spoiler = self.spoiler or self.job.submission.destination.spoiler
        name = f"easel-{self.job.id}.webp"
        return [
            discord.File(io.BytesIO(self.sheet), name, spoiler=spoiler, description=self.alt_text)
        ]


async def parcel(parts: Parts, jobs: Sequence[Job], lead: Job, *, spoiler: bool) -> Parcel:
    """Returns the message for the jobs of a sheet, all of them final; `lead` stands for them."""
    pictures = [await _picture(parts, job) for job in jobs]
    if not any(pictures):
        return _parcel.failure(lead) if lead.error else _parcel.apology(lead, t(_parcel.REFUNDED))
    labels = [_styles.written(parts.styles, job.request.adapters) or t(NO_STYLE) for job in jobs]
    columns = 2 if len(jobs) in (2, 4) else 3
    sheet = await asyncio.to_thread(
        _drawings.contact_sheet, pictures, columns, labels, side=_CELL_SIDE
    )
    title = _text.shown(lead.request.prompt, _TITLE)
    missing = sum(1 for one in pictures if one is None)
    note = (
        "\n-# "
        + t("{pictures} could not be made, and cost nothing.", pictures=_counts.pictures(missing))
        if missing
        else ""
    )
    seed = t("the same seed {seed} in each", seed=lead.request.seed)
    uses = [
        (label, job.request.adapters[0])
        for label, job in zip(labels, jobs, strict=True)
        if len(job.request.adapters) == 1
    ]
    return SheetParcel(
        lead,
        _parcel.RESULT,
        f"**{title}** — <@{lead.owner_id}> · {seed}{note}",
        spoiler=spoiler,
        sheet=sheet,
        alt_text=_text.plain(
            t("{prompt}, drawn in: {styles}", prompt=lead.request.prompt, styles="; ".join(labels)),
            _text.MAX_ALT_TEXT,
        ),
        uses=tuple(uses),
    )


async def _picture(parts: Parts, job: Job) -> bytes | None:
    if job.state is not JobState.RENDERED:
        return None
    try:
        generation = await parts.history.get(job.id)
        return await parts.pictures.get(generation.pictures[0])
    except (UnknownJobError, IndexError):
        return None


def requests_of(
    base: GenerationRequest, found: Sequence[tuple[AdapterWeight, ...]]
) -> tuple[GenerationRequest, ...]:
    """Returns the request of each cell: the same but for its styles."""
    return tuple(dataclasses.replace(base, adapters=adapters, num_images=1) for adapters in found)
