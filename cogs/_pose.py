"""What `/pose` and **Use as pose** do: a job that a control map guides, or a preview of that map first.

A preview is a draft (`storage.drafts`) with buttons: `easel:<draft>:<action>:<strength in percent>:<flags>`.
The draft does not change; the buttons carry what was changed of it.
"""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass

import discord

from cogs import (
    _answer,
    _buttons,
    _controls,
    _defaults,
    _forms,
    _limits,
    _options,
    _orders,
    _poses,
    _styles,
    _text,
)
from cogs._buttons import Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from cogs._options import Options
from cogs._orders import Order
from cogs._sources import Source
from engine.control.library import Pose
from engine.control.maps import AUTO, OPENPOSE, ControlMap, ControlWish
from engine.errors import InvalidRequestError
from engine.types import MAX_CONTROL_SCALE, Control, GenerationRequest, Limits
from storage.arrivals import Arrival
from storage.drafts import Draft

POSE = _buttons.POSE
USE, FLIP, STRENGTH, SAVE = "pose_use", "pose_flip", "pose_strength", "pose_save"
MATCH = "match image"

PREVIEW = N_(
    "This is the control map ({kind}). Nothing was made or counted yet: **Use** makes the picture."
)
PREVIEW_OF_MAP = N_(
    "That is a control map already ({kind}), so it is taken as it is. Nothing was made or counted yet: "
    "**Use** makes the picture."
)
SAVED = N_("Saved: the pose **{name}** is yours. Use it with /pose and the option pose.")
BAD_STRENGTH = N_("The strength cannot be {value}. Give a number from 0 to {limit:g}; 1 is usual.")
NOBODY = N_("There is no skeleton in this map that could be saved as a pose.")

