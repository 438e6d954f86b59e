"""What somebody looks for among their pictures: words, a style, a date, stars; as options and in a button."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from discord.app_commands import Choice

from cogs import _styles, _text
from cogs._desk import Desk
from cogs._language import N_, t
from engine.errors import InvalidRequestError
from engine.style_shelf import Shelf
from storage.gallery import Wanted
from storage.search import NO_STYLE

BAD_SINCE = N_(
    'I do not know the date "{typed}". Write it like 2026-01-31, or "today", "7 days", "3 weeks", '
    '"2 months".'
)

MAX_WORDS = 50  # characters; they travel in the button to the next page

_STARRED = 1
_SHA = 8  # characters of a hash in a button
_AGO = re.compile(r"(\d{1,4})\s*(d|days?|w|weeks?|m|months?|y|years?)(?:\s+ago)?")
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}
_FIRST_DAY = date(2000, 1, 1)
_RECENT = ("today", "7 days", "30 days", "1 year")


def wanted(
    desk: Desk, query: str | None, style: str | None, since: str | None, *, starred: bool
) -> Wanted:
    """Returns what the options of a command look for.

    Raises:
        RequestError: There never was such a style, or it is no date.
    """
    styles = () if style is None else _styles.searched(desk.parts.styles, style)
    return Wanted(query or "", since_of(since), starred, styles)


def since_of(typed: str | None, now: datetime | None = None) -> datetime | None:
    """Returns the beginning of the day (UTC) that somebody means.

    Raises:
        InvalidRequestError: It is no date.
    """
    if typed is None or not typed.strip():
        return None
    text = typed.strip().casefold().removeprefix("last ").removeprefix("since ")
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    day: date | None = {"today": today, "yesterday": today - timedelta(days=1)}.get(text)
    if (ago := _AGO.fullmatch(text)) is not None:
        days = int(ago[1]) * _DAYS[ago[2][0]]
        day = max(date.fromordinal(max(today.toordinal() - days, 1)), _FIRST_DAY)
    if day is None:
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            shown = _text.plain(typed, 40)
            raise InvalidRequestError(BAD_SINCE, typed=shown) from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def since_choices(typed: str) -> list[Choice[str]]:
    """Returns what may be meant by what was typed of a date."""
    known = [text for text in _RECENT if typed.strip().casefold() in text]
    texts = [typed.strip()] if typed.strip() and not known else known
    return [Choice(name=_text.plain(text, 100), value=text[:100]) for text in texts]


def encoded(wanted: Wanted) -> tuple[int, str]:
    """Returns a search as the number and the text of a button."""
    since = f"{wanted.since:%Y%m%d}" if wanted.since is not None else "-"
    style = f"~{wanted.styles[0][:_SHA]}" if wanted.styles else ""
    text = f"{since}{style}:{wanted.words[:MAX_WORDS]}"
    is_anything = bool(wanted.words or wanted.since or wanted.styles)
    return _STARRED if wanted.starred else 0, text if is_anything else ""


def decoded(desk: Desk, index: int, rest: str) -> Wanted:
    """Returns the search of a button."""
    head, _, words = rest.partition(":")
    day, _, style = head.partition("~")
    since = None
    if day.isdecimal() and len(day) == 8:
        since = since_of(f"{day[:4]}-{day[4:6]}-{day[6:]}")
    styles = _styles.searched(desk.parts.styles, style) if style else ()
    return Wanted(words, since, index == _STARRED, styles)


def title(styles: Shelf, wanted: Wanted) -> str:
    """Returns the title of what was found."""
    title = t("Your stars") if wanted.starred else t("Your pictures")
    if wanted.words:
        words = _text.shown(wanted.words, MAX_WORDS * 2)
        title = t('{title} with "{words}"', title=title, words=words)
    if wanted.styles == (NO_STYLE,):
        title = t("{title} without a style", title=title)
    elif wanted.styles:
        name = _text.shown(styles.name_of(wanted.styles[0]), 60)
        title = t("{title} in the style {name}", title=title, name=name)
    if wanted.since is not None:
        title = t("{title} since {day}", title=title, day=f"{wanted.since:%Y-%m-%d}")
    return title
