"""The buttons that make a new picture from one of a result; the presser owns it and pays for it."""

from __future__ import annotations

import discord

from cogs import _answer, _buttons, _changes
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._orders import Order
from engine.errors import UnknownJobError

MORE = "Look to one side, or make it larger:"


async def change(interaction: discord.Interaction, press: Press) -> None:
    """Does one of `_changes.CHANGES` to the picture `press.index`."""
    desk = desk_of(interaction)
    private = _buttons.is_private(interaction, press)

    async def order() -> Order:
        generation = await desk.parts.history.get(press.job_id)
        return await _changes.order(desk, press.action, generation, press.index, private=private)

    await desk.orders.place(interaction, order, private=private)


async def more(interaction: discord.Interaction, press: Press) -> None:
    """Shows the presser alone what does not fit below the picture."""
    generation = await _answer.in_time(
        interaction, desk_of(interaction).parts.history.get(press.job_id), ephemeral=True
    )
    if generation.deleted_at is not None:
        raise UnknownJobError(_changes.DELETED)
    rest = "" if _buttons.is_private(interaction, press) else _buttons.PUBLIC
    await _answer.answer(
        interaction, MORE, ephemeral=True, view=_buttons.more_view(press.job_id, rest)
    )


ACTIONS: dict[str, Action] = {**dict.fromkeys(_changes.CHANGES, change), _buttons.MORE: more}