_FLIPPED, _PRIVATE, _SPOILER = "f", "p", "s"
_VALUE = "value"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asked for, but for the picture.

    Attributes:
        request: Still without its control.
        wish: What to read from the picture.
        takes_size: The new picture has the shape of the one that is read.
        private: Only the owner sees it.
        keeps_seed: The person chose the seed.
        limits: What the person may have.
    """

    request: GenerationRequest
    wish: ControlWish
    takes_size: bool
    private: bool
    keeps_seed: bool
    limits: Limits | None = None


def asked(
    interaction: discord.Interaction,
    desk: Desk,
    options: Options,
    wish: ControlWish,
    *,
    private: bool | None,
    has_picture: bool,
) -> Asked:
    """Returns what the options ask for; an aspect of `MATCH` takes the shape of the picture.

    Raises:
        RequestError: An option is out of its range.
    """
    is_matched = options.aspect == MATCH
    if is_matched:
        options = dataclasses.replace(options, aspect=None)
    is_free = options.aspect is options.width is options.height is None
    takes_size = is_free and (has_picture or is_matched)
    limits = _limits.of(interaction)
    options, is_private = _defaults.fill(
        options, private, *_defaults.of(desk, interaction), has_picture=takes_size, limits=limits
    )
    request = _options.request_from(
        options,
        desk.info(),
        default_negative_prompt=desk.parts.settings.default_negative_prompt,
        limits=limits,
    )
    request = _styles.styled(desk, interaction, request, options)
    if not takes_size and options.aspect is options.width is options.height is None:
        takes_size = True  # nobody has said a shape, so the pose's own is best
    return Asked(request, wish, takes_size, is_private, options.seed is not None, limits)


def wish_for(source: Source, wish: ControlWish) -> ControlWish:
    """Returns the wish for a picture of ours; of one that had a control, for that control's map.

    Reading the map again is better than reading what was made of it, and only so the same picture
    comes out again.

    Raises:
        RequestError: The picture was deleted.
    """
    if source.address is not None:
        return wish
    sha256 = source.sha256
    generation = source.generation
    made: tuple[Control, ...] = () if generation is None else generation.request.controls
    for control in made:
        if wish.kind in (AUTO, control.kind):
            return dataclasses.replace(wish, kind=control.kind, picture=control.image, is_map=True)
    return dataclasses.replace(wish, picture=sha256)


async def place(
    interaction: discord.Interaction, desk: Desk, source: Source, wanted: Asked
) -> None:
    """Starts a job that goes by a picture; the map is read after the status line is there.

    Raises:
        RequestError: What was asked cannot be done.
    """
    _orders.check_permissions(interaction, private=wanted.private)
    if source.address is not None:
        desk.arrivals.check(source.address, source.size)
    order = _order(wanted.request, wanted.private, source)
    submission = _orders.submission_of(interaction, order, _orders.origin_of(interaction))
    arrival = Arrival(
        submission,
        source.address or "",
        0.0,
        takes_size=wanted.takes_size,
        control=wish_for(source, wanted.wish),
    )
    await desk.arrivals.place(interaction, arrival)


async def place_pose(
    interaction: discord.Interaction, desk: Desk, pose: Pose, wanted: Asked
) -> None:
    """Starts a job that goes by a pose of the library.

    Raises:
        RequestError: What was asked cannot be done.
    """

    async def order() -> Order:
        request, made = await _drawn(desk, pose, wanted)
        request, files = _controls.guided(request, wanted.wish, made)
        return dataclasses.replace(_order(request, wanted.private), files=files)

    await desk.orders.place(interaction, order, private=wanted.private)


async def preview(
    interaction: discord.Interaction, desk: Desk, source: Source | Pose, wanted: Asked
) -> None:
    """Shows the map to the person alone, with buttons to go on.

    Raises:
        RequestError: There is nothing in the picture that the control could go by.
    """
    _orders.check_permissions(interaction, private=True)

    async def work() -> tuple[Draft, ControlMap]:
        if isinstance(source, Pose):
            request, made = await _drawn(desk, source, wanted)
        else:
            request, made = await _read(desk, source, wanted, interaction.user.id)
        request, _ = _controls.guided(request, wanted.wish, made)
        draft = await desk.parts.drafts.add(
            interaction.user.id,
            request,
            made,
            private=wanted.private,
            keeps_seed=wanted.keeps_seed,
        )
        return draft, made

    draft, made = await _answer.in_time(interaction, work(), ephemeral=True)
    is_given = made.was_map and not isinstance(source, Pose)
    content = t(PREVIEW_OF_MAP if is_given else PREVIEW, kind=made.kind)
    flags = _PRIVATE if draft.private else ""
    if isinstance(source, Source) and source.spoiler:
        flags += _SPOILER
    strength = round(100 * draft.request.controls[0].scale)
    await _answer.answer(
        interaction,
        content,
        ephemeral=True,
        view=_view(draft, strength, flags),
        files=[_file(made)],
    )


async def use(interaction: discord.Interaction, press: Press) -> None:
    """Makes the picture of a preview."""
    desk = desk_of(interaction)
    private = _PRIVATE in press.rest

    async def order() -> Order:
        draft = await desk.parts.drafts.get(press.job_id, interaction.user.id)
        made = await _shown(desk, draft, press)
        control = draft.request.controls[0]
        wish = ControlWish(made.kind, press.index / 100, control.start, control.end)
        request, files = _controls.guided(draft.request, wish, made)
        if not draft.keeps_seed:
            request = _options.rerolled(request)  # pressed twice, it makes two pictures
        order = _order(request, private, spoiler=_SPOILER in press.rest)
        return dataclasses.replace(order, files=files)

    await desk.orders.place(interaction, order, private=private)


async def flip(interaction: discord.Interaction, press: Press) -> None:
    """Shows the mirror image of the map."""
    flags = press.rest.replace(_FLIPPED, "")
    if _FLIPPED not in press.rest:
        flags += _FLIPPED
    await _show_again(interaction, dataclasses.replace(press, rest=flags))


async def ask_strength(interaction: discord.Interaction, press: Press) -> None:
    """Opens the form for the strength."""
    field: discord.ui.TextInput[discord.ui.View] = discord.ui.TextInput(
        custom_id=_VALUE, default=f"{press.index / 100:g}", max_length=10
    )
    label = discord.ui.Label(
        text=t("Strength"),
        component=field,
        description=t(
            "How closely the picture follows the map: 0 not at all, 1 as usual, 2 at most"
        ),
    )
    await _forms.send(interaction, press, t("Strength"), label)


async def take_strength(interaction: discord.Interaction, press: Press) -> None:
    """Shows the preview with another strength on its button."""
    strength = strength_of(str(_forms.values(interaction).get(_VALUE) or ""))
    await _show_again(interaction, dataclasses.replace(press, index=round(100 * strength)))


def strength_of(text: str) -> float:
    """Returns the strength that somebody typed.

    Raises:
        InvalidRequestError: It is no number from 0 to 2.
    """
    try:
        strength = float(text.strip().replace(",", "."))
    except ValueError:
        strength = -1.0
    if not 0 <= strength <= MAX_CONTROL_SCALE:
        raise InvalidRequestError(BAD_STRENGTH, value=text[:20], limit=MAX_CONTROL_SCALE)
    return strength


async def ask_name(interaction: discord.Interaction, press: Press) -> None:
    """Opens the form for a pose's name."""
    field: discord.ui.TextInput[discord.ui.View] = discord.ui.TextInput(
        custom_id=_VALUE, max_length=_poses.MAX_NAME
    )
    label = discord.ui.Label(text=t("Name"), component=field)
    await _forms.send(interaction, press, t("Save pose"), label)


