"""The fields of the forms that set defaults, for people and for places: what they offer, and what was entered.

Discord's client only sends what a field offers; a forged form does not, so everything is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import discord

from cogs import _remix, _styles, _text
from cogs._language import N_, t
from cogs._options import ASPECTS, NO_NEGATIVE, Quality
from cogs._styles import Mixes
from engine.errors import InvalidRequestError
from engine.style_shelf import Shelf
from engine.types import MAX_IMAGES, MAX_PROMPT_LENGTH
from engine.words import Words
from storage.people import LANGUAGES, Preferences

UNSET = N_("not set")
NEGATIVE = N_("Negative prompt")
SHAPE = N_("Shape")
COUNT = N_("Pictures at a time")
QUALITY = N_("Quality")
STYLE = N_("Style")
REMIX = N_("How far remixes go")
LANGUAGE = N_("Language")
AUTO = N_("auto: as your Discord")

_SHOWN = 300
_NONE = "unset"  # Discord takes no empty value
_QUALITIES = {
    Quality.DRAFT: N_("half the steps, half the cost"),
    Quality.STANDARD: N_("the model's own steps"),
    Quality.HD: N_("more steps, 1.5x the size, about 3x the cost"),
}
_Field = TypeVar("_Field", bound=discord.ui.Item[Any])
_Entered = Mapping[str, Any]  # see `_forms.values`


def words(preferences: Preferences) -> dict[str, str]:
    """Returns what was set, or that it is not, by its English name; what people and places have alike."""
    return {
        NEGATIVE: _text.shown(preferences.negative or "", _SHOWN) or t(UNSET),
        SHAPE: preferences.aspect or t(UNSET),
        COUNT: str(preferences.count) if preferences.count else t(UNSET),
        QUALITY: preferences.quality or t(UNSET),
        STYLE: _text.shown(preferences.style or "", _SHOWN) or t(UNSET),
    }


def aspect(now: Preferences) -> discord.ui.Label[Any]:
    """Returns the field of the shape."""
    options = [(t("not set (the model's own size)"), _NONE), *((one, one) for one in ASPECTS)]
    return _select("aspect", t(SHAPE), options, now.aspect)


def count(now: Preferences) -> discord.ui.Label[Any]:
    """Returns the field of the number of pictures."""
    numbers = [str(number) for number in range(1, MAX_IMAGES + 1)]
    options = [(t("not set (1)"), _NONE), *((one, one) for one in numbers)]
    return _select("count", t(COUNT), options, None if now.count is None else str(now.count))


def quality(now: Preferences) -> discord.ui.Label[Any]:
    """Returns the field of the quality."""
    field: discord.ui.RadioGroup[Any] = discord.ui.RadioGroup(custom_id="quality")
    field.add_option(label=t(UNSET), value=_NONE, default=now.quality is None)
    for value, description in _QUALITIES.items():
        field.add_option(
            label=value, value=value, description=t(description), default=now.quality == value
        )
    return label(t(QUALITY), field)


def negative(now: Preferences) -> discord.ui.Label[Any]:
    """Returns the field of the negative prompt."""
    field: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id="negative",
        style=discord.TextStyle.paragraph,
        default=now.negative,
        required=False,
        max_length=MAX_PROMPT_LENGTH,
    )
    description = t(
        'What to keep out of every picture; "{nothing}" for nothing, empty for the model\'s own',
        nothing=NO_NEGATIVE,
    )
    return label(t(NEGATIVE), field, description)


def style(now: Preferences) -> discord.ui.Label[Any]:
    """Returns the field of the styles."""
    field: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id="style", default=now.style, required=False, max_length=_styles.MAX_LENGTH
    )
    description = t(
        'Like neon:0.7, sepia:0.4; "{nothing}" draws without, empty is not set',
        nothing=_styles.NONE,
    )
    return label(t(STYLE), field, description)


def remix_strength(now: Preferences) -> discord.ui.Label[Any]:
    """Returns the field of how far remixes go."""
    field: discord.ui.RadioGroup[Any] = discord.ui.RadioGroup(custom_id="remix_strength")
    field.add_option(label=t("not set (Medium)"), value=_NONE, default=now.remix_strength is None)
    for key, name in _remix.STRENGTH_NAMES.items():
        field.add_option(label=t(name), value=key, default=now.remix_strength == key)
    return label(t(REMIX), field)


def language(now: Preferences) -> discord.ui.Label[Any]:
    """Returns the field of the language that a person is answered in."""
    options = [(t(AUTO), _NONE), *((name, code) for code, name in LANGUAGES.items())]
    return _select("language", t(LANGUAGE), options, now.language)


def strength_name(key: str) -> str:
    """Returns "Medium" for "medium", in the reader's language."""
    return t(_remix.STRENGTH_NAMES[key]).partition(":")[0] if key in _remix.STRENGTHS else key


