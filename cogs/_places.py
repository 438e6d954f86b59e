"""Defaults of a channel or a server as a card, and the form that changes them: for its moderators."""

from __future__ import annotations

import dataclasses

import discord

from cogs import _answer, _buttons, _forms, _setting_fields as _fields, _settings, _whereabouts
from cogs._buttons import MINE, Action, Press
from cogs._desk import desk_of
from cogs._language import N_, t
from engine.errors import InvalidRequestError, NotAllowedError
from storage.people import NOTHING_SET, Preferences

CHANNEL, SERVER = "channel", "server"

TITLES = {CHANNEL: N_("Defaults of this channel"), SERVER: N_("Defaults of this server")}
INTROS = {
    CHANNEL: N_(
        "They count here, and in the threads of this channel, for everybody who leaves an option out "
        "and has nothing set in /settings. They win over the defaults of the server."
    ),
    SERVER: N_(
        "They count in all channels for everybody who leaves an option out and has nothing set in "
        "/settings, unless the channel has another default."
    ),
}
ONLY_SERVERS = N_("Only servers and their channels have such defaults. Your own are in /settings.")
NEEDS_CHANNEL = N_(
    "Only people with the permission Manage Channels or Manage Server can change what counts here. "
    "Your own defaults are in /settings."
)
NEEDS_SERVER = N_(
    "Only people with the permission Manage Server can change what counts in the whole server. "
    "Your own defaults are in /settings."
)


async def open_for(interaction: discord.Interaction, where: str) -> None:
    """Answers with the card of the channel or the server that the interaction comes from.

    Raises:
        NotAllowedError: The person may not change them.
    """
    _check(interaction, where)
    embed, view = _card(where, _now(interaction, where)), _view(where)
    await _answer.answer(interaction, ephemeral=True, embed=embed, view=view)


async def change(interaction: discord.Interaction, press: Press) -> None:
    """Opens the form with what is set now."""
    where = press.rest
    _check(interaction, where)
    now = _now(interaction, where)
    await _forms.send(
        interaction,
        Press(MINE, _buttons.PLACE, rest=where),
        t(TITLES[where]),
        _fields.aspect(now),
        _fields.count(now),
        _fields.quality(now),
        _fields.negative(now),
        _fields.style(now),
    )


async def save(interaction: discord.Interaction, press: Press) -> None:
    """Takes the form."""
    _check(interaction, press.rest)
    entered = _forms.values(interaction)
    styles = desk_of(interaction).parts.styles.here(interaction.guild_id)
    changed = dataclasses.replace(
        _now(interaction, press.rest),
        negative=_fields.entered_negative(entered),
        aspect=_fields.entered_aspect(entered),
        count=_fields.entered_count(entered),
        quality=_fields.entered_quality(entered),
        style=_fields.entered_style(entered, styles, {}),
    )
    await _store(interaction, press.rest, changed)


async def reset(interaction: discord.Interaction, press: Press) -> None:
    """Forgets all of them."""
    _check(interaction, press.rest)
    await _store(interaction, press.rest, NOTHING_SET)


async def _store(interaction: discord.Interaction, where: str, defaults: Preferences) -> None:
    places, person_id = desk_of(interaction).parts.places, interaction.user.id
    guild_id = interaction.guild_id or 0
    if where == SERVER:
        work = places.set_server(guild_id, defaults, actor_id=person_id)
    else:
        channel_id = _whereabouts.channel_of(interaction)
        work = places.set_channel(guild_id, channel_id, defaults, actor_id=person_id)
    await _answer.in_time(interaction, work, ephemeral=True)
    await _settings.show(interaction, _card(where, defaults), _view(where))


def _check(interaction: discord.Interaction, where: str) -> None:
    """Raises NotAllowedError when the person may not change these defaults, here and now."""
    if where not in TITLES:
        raise InvalidRequestError(_buttons.UNKNOWN_BUTTON)
    if interaction.guild_id is None:
        raise NotAllowedError(ONLY_SERVERS)
    mine = interaction.permissions
    may = mine.administrator or mine.manage_guild
    if where == CHANNEL and not (may or mine.manage_channels):
        raise NotAllowedError(NEEDS_CHANNEL)
    if where == SERVER and not may:
        raise NotAllowedError(NEEDS_SERVER)


def _now(interaction: discord.Interaction, where: str) -> Preferences:
    places = desk_of(interaction).parts.places
    if where == SERVER:
        return places.server(interaction.guild_id or 0)
    return places.channel(_whereabouts.channel_of(interaction))


def _card(where: str, defaults: Preferences) -> discord.Embed:
    embed = discord.Embed(title=t(TITLES[where]), description=t(INTROS[where]))
    for name, value in _fields.words(defaults).items():
        embed.add_field(name=t(name), value=value, inline=name != _fields.NEGATIVE)
    return embed


def _view(where: str) -> discord.ui.View:
    return _buttons.view_of(
        Press(MINE, _buttons.PLACE, rest=where), Press(MINE, _buttons.PLACE_RESET, rest=where)
    )


ACTIONS: dict[str, Action] = {_buttons.PLACE: change, _buttons.PLACE_RESET: reset}
FORMS: dict[str, Action] = {_buttons.PLACE: save}
