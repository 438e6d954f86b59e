"""The buttons below results and status lines, which work for months and over restarts.

A button is its `custom_id`, `easel:<job id>:<action>:<n>`, and nothing in memory: the row of the job
decides what a press does. `n` is for actions on one of several pictures; buttons of lists have what
the list holds behind it (`<n>:<rest>`), and those that are about the presser have `MINE` for a job.
What a press does stands in `_actions` and the other tables that `_bot` puts together.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import discord

from cogs import _errors

PREFIX = "easel"

VARY = "vary"
VARY_SUBTLE = "vary_subtle"
VARY_STRONG = "vary_strong"
REMIX = "remix"
REROLL = "reroll"
UPSCALE = "upscale"
ZOOM = "zoom_2"
ZOOM_LESS = "zoom_15"
INFO = "info"
DELETE = "delete"
CANCEL = "cancel"
RETRY = "retry"
OLDER = "older"
STAR = "star"
TO_DM = "dm"
PUBLISH = "publish"
SETTINGS = "settings"
RESET = "reset"
ERASE = "erase"
EXPORT = "export"
EXPORT_ALL = "export_all"

MINE = "me"

RESULT_ACTIONS = (REROLL, INFO, STAR, TO_DM, DELETE)
PRIVATE_RESULT_ACTIONS = (REROLL, INFO, STAR, TO_DM, PUBLISH, DELETE)
FAILURE_ACTIONS = (RETRY,)

UNKNOWN_BUTTON = (
    "I do not know this button any more. It may come from another version of me; "
    "use the command instead."
)

_PARTS = re.compile(
    rf"{PREFIX}:([a-z0-9]{{1,32}}):([a-z_]{{1,20}}):(\d{{1,3}})(?::(.{{1,70}}))?", re.DOTALL
)
_LABELS = {
    REROLL: "Reroll",
    INFO: "Info",
    DELETE: "Delete",
    RETRY: "Try again",
    OLDER: "Older",
    STAR: "Star",
    TO_DM: "Send to DM",
    PUBLISH: "Publish",
    SETTINGS: "Change",
    RESET: "Reset",
    ERASE: "Delete everything",
    EXPORT: "Next part",
    EXPORT_ALL: "Next part",
}
_EMOJI = {
    REROLL: "\N{ANTICLOCKWISE DOWNWARDS AND UPWARDS OPEN CIRCLE ARROWS}",
    STAR: "\N{WHITE MEDIUM STAR}",
}
_STYLES = {
    DELETE: discord.ButtonStyle.danger,
    ERASE: discord.ButtonStyle.danger,
    RETRY: discord.ButtonStyle.primary,
    SETTINGS: discord.ButtonStyle.primary,
}

Action = Callable[[discord.Interaction, "Press"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Press:
    """What a button says about itself."""

    job_id: str
    action: str
    index: int = 0
    rest: str = ""

    @property
    def custom_id(self) -> str:
        """The text that Discord keeps for us; at most 100 characters."""
        rest = f":{self.rest}" if self.rest else ""
        return f"{PREFIX}:{self.job_id}:{self.action}:{self.index}{rest}"


def parse(custom_id: str) -> Press | None:
    """Returns what the button says, or None when it is none of ours."""
    match = _PARTS.fullmatch(custom_id)
    return Press(match[1], match[2], int(match[3]), match[4] or "") if match else None


class JobButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=re.compile(rf"{PREFIX}:.{{0,94}}", re.DOTALL),
):
    """Any button of ours; the template is wide so that unknown ones get an answer, too."""

    actions: ClassVar[Mapping[str, Action]] = {}  # set by the bot

    def __init__(self, button: discord.ui.Button[discord.ui.View]) -> None:
        """Wraps the button that carries the `custom_id`."""
        super().__init__(button)

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """Returns the button that was pressed."""
        return cls(discord.ui.Button(custom_id=match[0]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Runs the action; every error becomes words."""
        try:
            press = parse(self.custom_id)
            action = self.actions.get(press.action) if press is not None else None
            if press is None or action is None:
                await _errors.say(interaction, UNKNOWN_BUTTON)
            else:
                await action(interaction, press)
        except Exception as error:  # the top of every press
            await _errors.refuse(interaction, error)


def button(press: Press, label: str | None = None) -> JobButton:
    """Returns the button to put into a view."""
    return JobButton(
        discord.ui.Button(
            label=label or _LABELS[press.action],
            emoji=_EMOJI.get(press.action),
            style=_STYLES.get(press.action, discord.ButtonStyle.secondary),
            custom_id=press.custom_id,
        )
    )


def result_view(job_id: str, *, can_publish: bool = False) -> discord.ui.View:
    """Returns the buttons below a finished picture; a private one can be published."""
    actions = PRIVATE_RESULT_ACTIONS if can_publish else RESULT_ACTIONS
    return _view(*(button(Press(job_id, action)) for action in actions))


def failure_view(job_id: str) -> discord.ui.View:
    """Returns the button below an apology."""
    return _view(*(button(Press(job_id, action)) for action in FAILURE_ACTIONS))


def status_view(job_id: str, label: str) -> discord.ui.View:
    """Returns the button of a status line: Cancel while the job waits, Stop while it runs."""
    return _view(button(Press(job_id, CANCEL), label))


def older_view(job_id: str, index: int = 0, rest: str = "") -> discord.ui.View:
    """Returns the button that leads from the last job of a page to the next page."""
    return _view(button(Press(job_id, OLDER, index, rest)))


def settings_view() -> discord.ui.View:
    """Returns the buttons below a person's defaults."""
    return _view(button(Press(MINE, SETTINGS)), button(Press(MINE, RESET)))


def view_of(*presses: Press) -> discord.ui.View:
    """Returns the buttons for the presses, with the labels of their actions."""
    return _view(*(button(press) for press in presses))


def carries(message: discord.Message, job_id: str, actions: tuple[str, ...]) -> bool:
    """True when the message has one of these buttons for the job."""
    wanted = {Press(job_id, action).custom_id for action in actions}
    return any(
        getattr(child, "custom_id", None) in wanted
        for row in message.components
        for child in getattr(row, "children", ())
    )


def _view(*buttons: JobButton) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for item in buttons:
        view.add_item(item)
    return view