def label(text: str, field: _Field, description: str | None = None) -> discord.ui.Label[Any]:
    """Returns the field with its name and what to say about it."""
    return discord.ui.Label(text=text, component=field, description=description)


def entered_aspect(entered: _Entered) -> str | None:
    """Returns the shape. Raises InvalidRequestError, like all of these, for what cannot be chosen."""
    return _choice(N_("shape"), entered.get("aspect"), ASPECTS)


def entered_count(entered: _Entered) -> int | None:
    """Returns the number of pictures."""
    numbers = tuple(str(number) for number in range(1, MAX_IMAGES + 1))
    picked = _choice(N_("number of pictures"), entered.get("count"), numbers)
    return None if picked is None else int(picked)


def entered_quality(entered: _Entered) -> str | None:
    """Returns the quality."""
    return _choice(N_("quality"), entered.get("quality"), tuple(Quality))


def entered_negative(entered: _Entered) -> str | None:
    """Returns the negative prompt."""
    text = str(entered.get("negative") or "").strip()
    if len(text) > MAX_PROMPT_LENGTH:
        raise InvalidRequestError(
            "The negative prompt has {count:,} characters, the limit is {limit:,}. Shorten it.",
            count=len(text),
            limit=MAX_PROMPT_LENGTH,
        )
    return text or None


def entered_style(entered: _Entered, styles: Shelf, mixes: Mixes) -> str | None:
    """Returns the styles, as they can be found now; `NONE` draws without any."""
    text = str(entered.get("style") or "").strip()
    if not text:
        return None
    pieces = _styles.parse(text)
    _styles.resolve(styles, text, mixes)
    return ", ".join(map(str, pieces)) or _styles.NONE


def entered_remix_strength(entered: _Entered) -> str | None:
    """Returns how far remixes go, a key of `_remix.STRENGTHS`."""
    return _choice(N_("strength"), entered.get("remix_strength"), tuple(_remix.STRENGTHS))


def entered_language(entered: _Entered) -> str | None:
    """Returns the language, a key of `LANGUAGES`; None goes by Discord's."""
    return _choice(N_("language"), entered.get("language"), tuple(LANGUAGES))


def _select(
    custom_id: str, name: str, options: Iterable[tuple[str, str]], chosen: str | None
) -> discord.ui.Label[Any]:
    field: discord.ui.Select[Any] = discord.ui.Select(
        custom_id=custom_id,
        options=[
            discord.SelectOption(label=text, value=value, default=value == (chosen or _NONE))
            for text, value in options
        ],
    )
    return label(name, field)


def _choice(name: Words, entered: object, known: tuple[str, ...]) -> str | None:
    picked = entered[0] if isinstance(entered, list) and entered else entered
    if picked in (None, [], _NONE):
        return None
    if picked not in known:
        raise InvalidRequestError(
            'There is no {option} "{value}". Choose one of: {known}.',
            option=name,
            value=_text.plain(str(picked), 40),
            known=", ".join(known),
        )
    return str(picked)
