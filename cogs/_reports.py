"""**Report image**: the form that asks why, where reports go, and what the moderators' buttons do."""

from __future__ import annotations

import asyncio
from typing import Any

import discord

from cogs import _answer, _blocking, _buttons, _forms
from cogs._authority import Reach, only_pressed_by
from cogs._buttons import Action, Press
from cogs._desk import Desk, desk_of
from cogs._language import N_, of_person, t
from engine.errors import InvalidRequestError, NotAllowedError
from engine.types import Generation
from storage.cases import Case, Kind
from storage.safety import Classifier

TITLE = N_("Report this picture")
REPORTED = N_("Thank you. The report is stored for the people who look after this bot.")
REPORTED_HERE = N_("Thank you. The moderators of this server will see your report.")
REPORTED_BEFORE = N_("You have reported this picture before; it is still on the list.")

SET = N_(
    "Reports of pictures that are shown in this server go to {channel} from now on, without the "
    "reporter's name."
)
SET_FOR_ALL_TO_SEE = N_("Everybody can read that channel: a private one is better.")
OFF = N_("Reports of pictures in this server wait for the owners of this bot from now on.")
NOW = N_("Reports of pictures that are shown in this server go to {channel}.")
NOW_OFF = N_(
    "Reports of pictures in this server wait for the owners of this bot. Choose a `channel` to get them "
    "here."
)
HOLDS = N_(
    "Pictures of this server are held back for that channel. Choose another way by /admin safety classifier "
    "first."
)
ONE_OF_BOTH = N_("Choose a channel, or turn the reports off, not both.")
NOT_HERE = N_("That is no channel of this server. Choose one of it.")
CANNOT_POST = N_(
    "I cannot post in {channel}. Let me view it, send messages and read its history there, then try again."
)

DELETED = N_("The picture is deleted, and its message goes in a moment.")
BLOCKED = N_("{person} cannot use me in this server any more. Jobs that were cancelled: {count}.")
DISMISSED = N_("The reports are dismissed.")
DECIDED = N_("That was decided already, as the message says.")
UNTOLD = N_("Discord does not tell who that is just now. Try again.")

_REASON = "reason"
_MAX_REASON = 500
_MEMBER_S = 2.0


async def open_for(
    interaction: discord.Interaction, generation: Generation, message: discord.Message
) -> None:
    """Asks what is wrong with a picture of ours that the message shows."""
    reason: discord.ui.TextInput[Any] = discord.ui.TextInput(
        custom_id=_REASON,
        style=discord.TextStyle.paragraph,
        required=False,
        max_length=_MAX_REASON,
    )
    label: discord.ui.Label[Any] = discord.ui.Label(
        text=t("What is wrong with it?"),
        component=reason,
        description=t("Who looks at reports reads it; moderators of a server without your name"),
    )
    press = Press(generation.id, _buttons.REPORT, rest=f"{message.channel.id}:{message.id}")
    await _forms.send(interaction, press, t(TITLE), label)


async def take(interaction: discord.Interaction, press: Press) -> None:
    """Stores the report."""
    desk = desk_of(interaction)
    channel_id, _, message_id = press.rest.partition(":")
    if not (channel_id.isdecimal() and message_id.isdecimal()):
        raise InvalidRequestError(_forms.UNKNOWN_FORM)
    reason = str(_forms.values(interaction).get(_REASON) or "").strip()[:_MAX_REASON]

    async def work() -> tuple[bool, bool]:
        generation = await desk.parts.history.get(press.job_id, reader_id=interaction.user.id)
        is_here = _is_for_moderators(desk, interaction.guild_id, generation)
        is_new = await desk.parts.reports.add(
            generation.id,
            interaction.user.id,
            guild_id=interaction.guild_id,
            channel_id=int(channel_id),
            message_id=int(message_id),
            reason=reason,
            for_moderators=is_here,
        )
        return is_new, is_here

    is_new, is_here = await _answer.in_time(interaction, work(), ephemeral=True)
    desk.mod_channel.wake()
    text = REPORTED_BEFORE if not is_new else REPORTED_HERE if is_here else REPORTED
    await _answer.answer(interaction, t(text), ephemeral=True)


def _is_for_moderators(desk: Desk, guild_id: int | None, generation: Generation) -> bool:
    """True when the server's moderators have a channel, and everybody there can see the picture."""
    destination = generation.submission.destination
    is_shown_here = destination.guild_id == guild_id and not destination.private
    return is_shown_here and desk.parts.safety.of(guild_id).reports is not None


# What the managers of a server set.


