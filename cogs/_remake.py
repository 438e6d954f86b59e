"""What makes a new picture from one of a result or from a file; whoever asks owns it and pays for it."""

from __future__ import annotations

import discord

from cogs import _answer, _buttons, _changes, _limits, _options, _orders
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._language import N_, t
from cogs._options import Options
from cogs._orders import Order
from cogs._sources import Source
from engine.errors import UnknownJobError
from storage.arrivals import Arrival
from storage.gallery import GONE

FILE_PROMPT = "a sharp, detailed picture"  # of a file that nobody has described
MORE = N_("Look to one side, or make it larger:")


async def change(interaction: discord.Interaction, press: Press) -> None:
    """Does one of `_changes.CHANGES` to the picture `press.index`."""
    desk = desk_of(interaction)
    private = _buttons.is_private(interaction, press)

    async def order() -> Order:
        generation = await desk.parts.history.get(press.job_id, reader_id=interaction.user.id)
        return await _changes.order(
            desk,
            press.action,
            generation,
            press.index,
            private=private,
            limits=_limits.of(interaction),
        )

    await desk.orders.place(interaction, order, private=private)


async def change_file(
    interaction: discord.Interaction, source: Source, action: str, *, private: bool
) -> None:
    """Does one of `_changes.CHANGES` to a file that Discord has.

    Raises:
        RequestError: It can be said before the file is looked at that it is of no use.
    """
    desk = desk_of(interaction)
    _orders.check_permissions(interaction, private=private)
    desk.arrivals.check(source.address or "", source.size)
    request = _options.request_from(
        Options(prompt=FILE_PROMPT), desk.info(), limits=_limits.of(interaction)
    )
    order = Order(request, action=action, private=private, spoiler=source.spoiler)
    submission = _orders.submission_of(interaction, order, _orders.origin_of(interaction))
    arrival = Arrival(submission, source.address or "", 0.0, takes_size=False)
    await desk.arrivals.place(interaction, arrival)


async def more(interaction: discord.Interaction, press: Press) -> None:
    """Shows the presser alone what does not fit below the picture."""
    reading = desk_of(interaction).parts.history.get(press.job_id, reader_id=interaction.user.id)
    generation = await _answer.in_time(interaction, reading, ephemeral=True)
    if generation.deleted_at is not None:
        raise UnknownJobError(GONE)
    rest = "" if _buttons.is_private(interaction, press) else _buttons.PUBLIC
    await _answer.answer(
        interaction, t(MORE), ephemeral=True, view=_buttons.more_view(press.job_id, rest)
    )


ACTIONS: dict[str, Action] = {**dict.fromkeys(_changes.CHANGES, change), _buttons.MORE: more}
