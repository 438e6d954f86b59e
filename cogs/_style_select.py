"""The field of a form that chooses a style."""

from __future__ import annotations

from typing import Any

import discord

from cogs import _styles, _text
from cogs._desk import Desk
from cogs._language import t

STYLE = "style"
_KEEP = ":keep"  # no style is called so
_MOST = 25  # options


def field(desk: Desk, interaction: discord.Interaction) -> discord.ui.Label[Any] | None:
    """Returns the field with the person's mixes and the styles there are; None without any."""
    mixes = desk.parts.people.preferences(interaction.user.id).mixes or {}
    usable = desk.parts.styles.here(interaction.guild_id).usable()
    names = list(dict.fromkeys([*mixes, *(one.name for one in usable)]))
    if not names:
        return None
    select: discord.ui.Select[Any] = discord.ui.Select(custom_id=STYLE)
    select.add_option(label=t("As before"), value=_KEEP, default=True)
    select.add_option(label=t("No style"), value=_styles.NONE)
    for name in names[: _MOST - len(select.options)]:
        select.add_option(label=_text.plain(name, 100), value=name)
    return discord.ui.Label(text=t("Style"), component=select)


def chosen(entered: object) -> str | None:
    """Returns the style that was picked; None to leave it as it is."""
    picked = entered[0] if isinstance(entered, list) and entered else None
    return None if picked in (None, _KEEP) else str(picked)
