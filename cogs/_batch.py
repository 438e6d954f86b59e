"""Several jobs of one command: the cost is told first when they are many, and all or none are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import discord

from cogs import _allowance, _answer, _buttons, _errors, _limits, _orders
from cogs._buttons import MINE, Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from cogs._orders import Order
from engine import sheets
from engine.errors import RequestError
from engine.types import Job, Submission

MAKE = "batch_make"
FREE_PICTURES = 4  # more are made only after a question
ASK = N_("That is {count} pictures. They cost {cost:.4g}. Make them?")
ASK_LEFT = N_(
    "That is {count} pictures. They cost {cost:.4g} of the {left:.4g} that you have left today. "
    "Make them?"
)
TOO_LATE = N_("This question is too old. Use the command again.")
_REMEMBERED = 200  # questions that nobody has answered


@dataclass(frozen=True, slots=True)
class Wanted:
    """Jobs that somebody asked for and has not confirmed.

    Attributes:
        owner_id: Who asked.
        orders: What to make, in order.
        as_sheet: They are shown together, see `engine.sheets`.
    """

    owner_id: int
    orders: tuple[Order, ...]
    as_sheet: bool = False

    @property
    def private(self) -> bool:
        """True when only the person who asked sees them."""
        return self.orders[0].private

    @property
    def pictures(self) -> int:
        """How many there will be."""
        return sum(order.request.num_images for order in self.orders)


_asked: dict[str, Wanted] = {}  # a question is answered at once or asked again


async def ask(interaction: discord.Interaction, desk: Desk, wanted: Wanted) -> None:
    """Makes a few pictures at once, and tells the cost of more first."""
    _orders.check_permissions(interaction, private=wanted.private)
    for submission in _submissions(interaction, wanted):
        await desk.parts.queue.check(submission)
    if wanted.pictures <= FREE_PICTURES:
        await place(interaction, desk, wanted)
        return
    info = desk.info()
    cost = sum(info.cost(order.request) for order in wanted.orders)
    usage = await _answer.in_time(
        interaction,
        desk.parts.ledger.usage(interaction.user.id, _limits.of(interaction)),
        ephemeral=True,
    )
    _asked[str(interaction.id)] = wanted
    while len(_asked) > _REMEMBERED:
        del _asked[next(iter(_asked))]
    view = discord.ui.View(timeout=None)
    label = t("Make {count} pictures", count=wanted.pictures)
    view.add_item(_buttons.button(Press(MINE, MAKE, 0, str(interaction.id)), label))
    left = _allowance.left(usage)
    text = t(ASK_LEFT if usage.daily > 0 else ASK, count=wanted.pictures, cost=cost, left=left)
    await _answer.answer(interaction, text, ephemeral=True, view=view)


async def confirmed(interaction: discord.Interaction, press: Press) -> None:
    """Makes what was asked about."""
    wanted = _asked.pop(press.rest, None)  # pressed twice, it is made once
    if wanted is None or wanted.owner_id != interaction.user.id:
        await _errors.say(interaction, t(TOO_LATE))
        return
    try:
        await place(interaction, desk_of(interaction), wanted)
    except RequestError:
        _asked[press.rest] = wanted  # refused, it can be tried again
        raise


async def place(interaction: discord.Interaction, desk: Desk, wanted: Wanted) -> None:
    """Stores all jobs and answers with the first one's status line."""
    key = sheets.key_of(interaction.id, is_sheet=wanted.as_sheet)
    submissions = _submissions(interaction, wanted)

    async def submit() -> Job:
        return await _submit_all(desk, submissions)

    await desk.orders.place_batch(interaction, submit, key, private=wanted.private)


def _submissions(interaction: discord.Interaction, wanted: Wanted) -> list[Submission]:
    key = sheets.key_of(interaction.id, is_sheet=wanted.as_sheet)
    return [
        _orders.submission_of(
            interaction, order, sheets.origin_of(key, cell), batch_pictures=wanted.pictures
        )
        for cell, order in enumerate(wanted.orders)
    ]


async def _submit_all(desk: Desk, submissions: Sequence[Submission]) -> Job:
    """Submits all or none of them."""
    placed: list[Job] = []
    try:
        for submission in submissions:
            job = await desk.parts.queue.submit(submission)
            placed.append(job)
    except BaseException:
        for job in placed:
            await desk.parts.queue.cancel(job.id)
        raise
    return placed[0]


ACTIONS: dict[str, Action] = {MAKE: confirmed}