async def set_channel(
    interaction: discord.Interaction,
    guild_id: int,
    channel: discord.TextChannel | None,
    *,
    off: bool,
) -> None:
    """Sets, ends or shows where the server's reports go.

    Raises:
        RequestError: The channel cannot be used.
    """
    safety = desk_of(interaction).parts.safety
    if channel is None and not off:
        now = safety.of(guild_id).reports
        text = t(NOW_OFF) if now is None else t(NOW, channel=f"<#{now}>")
        await _answer.answer(interaction, text, ephemeral=True)
        return
    if channel is not None:
        if off:
            raise InvalidRequestError(ONE_OF_BOTH)
        _check(channel, guild_id)
    elif safety.of(guild_id).classifier is Classifier.HOLD:
        raise InvalidRequestError(HOLDS)
    work = safety.set_reports(
        guild_id,
        None if channel is None else channel.id,
        locale=of_person(interaction),
        actor_id=interaction.user.id,
    )
    await _answer.in_time(interaction, work, ephemeral=True)
    words = [t(OFF) if channel is None else t(SET, channel=f"<#{channel.id}>")]
    if channel is not None and channel.permissions_for(channel.guild.default_role).view_channel:
        words.append(t(SET_FOR_ALL_TO_SEE))
    await _answer.answer(interaction, " ".join(words), ephemeral=True)


def _check(channel: discord.TextChannel, guild_id: int) -> None:
    if channel.guild.id != guild_id:
        raise NotAllowedError(NOT_HERE)
    mine = channel.permissions_for(channel.guild.me)
    if not (mine.view_channel and mine.send_messages and mine.read_message_history):
        error = InvalidRequestError(CANNOT_POST, channel=f"#{channel.name}")
        raise error


# What the moderators' buttons do.


@only_pressed_by(Reach.MODERATOR)
async def delete(interaction: discord.Interaction, press: Press) -> None:
    """Deletes the picture and the message that shows it."""
    desk = desk_of(interaction)

    async def work() -> bool:
        case = await _case(interaction, press)
        return await desk.parts.cases.delete_pictures(case, actor_id=interaction.user.id)

    is_new = await _answer.in_time(interaction, work(), ephemeral=True)
    desk.tidier.wake()
    await _tell(interaction, t(DELETED if is_new else DECIDED))


@only_pressed_by(Reach.SERVER)
async def block(interaction: discord.Interaction, press: Press) -> None:
    """Turns the picture's owner away in this server, as `/admin user block` does."""
    desk = desk_of(interaction)

    async def work() -> int | None:
        case = await _case(interaction, press)
        if case.blocked_by is not None or case.closed_by is not None:
            return None
        person = await _person(interaction, case.owner_id)
        await _blocking.check_target(interaction, person, case.guild_id)
        actor_id = interaction.user.id
        count = await _blocking.block(desk, case.guild_id, case.owner_id, actor_id=actor_id)
        return count if await desk.parts.cases.note_block(case, actor_id=actor_id) else None

    count = await _answer.in_time(interaction, work(), ephemeral=True)
    if count is None:
        await _tell(interaction, t(DECIDED))
        return
    case = await _case(interaction, press)
    await _tell(interaction, t(BLOCKED, person=f"<@{case.owner_id}>", count=count))


@only_pressed_by(Reach.MODERATOR)
async def dismiss(interaction: discord.Interaction, press: Press) -> None:
    """Leaves the picture where it is."""
    cases = desk_of(interaction).parts.cases

    async def work() -> bool:
        case = await _case(interaction, press)
        return await cases.dismiss(case, actor_id=interaction.user.id)

    is_new = await _answer.in_time(interaction, work(), ephemeral=True)
    await _tell(interaction, t(DISMISSED if is_new else DECIDED))


async def _tell(interaction: discord.Interaction, text: str) -> None:
    desk_of(interaction).mod_channel.wake()
    await _answer.answer(interaction, text, ephemeral=True)


async def _case(interaction: discord.Interaction, press: Press) -> Case:
    assert interaction.guild_id is not None  # only moderators of a server come here
    cases = desk_of(interaction).parts.cases
    return await cases.get(press.job_id, Kind.REPORT, interaction.guild_id)


async def _person(
    interaction: discord.Interaction, person_id: int
) -> discord.Member | discord.User:
    """Returns the member, with their roles, or the person who has left the server.

    Raises:
        InvalidRequestError: Discord does not tell.
    """
    guild = interaction.guild
    assert guild is not None
    try:
        async with asyncio.timeout(_MEMBER_S):
            try:
                return await guild.fetch_member(person_id)
            except discord.NotFound:
                return await interaction.client.fetch_user(person_id)
    except (TimeoutError, discord.HTTPException) as error:
        raise InvalidRequestError(UNTOLD) from error


FORMS: dict[str, Action] = {_buttons.REPORT: take}
ACTIONS: dict[str, Action] = {
    _buttons.CASE_DELETE: delete,
    _buttons.CASE_BLOCK: block,
    _buttons.CASE_DISMISS: dismiss,
}
