"""A person's pictures: searched page by page with a contact sheet, picked from while typing."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass

import discord
from discord.app_commands import Choice

from cogs import _buttons, _counts, _drawings, _errors, _pages, _parcel, _search, _text
from cogs._desk import Desk, Parts
from cogs._language import N_, t
from engine.errors import NotAllowedError, UnknownJobError
from engine.types import Generation
from storage.gallery import GONE, Wanted

NO_HISTORY = N_("You have no pictures yet. Make one with /imagine.")
NO_STARS = N_("You have no stars yet. Press **Star** below a picture, anybody's.")
NO_OLDER = N_("There are no older pictures.")
NOT_FOUND = N_("None of them is like that. Try fewer words, or an earlier date.")
NOT_IN_HISTORY = N_(
    "There is no such picture in your history or among your stars. "
    "Choose one from the list that appears while you type."
)
PAGE = 9  # three by three
SHEET = "pictures.webp"

_TITLE_LIMIT = 100
_SEARCHED = 100  # newest pictures whose prompts are looked through letter by letter while typing
_CHOICES = 25


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, with its contact sheet."""

    embed: discord.Embed
    view: discord.ui.View | None = None
    sheet: bytes | None = None
    alt_text: str = ""

    def files(self) -> list[discord.File]:
        """Returns the sheet as a new file; a file can be sent once only."""
        if self.sheet is None:
            return []
        return [discord.File(io.BytesIO(self.sheet), SHEET, description=self.alt_text)]


async def page(desk: Desk, person_id: int, wanted: Wanted, before: str | None = None) -> Page:
    """Returns the newest pictures that are wanted, or those before one of them."""
    gallery = desk.parts.gallery
    found = await gallery.find(person_id, wanted, limit=PAGE + 1, before=before)
    shown = found[:PAGE]
    embed = discord.Embed(title=_search.title(desk.parts.styles, wanted))
    if not shown:
        embed.description = _nothing(wanted, before)
        return Page(embed)
    stars = await gallery.starred(person_id, [one.id for one in shown])
    embed.description = "\n".join(
        _line(number, one, is_starred=one.id in stars) for number, one in enumerate(shown, 1)
    )
    embed.set_footer(text=t("See one with /history show"))
    embed.set_image(url=f"attachment://{SHEET}")
    view = None
    if len(found) > PAGE:
        view = _buttons.older_view(shown[-1].id, *_search.encoded(wanted))
    pictures = await asyncio.gather(*(first_picture(desk.parts, one) for one in shown))
    alt_text = t(
        "A contact sheet of {pictures}, numbered as in the list",
        pictures=_counts.pictures(len(shown)),
    )
    sheet = await asyncio.to_thread(_drawings.contact_sheet, pictures)
    return Page(embed, view, sheet, alt_text)


async def first_picture(parts: Parts, generation: Generation) -> bytes | None:
    """Returns the first picture of a result; None when it cannot be read."""
    return await picture(parts, generation, 0)


async def picture(parts: Parts, generation: Generation, index: int) -> bytes | None:
    """Returns one of a result's pictures; None when it cannot be read."""
    if index >= len(generation.pictures):
        return None
    try:
        return await parts.pictures.get(generation.pictures[index])
    except UnknownJobError:
        return None


async def choices(
    desk: Desk, person_id: int, typed: str, *, starred: bool = False
) -> list[Choice[str]]:
    """Returns pictures to pick from, as Discord offers them."""
    return _pages.choices(await matches(desk, person_id, typed, starred=starred))


async def matches(
    desk: Desk, person_id: int, typed: str, *, starred: bool = False
) -> list[Generation]:
    """Returns at most 25 pictures: the newest with these letters, then older with these words."""
    gallery = desk.parts.gallery
    newest = await gallery.find(person_id, Wanted(starred=starred), limit=_SEARCHED)
    found = _pages.matching(newest, typed)[:_CHOICES]
    if len(found) < _CHOICES and len(newest) == _SEARCHED and typed.strip():
        wanted = Wanted(typed, starred=starred)
        older = await gallery.find(person_id, wanted, limit=_CHOICES, before=newest[-1].id)
        found += older[: _CHOICES - len(found)]
    return found


async def pick(desk: Desk, person_id: int, typed: str) -> Generation:
    """Returns the picture with the typed id, or else the newest one with these words.

    Raises:
        RequestError: It is not the person's, nor one of the person's stars, or it was deleted.
    """
    parts = desk.parts
    try:
        generation = await parts.history.get(_pages.id_of(typed))
    except UnknownJobError as error:
        newest = await parts.gallery.find(person_id, Wanted(), limit=_SEARCHED)
        found = _pages.matching(newest, typed) or await parts.gallery.find(
            person_id, Wanted(typed), limit=1
        )
        if not found:
            raise UnknownJobError(NOT_IN_HISTORY) from error
        return found[0]
    is_own = generation.submission.owner_id == person_id
    if not is_own and not await parts.gallery.starred(person_id, [generation.id]):
        raise NotAllowedError(NOT_IN_HISTORY)
    if generation.deleted_at is not None:
        raise UnknownJobError(GONE)
    return generation


def _nothing(wanted: Wanted, before: str | None) -> str:
    if before is not None:
        return t(NO_OLDER)
    if wanted.words or wanted.since or wanted.styles:
        return t(NOT_FOUND)
    return t(NO_STARS if wanted.starred else NO_HISTORY)


def _line(number: int, generation: Generation, *, is_starred: bool) -> str:
    title = _text.shown(generation.request.prompt, _TITLE_LIMIT)
    parts = [f"`{generation.id}`", _errors.stamp(generation.created_at)]
    if is_starred:
        parts.insert(0, "\N{WHITE MEDIUM STAR}")
    if (link := _parcel.link(generation)) is not None:
        parts.append("[" + t("message") + f"]({link})")
    # One line would break anywhere on a phone.
    return f"`{number}` **{title}**\n{_pages.joined(parts)}"
