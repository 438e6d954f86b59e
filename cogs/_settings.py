"""A person's defaults as a card, and the form that changes them."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import discord

from cogs import _answer, _buttons, _forms, _text
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._options import ASPECTS, NO_NEGATIVE, Quality
from engine.errors import InvalidRequestError
from engine.types import MAX_IMAGES, MAX_PROMPT_LENGTH
from storage.people import NOTHING_SET, Preferences

TITLE = "Your defaults"
INTRO = "They count when you leave an option out. An option or a flag in the prompt always wins."
UNSET = "not set"
NEGATIVE = "Negative prompt"
_NEGATIVE_SHOWN = 300

_NONE = "unset"  # Discord takes no empty value
_PRIVATE = "private"
_DM_COPIES = "dm_copies"
_QUALITIES = {
    Quality.DRAFT: "half the steps, half the cost",
    Quality.STANDARD: "the model's own steps",
    Quality.HD: "more steps, 1.5x the size, about 3x the cost",
}
_Field = TypeVar("_Field", bound=discord.ui.Item[Any])


def card(preferences: Preferences) -> discord.Embed:
    """Returns what the person set."""
    embed = discord.Embed(title=TITLE, description=INTRO)
    for name, value in words(preferences).items():
        embed.add_field(name=name, value=value, inline=name != NEGATIVE)
    return embed


def words(preferences: Preferences) -> dict[str, str]:
    """Returns what the person set, or that it is not, by its name for people."""
    negative = preferences.negative
    if negative is not None:
        negative = _text.shown(negative, _NEGATIVE_SHOWN)
    return {
        NEGATIVE: negative or UNSET,
        "Shape": preferences.aspect or UNSET,
        "Pictures at a time": str(preferences.count) if preferences.count else UNSET,
        "Quality": preferences.quality or UNSET,
        "Style": _text.shown(preferences.style or UNSET, _NEGATIVE_SHOWN),
        "Who sees the pictures": "only you" if preferences.private else "everybody in the channel",
        "Copies by DM": "yes" if preferences.dm_copies else "no",
    }


async def change(interaction: discord.Interaction, _: Press) -> None:
    """Opens the form with what is set now."""
    now = desk_of(interaction).parts.people.preferences(interaction.user.id)
    aspect: discord.ui.Select[Any] = discord.ui.Select(
        custom_id="aspect",
        options=[
            discord.SelectOption(label="not set (the model's own size)", value=_NONE),
            *(discord.SelectOption(label=aspect, value=aspect) for aspect in ASPECTS),
        ],
    )
    count: discord.ui.Select[Any] = discord.ui.Select(
        custom_id="count",
        options=[
            discord.SelectOption(label="not set (1)", value=_NONE),
            *(discord.SelectOption(label=str(n), value=str(n)) for n in range(1, MAX_IMAGES + 1)),
        ],
    )
    for select, value in ((aspect, now.aspect), (count, now.count)):
        for option in select.options:
            option.default = option.value == (_NONE if value is None else str(value))
    quality: discord.ui.RadioGroup[Any] = discord.ui.RadioGroup(custom_id="quality")
    quality.add_option(label="not set", value=_NONE, default=now.quality is None)
    for value, description in _QUALITIES.items():
        quality.add_option(
            label=value, value=value, description=description, default=now.quality == value
        )
    switches: discord.ui.CheckboxGroup[Any] = discord.ui.CheckboxGroup(
        custom_id="switches", required=False, min_values=0, max_values=2
    )
    switches.add_option(
        label="Private", value=_PRIVATE, description="Only you see them", default=bool(now.private)
    )
    switches.add_option(
        label="Copies by DM",
        value=_DM_COPIES,
        description="Every finished picture also comes as a direct message",
        default=bool(now.dm_copies),
    )
    negative: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id="negative",
        style=discord.TextStyle.paragraph,
        default=now.negative,
        required=False,
        max_length=MAX_PROMPT_LENGTH,
    )
    await _forms.send(
        interaction,
        Press(_buttons.MINE, _buttons.SETTINGS),
        TITLE,
        _label("Shape", aspect),
        _label("Pictures at a time", count),
        _label("Quality", quality),
        _label(
            NEGATIVE,
            negative,
            f'What to keep out of every picture; "{NO_NEGATIVE}" for nothing, empty for the model\'s own',
        ),
        _label("More", switches),
    )


async def reset(interaction: discord.Interaction, _: Press) -> None:
    """Forgets all defaults; mixes are no defaults."""
    now = desk_of(interaction).parts.people.preferences(interaction.user.id)
    await _store(interaction, dataclasses.replace(NOTHING_SET, mixes=now.mixes))


async def save(interaction: discord.Interaction, _: Press) -> None:
    """Takes the form."""
    entered = _forms.values(interaction)
    switches = entered.get("switches") or []
    now = desk_of(interaction).parts.people.preferences(interaction.user.id)
    await _store(
        interaction,
        dataclasses.replace(
            now,
            negative=_negative(entered.get("negative")),
            aspect=_choice("shape", entered.get("aspect"), ASPECTS),
            count=_count(entered.get("count")),
            quality=_choice("quality", entered.get("quality"), tuple(Quality)),
            private=True if _PRIVATE in switches else None,
            dm_copies=True if _DM_COPIES in switches else None,
        ),
    )


async def _store(interaction: discord.Interaction, preferences: Preferences) -> None:
    user = interaction.user
    people = desk_of(interaction).parts.people
    await _answer.in_time(
        interaction,
        people.set_preferences(user.id, user.display_name, preferences),
        ephemeral=True,
    )
    embed = card(preferences)
    if interaction.message is not None and not interaction.response.is_done():
        await interaction.response.edit_message(
            embed=embed, view=_buttons.settings_view(), attachments=[]
        )
    else:
        await _answer.answer(
            interaction, ephemeral=True, embed=embed, view=_buttons.settings_view()
        )


def _negative(entered: object) -> str | None:
    text = str(entered or "").strip()
    if len(text) > MAX_PROMPT_LENGTH:
        raise InvalidRequestError(
            f"The negative prompt has {len(text):,} characters, the limit is {MAX_PROMPT_LENGTH:,}. "
            "Shorten it."
        )
    return text or None


def _choice(name: str, entered: object, known: tuple[str, ...]) -> str | None:
    picked = entered[0] if isinstance(entered, list) and entered else entered
    if picked in (None, [], _NONE):
        return None
    if picked not in known:
        raise InvalidRequestError(
            f"There is no {name} {_text.plain(str(picked), 40)!r}. Choose one of: {', '.join(known)}."
        )
    return str(picked)


def _count(entered: object) -> int | None:
    numbers = tuple(str(number) for number in range(1, MAX_IMAGES + 1))
    picked = _choice("number of pictures", entered, numbers)
    return None if picked is None else int(picked)


def _label(text: str, field: _Field, description: str | None = None) -> discord.ui.Label[Any]:
    return discord.ui.Label(text=text, component=field, description=description)


ACTIONS: dict[str, Action] = {_buttons.SETTINGS: change, _buttons.RESET: reset}
FORMS: dict[str, Action] = {_buttons.SETTINGS: save}
