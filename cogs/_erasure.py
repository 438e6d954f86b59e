"""Erasing a person: asked twice, decided at once, carried out whatever happens, told at the end."""

from __future__ import annotations

import logging

import discord

from cogs import _answer, _buttons, _counts
from cogs._buttons import Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from engine.errors import RequestError

log = logging.getLogger(__name__)

ASK = N_(
    "This deletes **everything stored about you**: {pictures}, {jobs} with all that you "
    "typed, {stars} and your defaults. Jobs that wait are cancelled, and my messages with "
    "your pictures are deleted one after the other. It cannot be undone; `/privacy export` gives you "
    "a copy first."
)
DONE = N_(
    "Everything that was stored about you is deleted. My messages with your pictures follow, about "
    "one a second."
)


async def ask(interaction: discord.Interaction, desk: Desk) -> None:
    """Says what would go, with the button that does it."""
    held = await _answer.in_time(
        interaction, desk.parts.privacy.holdings(interaction.user.id), ephemeral=True
    )
    await _answer.answer(
        interaction,
        t(
            ASK,
            pictures=_counts.pictures(held.pictures),
            jobs=_counts.jobs(held.jobs),
            stars=_counts.stars(held.stars),
        ),
        ephemeral=True,
        view=_buttons.view_of(Press(_buttons.MINE, _buttons.ERASE)),
    )


async def confirmed(interaction: discord.Interaction, _: Press) -> None:
    """Erases the person who pressed."""
    desk = desk_of(interaction)
    await _answer.in_time(interaction, erase(desk, interaction.user.id), ephemeral=True)
    if interaction.response.is_done():
        await _answer.answer(interaction, t(DONE), ephemeral=True)
    else:
        await interaction.response.edit_message(content=t(DONE), view=None)


async def erase(desk: Desk, person_id: int) -> None:
    """Returns when nothing of the person is stored any more."""
    parts = desk.parts
    await desk.arrivals.stop(person_id)  # or their jobs would come after it
    # From here on the next start would finish it.
    waiting = await parts.privacy.begin_erasure(person_id)
    parts.people.forget(person_id)
    parts.poses.forget(person_id)
    for job_id in waiting:
        # The status line shows the prompt; it is deleted with the other messages, not edited.
        await desk.board.forget(job_id)
        try:
            await parts.queue.cancel(job_id)
        except RequestError as error:  # it ended meanwhile
            log.info("Job %s is not cancelled before it is erased: %s", job_id, error)
    await parts.privacy.erase(person_id)
    desk.tidier.wake()
    desk.mod_channel.wake()


ACTIONS: dict[str, Action] = {_buttons.ERASE: confirmed}
