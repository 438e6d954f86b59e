"""Styles as people write them, "neon:0.7, sepia:0.4", and as a request carries them.

A name may be a person's own mix, which stands for several styles. Everything here comes from memory.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import discord
from discord.app_commands import Choice

from cogs import _text
from cogs._desk import Desk
from cogs._language import N_, t
from cogs._options import Options
from engine.errors import InvalidRequestError, UnknownAdapterError
from engine.style_shelf import Shelf, key_of
from engine.types import (
    MAX_ADAPTER_WEIGHT,
    MAX_ADAPTERS,
    AdapterWeight,
    GenerationRequest,
    InstalledAdapter,
)
from storage import search

NONE = "none"
MAX_LENGTH = 300  # characters of a list of styles
NO_STYLE = N_("Which style should be so strong? Name one with the option style.")
IS_DEFAULT = N_('It is your default: choose another one with /style, or "none".')
_HASH = re.compile(r"[0-9a-f]{8,64}")
_MAX_CHOICES = 25
_MAX_CHOICE = 100
_WEIGHTS = (0.4, 0.6, 0.8, 1.0, 1.2)

Mixes = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Piece:
    """One style of a list; `weight` None is its own."""

    name: str
    weight: float | None = None

    def __str__(self) -> str:
        """The piece as people write it."""
        return self.name if self.weight is None else f"{self.name}:{self.weight:.4g}"


def styled(
    desk: Desk, interaction: discord.Interaction, request: GenerationRequest, options: Options
) -> GenerationRequest:
    """Returns the request with the styles that the options name; without any, as it was.

    Raises:
        RequestError: A style is not there, or a weight is out of its range.
    """
    strength = strength_of(options.style_strength)
    if options.style is None:
        if strength is not None:
            raise InvalidRequestError(NO_STYLE)
        return request
    if not isinstance(options.style, str):
        raise InvalidRequestError("The style must be text. Type it again.")
    preferences = desk.parts.people.preferences(interaction.user.id)
    styles = desk.parts.styles.here(interaction.guild_id)
    try:
        adapters = resolve(styles, options.style, preferences.mixes or {}, strength)
    except UnknownAdapterError as error:
        if options.style == preferences.style:
            error.add_note(t(IS_DEFAULT))
        raise
    return dataclasses.replace(request, adapters=adapters)


def resolve(
    styles: Shelf, text: str, mixes: Mixes, strength: float | None = None
) -> tuple[AdapterWeight, ...]:
    """Returns the styles that are meant.

    `strength` is the weight of those that have none, and a factor on the weights of the others.

    Raises:
        RequestError: A style is not there, is named twice, or a weight is out of its range.
    """
    found: dict[str, AdapterWeight] = {}
    for piece in expanded(parse(text), mixes):
        style = styles.find(piece.name)
        if style.sha256 in found:
            raise InvalidRequestError(
                'The style "{style}" is named twice. Name it once.', style=style.name
            )
        weight = style.default_weight if piece.weight is None else piece.weight
        if strength is not None:
            weight = strength if piece.weight is None else piece.weight * strength
        if not abs(weight) <= MAX_ADAPTER_WEIGHT:
            raise InvalidRequestError(
                'The style "{style}" would have the weight {weight:g}. Give one from '
                "0 to {limit:g}; 1 is full.",
                style=style.name,
                weight=weight,
                limit=MAX_ADAPTER_WEIGHT,
            )
        trigger = style.trigger_words[0] if style.trigger_words else ""
        found[style.sha256] = AdapterWeight(style.sha256, round(weight, 4), trigger)
    if len(found) > MAX_ADAPTERS:
        raise InvalidRequestError(
            "A picture takes at most {limit} styles, not {count}. Leave one out.",
            limit=MAX_ADAPTERS,
            count=len(found),
        )
    return tuple(one for one in found.values() if one.weight)


def parse(text: str) -> list[Piece]:
    """Returns the pieces of a list; none for "none".

    Raises:
        InvalidRequestError: It is too long, or a weight is no number.
    """
    text = _text.clean(text)
    if len(text) > MAX_LENGTH:
        raise InvalidRequestError(
            "The list of styles has {count} characters, at most {limit} are read. Shorten it.",
            count=len(text),
            limit=MAX_LENGTH,
        )
    if text.casefold() == NONE:
        return []
    return [_piece(part) for part in text.split(",") if part.strip()]


def expanded(pieces: Iterable[Piece], mixes: Mixes) -> list[Piece]:
    """Returns the pieces with mixes replaced by what they stand for."""
    by_key = {key_of(name): text for name, text in mixes.items()}
    result = []
    for piece in pieces:
        text = by_key.get(key_of(piece.name))
        if text is None:
            result.append(piece)
            continue
        factor = 1.0 if piece.weight is None else piece.weight
        for one in parse(text):
            weight = one.weight if piece.weight is None else (one.weight or 1.0) * factor
            result.append(Piece(one.name, weight))
    return result


def with_strength(pieces: Iterable[Piece], strength: float | None) -> list[Piece]:
    """Returns the pieces with the strength in their weights, see `resolve`."""
    if strength is None:
        return list(pieces)
    return [Piece(one.name, strength * (1 if one.weight is None else one.weight)) for one in pieces]


def strength_of(value: object) -> float | None:
    """Returns the strength of styles.

    Raises:
        InvalidRequestError: It is out of its range.
    """
    if value is None:
        return None
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= MAX_ADAPTER_WEIGHT:
        shown = _text.plain(str(value), 40)
        raise InvalidRequestError(
            'The strength of a style cannot be "{value}". Give a number from 0 to '
            "{limit:g}; 1 is full.",
            value=shown,
            limit=MAX_ADAPTER_WEIGHT,
        )
    return float(number)


def searched(styles: Shelf, typed: str) -> tuple[str, ...]:
    """Returns what `Wanted.styles` takes for a typed name; styles that are gone are found, too.

    Raises:
        UnknownAdapterError: There never was such a style; the message names the nearest.
    """
    name = _piece(typed).name
    if key_of(name) == NONE:
        return (search.NO_STYLE,)
    found = tuple(one.sha256 for one in styles.ever_called(name))
    if not found and _HASH.fullmatch(key_of(name)):  # of a style whose name is not known any more
        return (key_of(name),)
    return found or (styles.find(name).sha256,)


def written(styles: Shelf, adapters: Sequence[AdapterWeight]) -> str:
    """Returns the styles of a request as people write them."""
    return ", ".join(str(Piece(styles.name_of(one.sha256), one.weight)) for one in adapters)


def own_choices(desk: Desk, interaction: discord.Interaction, typed: str) -> list[Choice[str]]:
    """Returns `choices` of all styles of the place and of this person's mixes."""
    mixes = desk.parts.people.preferences(interaction.user.id).mixes or {}
    return choices(desk.parts.styles.here(interaction.guild_id), mixes, typed)


