"""The library of poses: one's own, those that people share in the server, and the twelve that come with Easel."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import discord
from discord.app_commands import Choice

from cogs import _answer, _buttons, _drawings, _errors, _options, _text
from cogs._album import Page
from cogs._buttons import MINE, Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from engine.control.library import Pose, built_in
from engine.control.maps import Skeleton
from engine.errors import InvalidRequestError, NotAllowedError
from storage.poses import SavedPose

LIST = "poses"
PAGE = 12
MAX_NAME = 40

OWN = N_("yours")
OWN_SHARED = N_("yours, shared in this server")
OWN_ELSEWHERE = N_("yours, shared in another server")
SHARED = N_("shared in this server")
COMES_WITH = N_("comes with Easel")
FOOTER = N_("Use one with /pose and the option pose · page {page} of {pages}")
NO_SUCH_POSE = N_("There is no pose {name}. See all of them with /poses list.")
NO_SUCH_POSE_BUT = N_(
    "There is no pose {name}. Did you mean {nearest}? See all of them with /poses list."
)
NOT_YOURS = N_(
    "The pose {name} is not yours. Only who saved it can do that; a moderator (Manage Messages) can end "
    "its sharing with /poses share."
)
NO_OWN = N_("You have no pose {name}. Save one with /poses save.")
BAD_NAME = N_("The name of a pose takes 1 to {limit} characters. Choose another one.")
BUILT_IN = N_("There is a pose {name} that comes with Easel. Choose another name.")

_SIDE, _LABEL, _MARGIN, _LINE = 224, 48, 12, 5  # of a thumbnail, in pixels
_COLUMNS = 4
_MAX_CHOICES = 25


@dataclass(frozen=True, slots=True)
class Known:
    """A pose that somebody can use here.

    Attributes:
        saved: Its row; None for one that comes with Easel.
    """

    pose: Pose
    saved: SavedPose | None = None


def usable(desk: Desk, person_id: int, guild_id: int | None) -> list[Known]:
    """Returns what a person can use in a server; None is a DM. Of a name only the first is meant."""
    own = desk.parts.poses.of(person_id)
    shared = [
        one
        for one in desk.parts.poses.shared_in(guild_id)
        if one.owner_id != person_id and desk.parts.moderation.allows(guild_id, one.name)
    ]
    known = [Known(saved.pose, saved) for saved in (*own, *shared)]
    return [*known, *(Known(pose) for pose in built_in())]


def find(desk: Desk, person_id: int, guild_id: int | None, name: str) -> Known:
    """Returns the pose that somebody means.

    Raises:
        InvalidRequestError: There is none of that name.
    """
    wanted = _options.key_of(_text.clean(name))
    known = usable(desk, person_id, guild_id)
    for one in known:
        if _options.key_of(one.pose.name) == wanted:
            return one
    shown = _text.plain(name, 60)
    nearest = _options.closest(name, [one.pose.name.casefold() for one in known])
    if nearest is not None:
        raise InvalidRequestError(NO_SUCH_POSE_BUT, name=shown, nearest=nearest)
    raise InvalidRequestError(NO_SUCH_POSE, name=shown)


def own(desk: Desk, person_id: int, guild_id: int | None, name: str) -> SavedPose:
    """Returns one of the person's own poses.

    Raises:
        InvalidRequestError: There is none of that name.
        NotAllowedError: It is somebody else's.
    """
    saved = find(desk, person_id, guild_id, name).saved
    shown = _text.plain(name, 60)
    if saved is None:
        raise InvalidRequestError(NO_OWN, name=shown)
    if saved.owner_id != person_id:
        raise NotAllowedError(NOT_YOURS, name=shown)
    return saved


def name_of(desk: Desk, guild_id: int | None, typed: str) -> str:
    """Returns the name for a pose of somebody.

    Raises:
        InvalidRequestError: It is empty or too long, or comes with Easel.
        NotAllowedError: It has words that the server does not allow.
    """
    name = _text.clean(typed)
    if not _options.key_of(name) or len(name) > MAX_NAME:
        raise InvalidRequestError(BAD_NAME, limit=MAX_NAME)
    if any(_options.key_of(pose.name) == _options.key_of(name) for pose in built_in()):
        raise InvalidRequestError(BUILT_IN, name=name)
    desk.parts.moderation.check_name(guild_id, name)
    return name


def choices(
    desk: Desk, person_id: int, guild_id: int | None, typed: str, *, own_only: bool = False
) -> list[Choice[str]]:
    """Returns the names of poses that contain what was typed, from memory."""
    wanted = _options.key_of(typed)
    known = [
        one.pose.name
        for one in usable(desk, person_id, guild_id)
        if not own_only or (one.saved is not None and one.saved.owner_id == person_id)
    ]
    found = [name for name in dict.fromkeys(known) if wanted in _options.key_of(name)]
    return [Choice(name=_text.plain(name, 100), value=name) for name in found[:_MAX_CHOICES]]


async def page(desk: Desk, person_id: int, guild_id: int | None, number: int = 0) -> Page:
    """Returns some of the poses that a person can use, with a sheet of thumbnails."""
    known = usable(desk, person_id, guild_id)
    pages = max(-(-len(known) // PAGE), 1)
    number = min(number, pages - 1)
    shown = known[number * PAGE : (number + 1) * PAGE]
    embed = discord.Embed(title=t("Poses"))
    embed.description = "\n".join(
        f"**{_text.shown(one.pose.name, 60)}** — {t(_whose(one, person_id, guild_id))}"
        for one in shown
    )
    embed.set_footer(text=t(FOOTER, page=number + 1, pages=pages))
    embed.set_image(url="attachment://pictures.webp")
    view = discord.ui.View(timeout=None)
    if number > 0:
        view.add_item(_buttons.button(Press(MINE, LIST, number - 1), t("Back")))
    if number + 1 < pages:
        view.add_item(_buttons.button(Press(MINE, LIST, number + 1), t("More")))
    names = [one.pose.name for one in shown]
    sheet = await asyncio.to_thread(_sheet, [one.pose for one in shown])
    alt_text = t("Skeletons of the poses {names}", names=", ".join(names))
    return Page(embed, view, sheet, _text.plain(alt_text, _text.MAX_ALT_TEXT))


async def browse(interaction: discord.Interaction, press: Press) -> None:
    """Turns to a page."""
    turned = await _answer.in_time(
        interaction,
        page(desk_of(interaction), interaction.user.id, interaction.guild_id, press.index),
        ephemeral=True,
    )
    if interaction.response.is_done():
        await _answer.answer(
            interaction, ephemeral=True, embed=turned.embed, view=turned.view, files=turned.files()
        )
        return
    await interaction.response.edit_message(
        embed=turned.embed, view=turned.view, attachments=turned.files()
    )


async def share(interaction: discord.Interaction, name: str, *, on: bool) -> SavedPose:
    """Lets the server's members use a pose, or not any more.

    Raises:
        RequestError: There is no such pose, it is somebody else's, or the name is taken here.
    """
    desk = desk_of(interaction)
    person_id, guild_id = interaction.user.id, interaction.guild_id
    known = find(desk, person_id, guild_id, name)
    saved = known.saved
    is_moderator = guild_id is not None and interaction.permissions.manage_messages
    if saved is None or saved.owner_id != person_id:
        if saved is None or on or not is_moderator:
            own(desk, person_id, guild_id, name)  # raises
        assert saved is not None
    where = guild_id if on else None
    if on:
        desk.parts.moderation.check_name(guild_id, saved.name)
    return await _answer.in_time(interaction, desk.parts.poses.share(saved, where), ephemeral=True)


def _whose(one: Known, person_id: int, guild_id: int | None) -> str:
    if one.saved is None:
        return COMES_WITH
    if one.saved.owner_id != person_id:
        return SHARED
    if one.saved.guild_id is None:
        return OWN
    return OWN_SHARED if one.saved.guild_id == guild_id else OWN_ELSEWHERE


def _sheet(poses: list[Pose]) -> bytes:
    from engine.control import making, openpose  # OpenCV is loaded only where it is needed

    pictures = [
        making.encode(openpose.draw_skeletons(_below_label(pose), _SIDE, _SIDE, _LINE))
        for pose in poses
    ]
    return _drawings.contact_sheet(pictures, _COLUMNS, [pose.name for pose in poses], side=_SIDE)


def _below_label(pose: Pose) -> list[Skeleton]:
    """Returns the people as large as a thumbnail takes them, below the label of a contact sheet."""
    points = [point for skeleton in pose.people for point in skeleton if point is not None]
    left, top = (min(point[axis] for point in points) for axis in (0, 1))
    width, height = (max(p[axis] for p in points) - low for axis, low in ((0, left), (1, top)))
    room = (_SIDE - 2 * _MARGIN, _SIDE - _LABEL - 2 * _MARGIN)
    scale = min(room[0] / max(width, 1), room[1] / max(height, 1))
    x0 = (_SIDE - width * scale) / 2 - left * scale
    y0 = _LABEL + (_SIDE - _LABEL - height * scale) / 2 - top * scale
    return [
        tuple(None if p is None else (x0 + p[0] * scale, y0 + p[1] * scale) for p in skeleton)
        for skeleton in pose.people
    ]


async def done(interaction: discord.Interaction, text: str) -> None:
    """Tells the person alone what was done."""
    if interaction.response.is_done():
        await _answer.answer(interaction, text, ephemeral=True)
    else:
        await _errors.say(interaction, text)


ACTIONS: dict[str, Action] = {LIST: browse}
