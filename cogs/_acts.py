"""Who changed what: the audit, page by page, for the bot's owners."""

from __future__ import annotations

from typing import Any

import discord

from cogs import _buttons, _errors, _pages, _settings, _text
from cogs._answer import in_time
from cogs._authority import Reach, only_pressed_by
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._language import N_, t
from engine.errors import InvalidRequestError
from storage.audit import Entry

TITLE = N_("What was done")
NOTHING = N_("Nothing was done by those who look after me.")

_ON_A_PAGE = 10
_MAX_TEXT = 4000


async def show(interaction: discord.Interaction, person_id: int = 0, before: int = 0) -> None:
    """Shows a page: acts of the person, or of all for 0, older than a number, or the newest for 0."""
    found = await in_time(
        interaction,
        desk_of(interaction).parts.audit.newest(
            _ON_A_PAGE + 1, before=before or None, actor_id=person_id or None
        ),
        ephemeral=True,
    )
    entries = found[:_ON_A_PAGE]
    text = _text.joined_within([_line(entry) for entry in entries], _MAX_TEXT)
    embed = discord.Embed(title=t(TITLE), description=text or t(NOTHING))
    view = discord.ui.View()
    if len(found) > len(entries):
        rest = f"{entries[-1].number}:{person_id}"
        view = _buttons.view_of(Press(_buttons.MINE, _buttons.ACTS, rest=rest))
    await _settings.show(interaction, embed, view)


@only_pressed_by(Reach.OWNER)
async def older(interaction: discord.Interaction, press: Press) -> None:
    """Shows the next page in the place of this one."""
    before, _, person_id = press.rest.partition(":")
    if not (before.isdecimal() and person_id.isdecimal()) or len(press.rest) > 40:
        raise InvalidRequestError(_buttons.UNKNOWN_BUTTON)
    await show(interaction, min(int(person_id), 2**62), min(int(before), 2**62))


def _line(entry: Entry) -> str:
    details = _pages.joined(_detail(name, value) for name, value in entry.detail.items())
    line = f"{_errors.stamp(entry.at, 'f')} <@{entry.actor_id}> **{t(entry.act)}**"
    return f"{line}\n{details}" if details else line


def _detail(name: str, value: Any) -> str:
    """Returns one thing of an act: people and channels as Discord shows them."""
    if isinstance(value, int) and name == "channel_id":
        return f"<#{value}>"
    if isinstance(value, int) and name in ("person_id", "owner_id", "user_id"):
        return f"<@{value}>"
    if isinstance(value, int) and name == "role_id":
        return f"<@&{value}>"
    return f"{_text.shown(name.replace('_', ' '), 40)}: {_text.shown(str(value), 100)}"


ACTIONS: dict[str, Action] = {_buttons.ACTS: older}
