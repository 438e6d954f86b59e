"""The buttons below results and status lines, which work for months and over restarts.

A button is its `custom_id`, `easel:<job id>:<action>:<n>`, and nothing in memory: the row of the job
decides what a press does. `n` is the 0-based place of one of several pictures; buttons of lists have
what the list holds behind it (`<n>:<rest>`), and those that are about the presser have `MINE` for a job.
What a press does stands in `_actions` and the other tables that `_bot` puts together.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import discord

from cogs import _errors, _gate
from cogs._desk import desk_of
from cogs._language import N_, speak_to, t

PREFIX = "easel"

VARY = "vary"
VARY_SUBTLE = "vary_subtle"
VARY_STRONG = "vary_strong"
REMIX = "remix"
REROLL = "reroll"
UPSCALE = "upscale"
UPSCALE_MORE = "upscale_4"
UPSCALE_CREATIVE = "upscale_creative"
UPSCALE_CREATIVE_MORE = "upscale_creative_4"
POSE = "pose"
ZOOM = "zoom_2"
ZOOM_LESS = "zoom_15"
PAN_LEFT = "pan_left"
PAN_RIGHT = "pan_right"
PAN_UP = "pan_up"
PAN_DOWN = "pan_down"
MORE = "more"
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
SETTINGS_MORE = "settings_more"
PLACE = "place"
PLACE_RESET = "place_reset"
ERASE = "erase"
EXPORT = "export"
EXPORT_ALL = "export_all"
MACHINE = "machine"
ACTS = "acts"
PURGE = "purge"
REPORT = "report"
CASE_DELETE = "case_delete"
CASE_BLOCK = "case_block"
CASE_DISMISS = "case_dismiss"
HELD_RELEASE = "held_release"
HELD_DELETE = "held_delete"
HELD_SHOW = "held_show"

MINE = "me"
PUBLIC = (
    "all"  # the rest of a button that only its presser sees, while its picture is for everybody
)

OUTPAINTING = (ZOOM, ZOOM_LESS, PAN_LEFT, PAN_RIGHT, PAN_UP, PAN_DOWN)
RESULT_ACTIONS = (REROLL, INFO, STAR, TO_DM, DELETE)  # below every result
_ONE_PICTURE = (
    (VARY_SUBTLE, VARY_STRONG, REMIX, REROLL, UPSCALE),
    (ZOOM_LESS, ZOOM, MORE),
)
_MORE = ((PAN_LEFT, PAN_RIGHT, PAN_UP, PAN_DOWN), (UPSCALE_MORE, UPSCALE_CREATIVE, POSE))
FAILURE_ACTIONS = (RETRY,)
HELD_ACTIONS = (DELETE,)  # below what the owner of a held picture is told
CASE_ACTIONS = (CASE_DELETE, CASE_BLOCK, CASE_DISMISS)  # below what moderators look at
CASE_HELD_ACTIONS = (HELD_RELEASE, HELD_DELETE, HELD_SHOW)
OPEN_TO_ALL = (ERASE, EXPORT_ALL)  # those of /privacy, see `_gate`

UNKNOWN_BUTTON = N_(
    "I do not know this button any more. It may come from another version of me; "
    "use the command instead."
)

_PARTS = re.compile(
    rf"{PREFIX}:([a-z0-9]{{1,32}}):([a-z0-9_]{{1,20}}):(\d{{1,3}})(?::(.{{1,70}}))?", re.DOTALL
)
_LABELS = {
    VARY_SUBTLE: N_("Vary (Subtle)"),
    VARY_STRONG: N_("Vary (Strong)"),
    REMIX: N_("Remix"),
    UPSCALE: N_("Upscale"),
    UPSCALE_MORE: N_("Upscale 4x"),
    UPSCALE_CREATIVE: N_("Upscale (Creative)"),
    POSE: N_("Use as pose"),
    ZOOM: N_("Zoom 2x"),
    ZOOM_LESS: N_("Zoom 1.5x"),
    PAN_LEFT: N_("Left"),
    PAN_RIGHT: N_("Right"),
    PAN_UP: N_("Up"),
    PAN_DOWN: N_("Down"),
    MORE: N_("More"),
    REROLL: N_("Reroll"),
    INFO: N_("Info"),
    DELETE: N_("Delete"),
    RETRY: N_("Try again"),
    OLDER: N_("Older"),
    STAR: N_("Star"),
    TO_DM: N_("Send to DM"),
    PUBLISH: N_("Publish"),
    SETTINGS: N_("Change"),
    RESET: N_("Reset"),
    SETTINGS_MORE: N_("Style, remix, language"),
    PLACE: N_("Change"),
    PLACE_RESET: N_("Reset"),
    ERASE: N_("Delete everything"),
    EXPORT: N_("Next part"),
    EXPORT_ALL: N_("Next part"),
    MACHINE: N_("Look again"),
    ACTS: N_("Older"),
    PURGE: N_("Delete them"),
    CASE_DELETE: N_("Delete"),
    CASE_BLOCK: N_("Block"),
    CASE_DISMISS: N_("Dismiss"),
    HELD_RELEASE: N_("Release"),
    HELD_DELETE: N_("Delete"),
    HELD_SHOW: N_("Show"),
}
_WORDS = {
    "imagine": N_("imagine"),
    "inpaint": N_("inpaint"),
    POSE: N_("pose"),
    VARY: N_("vary"),
    VARY_SUBTLE: N_("vary subtle"),
    VARY_STRONG: N_("vary strong"),
    REMIX: N_("remix"),
    REROLL: N_("reroll"),
    RETRY: N_("retry"),
    UPSCALE: N_("upscale"),
    UPSCALE_MORE: N_("upscale 4"),
    UPSCALE_CREATIVE: N_("upscale creative"),
    UPSCALE_CREATIVE_MORE: N_("upscale creative 4"),
    ZOOM: N_("zoom 2"),
    ZOOM_LESS: N_("zoom 15"),
    PAN_LEFT: N_("pan left"),
    PAN_RIGHT: N_("pan right"),
    PAN_UP: N_("pan up"),
    PAN_DOWN: N_("pan down"),
}
_EMOJI = {
    REROLL: "\N{ANTICLOCKWISE DOWNWARDS AND UPWARDS OPEN CIRCLE ARROWS}",
    STAR: "\N{WHITE MEDIUM STAR}",
    PAN_LEFT: "\N{LEFTWARDS BLACK ARROW}\N{VARIATION SELECTOR-16}",
    PAN_RIGHT: "\N{BLACK RIGHTWARDS ARROW}\N{VARIATION SELECTOR-16}",
    PAN_UP: "\N{UPWARDS BLACK ARROW}\N{VARIATION SELECTOR-16}",
    PAN_DOWN: "\N{DOWNWARDS BLACK ARROW}\N{VARIATION SELECTOR-16}",
}
_STYLES = {
    DELETE: discord.ButtonStyle.danger,
    ERASE: discord.ButtonStyle.danger,
    PURGE: discord.ButtonStyle.danger,
    CASE_DELETE: discord.ButtonStyle.danger,
    CASE_BLOCK: discord.ButtonStyle.danger,
    HELD_DELETE: discord.ButtonStyle.danger,
    RETRY: discord.ButtonStyle.primary,
    SETTINGS: discord.ButtonStyle.primary,
    PLACE: discord.ButtonStyle.primary,
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


def is_private(interaction: discord.Interaction, press: Press | None = None) -> bool:
    """True when what comes of a press is for the presser alone, as the message with the button is."""
    message = interaction.message
    is_hidden = message is not None and message.flags.ephemeral
    return is_hidden and (press is None or press.rest != PUBLIC)


def label_of(action: str) -> str:
    """Returns what stands on the button of an action."""
    return t(_LABELS[action])


def words_of(action: str) -> str:
    """Returns what an action is called in a sentence."""
    return t(_WORDS[action]) if action in _WORDS else action.replace("_", " ")


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
        desk_of(interaction).handlers.note_this()
        speak_to(interaction)
        try:
            press = parse(self.custom_id)
            action = self.actions.get(press.action) if press is not None else None
            if press is None or action is None:
                await _errors.say(interaction, t(UNKNOWN_BUTTON))
            else:
                if press.action not in OPEN_TO_ALL:
                    _gate.check(interaction)
                await action(interaction, press)
        except Exception as error:  # the top of every press
            await _errors.refuse(interaction, error)


def button(press: Press, label: str | None = None) -> JobButton:
    """Returns the button to put into a view."""
    return JobButton(
        discord.ui.Button(
            label=label or t(_LABELS[press.action]),
            emoji=_EMOJI.get(press.action),
            style=_STYLES.get(press.action, discord.ButtonStyle.secondary),
            custom_id=press.custom_id,
        )
    )


def result_view(job_id: str, count: int = 1, *, can_publish: bool = False) -> discord.ui.View:
    """Returns the buttons below so many finished pictures; private ones can be published.

    Of one picture all that can be made of it; of several U (upscale) and V (vary) for each, as the
    rest is offered below what these make.
    """
    if count > 1:
        rows = [
            [button(Press(job_id, UPSCALE, n), f"U{n + 1}") for n in range(count)],
            [button(Press(job_id, VARY, n), f"V{n + 1}") for n in range(count)],
        ]
        rows[0].append(button(Press(job_id, REROLL)))
        rows[1].append(button(Press(job_id, REMIX)))
    else:
        rows = [[button(Press(job_id, action)) for action in row] for row in _ONE_PICTURE]
    rest = (INFO, STAR, TO_DM, PUBLISH, DELETE) if can_publish else (INFO, STAR, TO_DM, DELETE)
    rows.append([button(Press(job_id, action)) for action in rest])
    return _rows(rows)


def more_view(job_id: str, rest: str) -> discord.ui.View:
    """Returns what does not fit below a picture; `rest` is `PUBLIC` or empty."""
    return _rows([[button(Press(job_id, action, rest=rest)) for action in row] for row in _MORE])


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
    return view_of(*(Press(MINE, action) for action in (SETTINGS, SETTINGS_MORE, RESET)))


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


def _rows(rows: Iterable[Iterable[JobButton]]) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for number, row in enumerate(rows):
        for item in row:
            item.row = number
            view.add_item(item)
    return view


def _view(*buttons: JobButton) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for item in buttons:
        view.add_item(item)
    return view