async def take_name(interaction: discord.Interaction, press: Press) -> None:
    """Saves the skeleton of a preview."""
    desk = desk_of(interaction)
    name = _poses.name_of(
        desk, interaction.guild_id, str(_forms.values(interaction).get(_VALUE) or "")
    )

    async def work() -> None:
        draft = await desk.parts.drafts.get(press.job_id, interaction.user.id)
        made = await _shown(desk, draft, press)
        await save(desk, interaction.user.id, name, made, draft.request)

    await _answer.in_time(interaction, work(), ephemeral=True)
    await _poses.done(interaction, t(SAVED, name=_text.shown(name, 100)))


async def save(
    desk: Desk,
    person_id: int,
    name: str,
    made: ControlMap,
    request: GenerationRequest,
    guild_id: int | None = None,
) -> None:
    """Puts the people of a map into the library.

    Raises:
        InvalidRequestError: There are none, or the name is taken.
    """
    if not made.people:
        raise InvalidRequestError(NOBODY)
    pose = Pose(name, made.people, request.width, request.height)
    await desk.parts.poses.add(person_id, pose, guild_id)


async def people_of(
    desk: Desk, source: Source, person_id: int
) -> tuple[ControlMap, GenerationRequest]:
    """Returns the skeletons of a picture in its own shape, and a request of that size.

    Raises:
        RequestError: There is nobody in it.
    """
    info = desk.info()
    _controls.check_pose(info)
    request = _options.request_from(Options(prompt=POSE), info)
    wanted = Asked(request, ControlWish(OPENPOSE), True, private=True, keeps_seed=False)
    request, made = await _read(desk, source, wanted, person_id)
    return made, request


def _order(
    request: GenerationRequest,
    private: bool,
    source: Source | None = None,
    *,
    spoiler: bool = False,
) -> Order:
    generation = source.generation if source is not None else None
    return Order(
        request,
        action=POSE,
        parent_id=generation.id if generation is not None else None,
        private=private,
        spoiler=spoiler or (source is not None and source.spoiler),
    )


async def _read(
    desk: Desk, source: Source, wanted: Asked, person_id: int
) -> tuple[GenerationRequest, ControlMap]:
    wish = wish_for(source, wanted.wish)
    picture = None
    if source.address is not None:
        desk.arrivals.check(source.address, source.size)
        picture = await desk.arrivals.picture(source.address, person_id)
    return await _controls.complete(
        desk.parts,
        wanted.request,
        wish,
        picture,
        takes_size=wanted.takes_size,
        limits=wanted.limits,
    )


async def _drawn(desk: Desk, pose: Pose, wanted: Asked) -> tuple[GenerationRequest, ControlMap]:
    info = desk.info()
    _controls.check_pose(info)
    request = wanted.request
    if wanted.takes_size:
        request = _controls.with_shape_of(request, info, pose.width, pose.height, wanted.limits)
    return request, await _controls.draw(pose, wanted.wish, request, info)


async def _shown(desk: Desk, draft: Draft, press: Press) -> ControlMap:
    """Returns the map as the preview shows it."""
    if _FLIPPED not in press.rest:
        return draft.map
    return await _controls.mirrored(draft.map, draft.request, desk.info())


async def _show_again(interaction: discord.Interaction, press: Press) -> None:
    desk = desk_of(interaction)

    async def work() -> tuple[Draft, ControlMap]:
        draft = await desk.parts.drafts.get(press.job_id, interaction.user.id)
        return draft, await _shown(desk, draft, press)

    draft, made = await _answer.in_time(interaction, work(), ephemeral=True)
    view = _view(draft, press.index, press.rest)
    if interaction.response.is_done():
        content = t(PREVIEW, kind=made.kind)
        await _answer.answer(interaction, content, ephemeral=True, view=view, files=[_file(made)])
        return
    await interaction.response.edit_message(attachments=[_file(made)], view=view)


def _view(draft: Draft, strength: int, flags: str) -> discord.ui.View:
    labels = {
        USE: t("Use"),
        FLIP: t("Flip"),
        STRENGTH: t("Strength {strength:g}", strength=strength / 100),
    }
    if draft.map.people:
        labels[SAVE] = t("Save pose")
    view = discord.ui.View(timeout=None)
    for action, label in labels.items():
        view.add_item(_buttons.button(Press(draft.id, action, strength, flags), label))
    return view


def _file(made: ControlMap) -> discord.File:
    description = t("The control map ({kind})", kind=made.kind)
    return discord.File(io.BytesIO(made.png), "control.png", description=description)


ACTIONS: dict[str, Action] = {
    USE: use,
    FLIP: flip,
    STRENGTH: ask_strength,
    SAVE: ask_name,
}
FORMS: dict[str, Action] = {STRENGTH: take_strength, SAVE: take_name}
