"""The buttons below a picture that is held back: **Release**, **Delete** and **Show**, for moderators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import discord

from cogs import _answer, _buttons, _parcel, _text
from cogs._authority import Reach, only_pressed_by
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._language import N_, t
from engine.errors import UnknownJobError
from storage.cases import Case, Kind

RELEASED = N_("Released: it comes where it was asked for in a moment.")
DELETED = N_("The picture is deleted, and its owner is told that it is not released.")
DECIDED = N_("That was decided already, or its owner has deleted the picture.")
GONE = N_("This picture was deleted.")


@only_pressed_by(Reach.MODERATOR)
async def release(interaction: discord.Interaction, press: Press) -> None:
    """Lets the picture be delivered."""
    await _decide(interaction, press, desk_of(interaction).parts.cases.release, RELEASED)


@only_pressed_by(Reach.MODERATOR)
async def delete(interaction: discord.Interaction, press: Press) -> None:
    """Deletes the picture; its owner is told and gets the cost back."""
    await _decide(interaction, press, desk_of(interaction).parts.cases.delete_held, DELETED)


@only_pressed_by(Reach.MODERATOR)
async def show(interaction: discord.Interaction, press: Press) -> None:
    """Shows the moderator alone what it is about."""
    desk = desk_of(interaction)

    async def work() -> list[discord.File]:
        case = await _case(interaction, press)
        generation = await desk.parts.history.get(case.job_id)
        if not generation.pictures:
            raise UnknownJobError(GONE)
        return await _parcel.files_of(
            generation.id,
            generation.pictures,
            desk.parts.pictures,
            interaction.filesize_limit,
            alt_text=_text.plain(generation.request.prompt, _text.MAX_ALT_TEXT),
            spoiler=True,
        )

    files = await _answer.in_time(interaction, work(), ephemeral=True)
    await _answer.answer(interaction, ephemeral=True, files=files)


async def _decide(
    interaction: discord.Interaction,
    press: Press,
    settle: Callable[..., Awaitable[bool]],
    said: str,
) -> None:
    """Settles the case, which is false when that was done before, and says what came of it."""
    desk = desk_of(interaction)

    async def work() -> bool:
        case = await _case(interaction, press)
        is_new = await settle(case, actor_id=interaction.user.id)
        if is_new:
            await desk.parts.queue.tell_again(case.job_id)
        return is_new

    is_new = await _answer.in_time(interaction, work(), ephemeral=True)
    desk.mod_channel.wake()
    desk.tidier.wake()
    await _answer.answer(interaction, t(said if is_new else DECIDED), ephemeral=True)


async def _case(interaction: discord.Interaction, press: Press) -> Case:
    assert interaction.guild_id is not None  # only moderators of a server come here
    cases = desk_of(interaction).parts.cases
    return await cases.get(press.job_id, Kind.HELD, interaction.guild_id)


ACTIONS: dict[str, Action] = {
    _buttons.HELD_RELEASE: release,
    _buttons.HELD_DELETE: delete,
    _buttons.HELD_SHOW: show,
}
