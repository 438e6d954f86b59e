"""A person's defaults as a card, and the two forms that change them: a form holds five fields."""

from __future__ import annotations

import dataclasses
from typing import Any

import discord

from cogs import _answer, _buttons, _forms, _language, _setting_fields as _fields
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._language import N_, t
from storage.people import LANGUAGES, NOTHING_SET, Preferences

TITLE = N_("Your defaults")
INTRO = N_(
    "They count when you leave an option out. An option or a flag in the prompt always wins; "
    "what you have not set is as in this channel or server."
)
PRIVATE = N_("Who sees the pictures")
DM_COPIES = N_("Copies by DM")

_PRIVATE = "private"
_DM_COPIES = "dm_copies"


def card(preferences: Preferences) -> discord.Embed:
    """Returns what the person set."""
    embed = discord.Embed(title=t(TITLE), description=t(INTRO))
    for name, value in words(preferences).items():
        embed.add_field(name=t(name), value=value, inline=name != _fields.NEGATIVE)
    return embed


def words(preferences: Preferences) -> dict[str, str]:
    """Returns what the person set, or that it is not, by its English name."""
    strength = preferences.remix_strength
    return {
        **_fields.words(preferences),
        _fields.REMIX: _fields.strength_name(strength) if strength else t(_fields.UNSET),
        _fields.LANGUAGE: LANGUAGES.get(preferences.language or "", t(_fields.AUTO)),
        PRIVATE: t("only you") if preferences.private else t("everybody in the channel"),
        DM_COPIES: t("yes") if preferences.dm_copies else t("no"),
    }


async def change(interaction: discord.Interaction, _: Press) -> None:
    """Opens the form with what is set now."""
    now = _now(interaction)
    switches: discord.ui.CheckboxGroup[Any] = discord.ui.CheckboxGroup(
        custom_id="switches", required=False, min_values=0, max_values=2
    )
    switches.add_option(
        label=t("Private"),
        value=_PRIVATE,
        description=t("Only you see them"),
        default=bool(now.private),
    )
    switches.add_option(
        label=t(DM_COPIES),
        value=_DM_COPIES,
        description=t("Every finished picture also comes as a direct message"),
        default=bool(now.dm_copies),
    )
    await _forms.send(
        interaction,
        Press(_buttons.MINE, _buttons.SETTINGS),
        t(TITLE),
        _fields.aspect(now),
        _fields.count(now),
        _fields.quality(now),
        _fields.negative(now),
        _fields.label(t("More"), switches),
    )


async def change_more(interaction: discord.Interaction, _: Press) -> None:
    """Opens the form for the rest."""
    now = _now(interaction)
    await _forms.send(
        interaction,
        Press(_buttons.MINE, _buttons.SETTINGS_MORE),
        t(TITLE),
        _fields.style(now),
        _fields.remix_strength(now),
        _fields.language(now),
    )


async def reset(interaction: discord.Interaction, _: Press) -> None:
    """Forgets all defaults; mixes are no defaults."""
    await _store(interaction, dataclasses.replace(NOTHING_SET, mixes=_now(interaction).mixes))


async def save(interaction: discord.Interaction, _: Press) -> None:
    """Takes the first form."""
    entered = _forms.values(interaction)
    switches = entered.get("switches") or []
    await _store(
        interaction,
        dataclasses.replace(
            _now(interaction),
            negative=_fields.entered_negative(entered),
            aspect=_fields.entered_aspect(entered),
            count=_fields.entered_count(entered),
            quality=_fields.entered_quality(entered),
            private=True if _PRIVATE in switches else None,
            dm_copies=True if _DM_COPIES in switches else None,
        ),
    )


async def save_more(interaction: discord.Interaction, _: Press) -> None:
    """Takes the second form."""
    entered = _forms.values(interaction)
    now = _now(interaction)
    styles = desk_of(interaction).parts.styles.here(interaction.guild_id)
    changed = dataclasses.replace(
        now,
        style=now.style
        if entered.get("style") == now.style
        else _fields.entered_style(entered, styles, now.mixes or {}),
        remix_strength=_fields.entered_remix_strength(entered),
        language=_fields.entered_language(entered),
    )
    if changed.language != now.language:  # the card is in the new one
        _language.speak(changed.language or interaction.locale)
    await _store(interaction, changed)


def _now(interaction: discord.Interaction) -> Preferences:
    return desk_of(interaction).parts.people.preferences(interaction.user.id)


async def _store(interaction: discord.Interaction, preferences: Preferences) -> None:
    user = interaction.user
    people = desk_of(interaction).parts.people
    await _answer.in_time(
        interaction,
        people.set_preferences(user.id, user.display_name, preferences),
        ephemeral=True,
    )
    await show(interaction, card(preferences), _buttons.settings_view())


async def show(
    interaction: discord.Interaction, embed: discord.Embed, view: discord.ui.View
) -> None:
    """Shows a card anew in the message with its button, or as the answer."""
    if interaction.message is not None and not interaction.response.is_done():
        await interaction.response.edit_message(embed=embed, view=view, attachments=[])
    else:
        await _answer.answer(interaction, ephemeral=True, embed=embed, view=view)


ACTIONS: dict[str, Action] = {
    _buttons.SETTINGS: change,
    _buttons.SETTINGS_MORE: change_more,
    _buttons.RESET: reset,
}
FORMS: dict[str, Action] = {_buttons.SETTINGS: save, _buttons.SETTINGS_MORE: save_more}
