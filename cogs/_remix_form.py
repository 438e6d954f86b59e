"""The form behind **Remix** and **Remix this**: the old words to be changed, how far the picture goes."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import discord

from cogs import _buttons, _flags, _forms, _gate, _remix, _style_select
from cogs._buttons import Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from cogs._options import NO_NEGATIVE, Options
from cogs._sources import Source
from engine.errors import InvalidRequestError
from engine.types import MAX_PROMPT_LENGTH, Generation

TITLE = N_("Remix")
SLOW = N_("I could not look the picture up in time. Try again.")

_PROMPT, _NEGATIVE, _STRENGTH, _PICTURE, _FILE = "prompt", "negative", "strength", "picture", "file"
_WORDS_ONLY = "words"
_READ_S = 2.0  # a form has to be the first answer, within 3 s
_OFFERED = 1000


class Offers:
    """Other people's pictures that a form is open for: their links do not fit into a form's id.

    They are forgotten with the process, and then `_forms.lost_picture` says to open it again.
    """

    def __init__(self) -> None:
        """Knows none."""
        self._sources: dict[str, Source] = {}

    def keep(self, key: str, source: Source) -> None:
        """Remembers a picture."""
        self._sources[key] = source
        if len(self._sources) > _OFFERED:
            del self._sources[next(iter(self._sources))]

    def get(self, key: str) -> Source | None:
        """Returns the picture."""
        return self._sources.get(key)


async def show(interaction: discord.Interaction, press: Press) -> None:
    """Opens the form with what made the picture: the button."""
    try:
        async with asyncio.timeout(_READ_S):
            history = desk_of(interaction).parts.history
            generation = await history.get(press.job_id, reader_id=interaction.user.id)
    except TimeoutError as error:
        raise InvalidRequestError(SLOW) from error
    await open_for(interaction, Source(generation, press.index), rest=press.rest)


async def open_for(interaction: discord.Interaction, source: Source, *, rest: str = "") -> None:
    """Opens the form for any picture.

    Raises:
        RequestError: The picture is not there any more, or the server wants none here.
    """
    _gate.check_place(interaction)
    generation = source.generation
    desk, person_id = desk_of(interaction), interaction.user.id
    mine = _remix.own_strength(desk, person_id)
    select = _style_select.field(desk, interaction)
    styles = [] if select is None else [select]
    if generation is None:
        key = str(interaction.id)
        desk.offers.keep(key, source)
        press = Press(_buttons.MINE, _buttons.REMIX, rest=key)
        fields = [_prompt(None), _strength(mine), *styles]
        await _forms.send(interaction, press, t(TITLE), *fields)
        return
    _ = source.sha256  # it is there
    press = Press(generation.id, _buttons.REMIX, source.index, rest)
    fields = _fields(generation, source.index, mine)
    if len(generation.pictures) == 1:  # a form has five fields at most
        fields[-1:-1] = styles
    await _forms.send(interaction, press, t(TITLE), *fields)


async def take(interaction: discord.Interaction, press: Press) -> None:
    """Starts what the form asks for; whoever sent it owns and pays it."""
    desk = desk_of(interaction)
    entered = _forms.values(interaction)
    source = await _source(interaction, desk, press, entered)
    if source is None:
        await _forms.lost_picture(interaction, str(entered.get(_PROMPT) or ""))
        return
    negative = str(entered.get(_NEGATIVE) or "").strip() or None
    if source.generation is not None and negative is None:
        negative = NO_NEGATIVE  # it was filled in and is empty now
    style = _style_select.chosen(entered.get(_style_select.STYLE))
    options = Options(prompt=entered.get(_PROMPT), negative=negative, style=style)
    private: bool | None = True if _buttons.is_private(interaction, press) else None
    options, private = _flags.read(options, private=private)
    if private is None:
        private = desk.parts.people.preferences(interaction.user.id).private
    chosen = entered.get(_STRENGTH)
    strength = None if chosen == _WORDS_ONLY else _remix.strength_of(chosen, None)
    if options.image_weight is not None:  # a flag was typed, a choice is always there
        strength = _remix.own_strength(desk, interaction.user.id, options.image_weight)
    await _remix.place(interaction, desk, source, options, strength=strength, private=bool(private))


async def _source(
    interaction: discord.Interaction, desk: Desk, press: Press, entered: dict[str, Any]
) -> Source | None:
    if press.job_id == _buttons.MINE:
        return desk.offers.get(press.rest)
    generation = await desk.parts.history.get(press.job_id, reader_id=interaction.user.id)
    source = Source(generation, _index(entered.get(_PICTURE), press))
    if (file := _forms.file(interaction, _FILE)) is not None:
        source = dataclasses.replace(
            source, address=file.address, size=file.size, is_hidden=file.is_spoiler
        )
    return source


def _index(entered: object, press: Press) -> int:
    """Returns the 0-based picture; a forged number is refused where the picture is looked up."""
    text = str(entered or "")
    return int(text) - 1 if text.isascii() and text.isdigit() and len(text) < 3 else press.index


def _fields(generation: Generation, index: int, strength: float) -> list[discord.ui.Label[Any]]:
    made = generation.request
    negative: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_NEGATIVE,
        default=made.negative_prompt or None,
        required=False,
        max_length=MAX_PROMPT_LENGTH,
    )
    fields: list[discord.ui.Label[Any]] = [
        _prompt(made.prompt),
        discord.ui.Label(
            text=t("Negative prompt"), component=negative, description=t("What to keep out")
        ),
        _strength(strength, words_only=True),
    ]
    if (count := len(generation.pictures)) > 1:
        picture: discord.ui.RadioGroup[Any] = discord.ui.RadioGroup(custom_id=_PICTURE)
        for n in range(count):
            picture.add_option(
                label=t("Picture {number}", number=n + 1), value=str(n + 1), default=n == index
            )
        fields.append(discord.ui.Label(text=t("Which one"), component=picture))
    file: discord.ui.FileUpload[Any] = discord.ui.FileUpload(
        custom_id=_FILE, required=False, min_values=0, max_values=1
    )
    fields.append(
        discord.ui.Label(
            text=t("Another picture"),
            component=file,
            description=t("To start from it in place of the one above: PNG, JPEG or WebP"),
        )
    )
    return fields


def _prompt(old: str | None) -> discord.ui.Label[Any]:
    field: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_PROMPT,
        style=discord.TextStyle.paragraph,
        default=old,
        max_length=MAX_PROMPT_LENGTH,
    )
    return discord.ui.Label(
        text=t("Prompt"), component=field, description=t("What the new picture should show")
    )


def _strength(chosen: float, *, words_only: bool = False) -> discord.ui.Label[Any]:
    field: discord.ui.RadioGroup[Any] = discord.ui.RadioGroup(custom_id=_STRENGTH)
    for key, name in _remix.STRENGTH_NAMES.items():
        label, _, description = t(name).partition(": ")
        field.add_option(
            label=label,
            value=key,
            description=description[:1].upper() + description[1:],
            default=_remix.STRENGTHS[key] == chosen,
        )
    if words_only:
        field.add_option(
            label=t("Words only"),
            value=_WORDS_ONLY,
            description=t("Without the picture, from the prompt"),
        )
    return discord.ui.Label(text=t("How far the picture changes"), component=field)


ACTIONS: dict[str, Action] = {_buttons.REMIX: show}
FORMS: dict[str, Action] = {_buttons.REMIX: take}
