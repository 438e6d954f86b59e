"""Erasing a person: asked twice, decided at once, carried out whatever happens, told at the end."""

from __future__ import annotations

import logging

import discord

from cogs import _answer, _buttons, _text
from cogs._buttons import Action, Press
from cogs._desk import Desk, desk_of
from engine.errors import RequestError

log = logging.getLogger(__name__)

ASK = (
    "This deletes **everything stored about you**: {pictures}, {jobs} with their "
    "prompts, {stars} and your defaults. Jobs that wait are cancelled, and my messages with "
    "your pictures are deleted one after the other. It cannot be undone; `/privacy export` gives you "
    "a copy first."
)
DONE = (
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
        ASK.format(
            pictures=_text.count(held.pictures, "picture"),
            jobs=_text.count(held.jobs, "job"),
            stars=_text.count(held.stars, "star"),
        ),
        ephemeral=True,
        view=_buttons.view_of(Press(_buttons.MINE, _buttons.ERASE)),
    )


async def confirmed(interaction: discord.Interaction, _: Press) -> None:
    """Erases the person who pressed."""
    desk = desk_of(interaction)
    await _answer.in_time(interaction, erase(desk, interaction.user.id), ephemeral=True)
    if interaction.response.is_done():
        await _answer.answer(interaction, DONE, ephemeral=True)
    else:
        await interaction.response.edit_message(content=DONE, view=None)


async def erase(desk: Desk, person_id: int) -> None:
    """Returns when nothing of the person is stored any more."""
    parts = desk.parts
    # From here on the next start would finish it.
    await parts.privacy.begin_erasure(person_id)
    parts.people.forget(person_id)
    for job in await parts.jobs.waiting_of(person_id):
        # The status line shows the prompt; it is deleted with the other messages, not edited.
        await desk.board.release(job.id)
        try:
            await parts.queue.cancel(job.id)
        except RequestError as error:  # it ended meanwhile
            log.info("Job %s is not cancelled before it is erased: %s", job.id, error)
    await parts.privacy.erase(person_id)
    desk.tidier.wake()


ACTIONS: dict[str, Action] = {_buttons.ERASE: confirmed}
