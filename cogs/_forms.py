"""Forms (modals) that work after a restart: what was sent decides, nothing waits in memory for it.

discord.py keeps every modal it sends and calls the object back. These are stopped before they are
sent, so that it keeps nothing; `submitted` finds the form by its `custom_id`, which is a `Press`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import discord

from cogs import _buttons, _errors, _gate, _text
from cogs._buttons import Action, Press
from cogs._desk import desk_of
from cogs._language import N_, speak_to, t

_SPOILER = "SPOILER_"  # how Discord's clients name a file that is hidden

UNKNOWN_FORM = N_("I do not know this form any more. Open it again.")
LOST_PICTURE = N_(
    "I was restarted since this form was opened, and do not know its picture any more. Open it again; "
    "you wrote:"
)


async def send(
    interaction: discord.Interaction, press: Press, title: str, *fields: discord.ui.Label[Any]
) -> None:
    """Opens a form with up to five fields; `press.action` names who takes it, see `submitted`."""
    modal = discord.ui.Modal(title=title, custom_id=press.custom_id)
    for field in fields:
        modal.add_item(field)
    modal.stop()
    await interaction.response.send_modal(modal)


async def submitted(interaction: discord.Interaction[Any], forms: Mapping[str, Action]) -> None:
    """Gives a form to its action; every error becomes words. Does nothing for other interactions."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return
    desk_of(interaction).handlers.note_this()
    speak_to(interaction)
    try:
        press = _buttons.parse(str(_data(interaction).get("custom_id")))
        action = forms.get(press.action) if press is not None else None
        if press is None or action is None:
            await _errors.say(interaction, t(UNKNOWN_FORM))
        else:
            _gate.check(interaction)
            await action(interaction, press)
    except Exception as error:  # the top of every form
        await _errors.refuse(interaction, error)


def values(interaction: discord.Interaction) -> dict[str, Any]:
    """Returns what was entered by the fields' `custom_id`: text, one choice, a list, True or False.

    A select that takes one value gives a list of at most one.
    """
    return {
        field["custom_id"]: field.get("value", field.get("values"))
        for field in _fields(_data(interaction).get("components", []))
    }


async def lost_picture(interaction: discord.Interaction, words: str) -> None:
    """Says that a form's picture is not known any more, and gives back what was typed for it."""
    text = f"{t(LOST_PICTURE)}\n```\n{_text.code(words)}\n```"
    await _errors.say(interaction, text)


@dataclass(frozen=True, slots=True)
class SentFile:
    """What Discord says of a file in a form.

    Attributes:
        address: Where Discord has it.
        size: Bytes.
        is_spoiler: Its sender hid it.
    """

    address: str
    size: int
    is_spoiler: bool


def file(interaction: discord.Interaction, field: str) -> SentFile | None:
    """Returns the file in a field for one; None when it was left empty."""
    known = _data(interaction).get("resolved", {}).get("attachments", {})
    for file_id in values(interaction).get(field) or ():
        if file_id in known:
            sent = known[file_id]
            is_flagged = bool(int(sent.get("flags", 0)) & discord.AttachmentFlags.spoiler.flag)
            is_spoiler = is_flagged or str(sent["filename"]).startswith(_SPOILER)
            return SentFile(str(sent["url"]), int(sent["size"]), is_spoiler)
    return None


def _fields(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for component in components:
        inner = component.get("components", [])
        if "component" in component:
            inner = [component["component"]]
        if inner:
            yield from _fields(inner)
        elif "custom_id" in component:
            yield component


def _data(interaction: discord.Interaction) -> Mapping[str, Any]:
    return interaction.data or {}
