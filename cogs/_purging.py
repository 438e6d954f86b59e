"""Removing old pictures: first how much that would be, then, pressed by an owner, the deed."""

from __future__ import annotations

import discord

from cogs import _answer, _buttons, _counts
from cogs._authority import Reach, only_pressed_by
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._language import N_, t
from engine.errors import InvalidRequestError

MAX_DAYS = 3650

ASK = N_(
    "{pictures} ({size}) are older than {days} days and nobody starred them. Deleting them frees the "
    "disk; how they were made stays in the history, their messages stay in Discord, and their "
    "buttons then say that the picture is gone. It cannot be undone."
)
NOTHING = N_("No picture without a star is older than {days} days.")
DONE = N_("Deleted: {pictures} ({size}) that were older than {days} days.")


async def ask(interaction: discord.Interaction, days: int) -> None:
    """Says what would go, with the button that does it."""
    purge = desk_of(interaction).parts.purge
    found = await _answer.in_time(interaction, purge.preview(days), ephemeral=True)
    if not found.jobs:
        await _answer.answer(interaction, t(NOTHING, days=days), ephemeral=True)
        return
    pictures, size = _counts.pictures(found.pictures), _counts.size(found.size_bytes)
    view = _buttons.view_of(Press(_buttons.MINE, _buttons.PURGE, rest=str(days)))
    text = t(ASK, pictures=pictures, size=size, days=days)
    await _answer.answer(interaction, text, ephemeral=True, view=view)


@only_pressed_by(Reach.OWNER)
async def confirmed(interaction: discord.Interaction, press: Press) -> None:
    """Deletes them."""
    days = int(press.rest) if press.rest.isdecimal() and len(press.rest) < 5 else 0
    if not 1 <= days <= MAX_DAYS:
        raise InvalidRequestError(_buttons.UNKNOWN_BUTTON)
    desk = desk_of(interaction)
    work = desk.parts.purge.run(days, interaction.user.id)
    gone = await _answer.in_time(interaction, work, ephemeral=True)
    desk.mod_channel.wake()
    pictures, size = _counts.pictures(gone.pictures), _counts.size(gone.size_bytes)
    text = t(DONE, pictures=pictures, size=size, days=days)
    if interaction.response.is_done():
        await _answer.answer(interaction, text, ephemeral=True)
    else:
        await interaction.response.edit_message(content=text, view=None)


ACTIONS: dict[str, Action] = {_buttons.PURGE: confirmed}
