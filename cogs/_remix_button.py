"""The form of the Remix button: the old words, to be changed, and how far the picture goes with them."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import discord

from cogs import _buttons, _flags, _forms, _remix
from cogs._buttons import Press
from cogs._desk import Desk, desk_of
from cogs._options import NO_NEGATIVE, Options
from cogs._orders import Order
from cogs._sources import Source
from engine.errors import InvalidRequestError
from engine.types import MAX_PROMPT_LENGTH, Generation

TITLE = "Remix"
SLOW = "I could not look the picture up in time. Press the button again."

_PROMPT, _NEGATIVE, _STRENGTH, _PICTURE, _FILE = "prompt", "negative", "strength", "picture", "file"
_WORDS_ONLY = "words"
_READ_S = 2.0  # a form has to be the first answer, within 3 s


async def show(interaction: discord.Interaction, press: Press) -> None:
    """Opens the form with what made the picture."""
    try:
        async with asyncio.timeout(_READ_S):
            generation = await _look_up(desk_of(interaction), press)
    except TimeoutError as error:
        raise InvalidRequestError(SLOW) from error
    await _forms.send(interaction, press, TITLE, *_fields(generation))


async def take(interaction: discord.Interaction, press: Press) -> None:
    """Starts what the form asks for; whoever sent it owns and pays it."""
    desk = desk_of(interaction)
    entered = _forms.values(interaction)
    generation = await _look_up(desk, press)
    private = _buttons.is_private(interaction, press)
    negative = str(entered.get(_NEGATIVE) or "").strip() or NO_NEGATIVE
    options = Options(prompt=entered.get(_PROMPT), negative=negative)
    options, said_private = _flags.read(options, private=True if private else None)
    private = bool(said_private)
    chosen = entered.get(_STRENGTH)
    source = Source(generation, _index(entered.get(_PICTURE), press))
    if (file := _forms.file(interaction, _FILE)) is not None:
        source = dataclasses.replace(source, address=file[0], size=file[1])
        chosen = "strong" if chosen == _WORDS_ONLY else chosen
    if chosen == _WORDS_ONLY:
        await _from_words(interaction, desk, source, options, private=private)
    else:
        strength = _remix.strength_of(chosen, None)
        await _remix.place(interaction, desk, source, options, strength=strength, private=private)


async def _from_words(
    interaction: discord.Interaction, desk: Desk, source: Source, options: Options, *, private: bool
) -> None:
    request = _remix.request_of(
        source,
        options,
        desk.info(),
        desk.parts.people.preferences(interaction.user.id),
        default_negative_prompt=desk.parts.settings.default_negative_prompt,
    )
    generation = source.generation
    placed = Order(
        request,
        action=_remix.REMIX,
        parent_id=generation.id if generation is not None else None,
        private=private,
        spoiler=generation is not None and generation.submission.destination.spoiler,
    )

    async def order() -> Order:
        return placed

    await desk.orders.place(interaction, order, private=private)


def _fields(generation: Generation) -> list[discord.ui.Label[Any]]:
    negative = generation.request.negative_prompt
    words: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_PROMPT,
        style=discord.TextStyle.paragraph,
        default=generation.request.prompt,
        max_length=MAX_PROMPT_LENGTH,
    )
    unwanted: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_NEGATIVE, default=negative or None, required=False, max_length=MAX_PROMPT_LENGTH
    )
    strength: discord.ui.RadioGroup[Any] = discord.ui.RadioGroup(custom_id=_STRENGTH)
    for key, name in _remix.STRENGTH_NAMES.items():
        label, _, description = name.partition(": ")
        strength.add_option(
            label=label,
            value=key,
            description=description[:1].upper() + description[1:],
            default=_remix.STRENGTHS[key] == _remix.STRENGTH,
        )
    strength.add_option(
        label="Words only", value=_WORDS_ONLY, description="Without the picture, from the prompt"
    )
    file: discord.ui.FileUpload[Any] = discord.ui.FileUpload(
        custom_id=_FILE, required=False, min_values=0, max_values=1
    )
    fields: list[discord.ui.Label[Any]] = [
        discord.ui.Label(text="Prompt", component=words),
        discord.ui.Label(
            text="Negative prompt", component=unwanted, description="What to keep out"
        ),
        discord.ui.Label(text="How far the picture changes", component=strength),
    ]
    if len(generation.pictures) > 1:
        picture: discord.ui.RadioGroup[Any] = discord.ui.RadioGroup(custom_id=_PICTURE)
        for number in range(1, len(generation.pictures) + 1):
            picture.add_option(label=f"Picture {number}", value=str(number), default=number == 1)
        fields.append(discord.ui.Label(text="Which one", component=picture))
    fields.append(
        discord.ui.Label(
            text="Another picture",
            component=file,
            description="To start from it in place of the one above: PNG, JPEG or WebP",
        )
    )
    return fields


def _index(entered: object, press: Press) -> int:
    """Returns the 0-based picture; a forged number is refused where the picture is looked up."""
    text = str(entered or "")
    return int(text) - 1 if text.isascii() and text.isdigit() and len(text) < 3 else press.index


async def _look_up(desk: Desk, press: Press) -> Generation:
    generation = await desk.parts.history.get(press.job_id)
    _ = Source(generation, press.index).sha256  # it is there
    return generation
