"""The form behind **Use as pose**: what the new picture shows, what is read from this one, and how strongly."""

from __future__ import annotations

from typing import Any

import discord

from cogs import _buttons, _controls, _flags, _forms, _gate, _pose, _source_options
from cogs._buttons import Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from cogs._options import Options
from cogs._sources import Source
from engine.control.maps import AUTO, CANNY, DEPTH, LINEART, OPENPOSE, SCRIBBLE, SEGMENTATION
from engine.types import MAX_PROMPT_LENGTH

TITLE = N_("Use as pose")
TAKES = {
    AUTO: N_("What suits the picture"),
    OPENPOSE: N_("The pose of the people"),
    CANNY: N_("All outlines"),
    DEPTH: N_("What is near and far"),
    SEGMENTATION: N_("What is where"),
    LINEART: N_("The main outlines"),
    SCRIBBLE: N_("A rough sketch"),
}

_PROMPT, _CONTROL, _STRENGTH = "prompt", "control", "strength"


async def open_for(interaction: discord.Interaction, source: Source) -> None:
    """Opens the form for any picture.

    Raises:
        RequestError: The picture is not there any more, the model has no ControlNets, or the server
            wants no pictures here.
    """
    _gate.check_place(interaction)
    desk = desk_of(interaction)
    info = desk.info()
    _controls.wish_of(info)  # raises when there are none
    if source.generation is None:
        key = str(interaction.id)
        desk.offers.keep(key, source)
        press = Press(_buttons.MINE, _pose.POSE, rest=key)
    else:
        _ = source.sha256  # it is there
        press = Press(source.generation.id, _pose.POSE, source.index)
    await _forms.send(interaction, press, t(TITLE), *_fields(_controls.kinds(info)))


async def take(interaction: discord.Interaction, press: Press) -> None:
    """Starts what the form asks for; whoever sent it owns and pays it."""
    desk = desk_of(interaction)
    entered = _forms.values(interaction)
    source = await _source(interaction, desk, press)
    if source is None:
        await _forms.lost_picture(interaction, str(entered.get(_PROMPT) or ""))
        return
    wish = _controls.wish_of(
        desk.info(),
        control=entered.get(_CONTROL),
        strength=_pose.strength_of(str(entered.get(_STRENGTH) or "1")),
    )
    options, private = _flags.read(Options(prompt=entered.get(_PROMPT)))
    private = _source_options.is_private(desk, interaction, source, private)
    wanted = _pose.asked(interaction, desk, options, wish, private=private, has_picture=True)
    await _pose.place(interaction, desk, source, wanted)


async def show(interaction: discord.Interaction, press: Press) -> None:
    """Opens the form for a result: the button."""
    history = desk_of(interaction).parts.history
    generation = await history.get(press.job_id, reader_id=interaction.user.id)
    await open_for(interaction, Source(generation, press.index))


async def _source(interaction: discord.Interaction, desk: Desk, press: Press) -> Source | None:
    if press.job_id == _buttons.MINE:
        return desk.offers.get(press.rest)
    generation = await desk.parts.history.get(press.job_id, reader_id=interaction.user.id)
    return Source(generation, press.index)


def _fields(kinds: list[str]) -> list[discord.ui.Label[Any]]:
    prompt: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_PROMPT, style=discord.TextStyle.paragraph, max_length=MAX_PROMPT_LENGTH
    )
    control: discord.ui.RadioGroup[Any] = discord.ui.RadioGroup(custom_id=_CONTROL)
    for kind in (AUTO, *kinds):
        control.add_option(label=t(TAKES[kind]), value=kind, description=kind, default=kind == AUTO)
    strength: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_STRENGTH, default="1", required=False, max_length=10
    )
    return [
        discord.ui.Label(
            text=t("Prompt"), component=prompt, description=t("What the new picture should show")
        ),
        discord.ui.Label(text=t("What is taken from this picture"), component=control),
        discord.ui.Label(
            text=t("Strength"),
            component=strength,
            description=t(
                "How closely the picture follows the map: 0 not at all, 1 as usual, 2 at most"
            ),
        ),
    ]


FORMS: dict[str, Action] = {_pose.POSE: take}
ACTIONS: dict[str, Action] = {_pose.POSE: show}