def choices(styles: Shelf, mixes: Mixes, typed: str) -> list[Choice[str]]:
    """Returns what the last piece of a list may become, with the rest of the list in front."""
    head, comma, last = typed.rpartition(",")
    begin = f"{head.strip()}, " if comma and head.strip() else ""
    name, colon, weight = last.strip().rpartition(":")
    if colon:  # the name is there, a weight is being typed
        texts = [f"{name}:{one:g}" for one in _WEIGHTS if f"{one:g}".startswith(weight.strip())]
        texts = texts or [last.strip()]
    else:
        used = {key_of(_piece(part).name) for part in head.split(",") if ":" not in part}
        used |= {key_of(part.partition(":")[0]) for part in head.split(",")}
        wanted = key_of(last)
        own = [mix for mix in mixes if wanted in key_of(mix)]
        texts = [*own, *(one.name for one in styles.matching(last, _MAX_CHOICES + len(used)))]
        texts = [text for text in texts if key_of(text) not in used]
        if not begin and NONE.startswith(last.strip().casefold()):
            texts = [*texts[: _MAX_CHOICES - 1], NONE]
    lines = [begin + text for text in texts]
    return [
        Choice(name=_text.plain(line, _MAX_CHOICE), value=line)
        for line in lines[:_MAX_CHOICES]
        if len(line) <= _MAX_CHOICE
    ]


def single(styles: Shelf, typed: str) -> InstalledAdapter:
    """Returns the style of a name, with or without a weight behind it."""
    return styles.find(_piece(typed).name)


def _piece(text: str) -> Piece:
    name, colon, weight = text.strip().rpartition(":")
    if not colon:
        return Piece(text.strip())
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not name.strip():
        shown = _text.plain(weight, 40)
        raise InvalidRequestError(
            '"{text}" is no weight of a style. '
            "Write it like neon:0.7, several like neon:0.7, sepia:0.4.",
            text=shown,
        )
    return Piece(name.strip(), number)
