"""`/admin channel`: in which channels of a server pictures are made, how, and with which defaults."""

from __future__ import annotations

import discord
from discord import AppCommandOptionType, ChannelType, app_commands
from discord.app_commands import AppCommandChannel, AppCommandThread, Choice

from cogs import _answer, _authority, _places, _text, _whereabouts
from cogs._authority import Reach, only
from cogs._desk import Desk, desk_of
from cogs._language import N_, t
from engine.errors import InvalidRequestError
from storage.channel_rules import WHOLE_SERVER, ChannelRule, Mode

_WHERE = "For this channel with its threads, or for the whole server; this channel when left out"
_CHANNEL = "Another channel, with its threads"
_WHERES = [
    Choice(name="this channel", value=_places.CHANNEL),
    Choice(name="the whole server", value=_places.SERVER),
]
_KINDS = [
    ChannelType.text,
    ChannelType.news,
    ChannelType.voice,
    ChannelType.stage_voice,
    ChannelType.forum,
    ChannelType.media,
    ChannelType.public_thread,
    ChannelType.private_thread,
    ChannelType.news_thread,
]
_MAX_TEXT = 4000

ONE_PLACE = N_(
    "The whole server is more than that channel: give the option channel or where, not both."
)
NO_SUCH_MODE = N_("There is no such mode. Choose one of: {modes}.")
ALLOWED = N_("Pictures can be made in {channel}.")
ALLOWED_ALL = N_("Pictures can be made in every channel of this server that is not denied.")
DENIED = N_(
    "No pictures can be made in {channel} any more. What was accepted before is still made."
)
DENIED_ALL = N_(
    "Pictures can be made in no channel of this server but those that are allowed: "
    "/admin channel allow. What was accepted before is still made."
)
MODES = {
    Mode.NONE: N_("In {channel} pictures are shown as they are."),
    Mode.SFW: N_("{channel} takes no pictures from age-restricted channels."),
    Mode.SPOILER: N_("In {channel} every new picture is hidden until somebody clicks on it."),
    Mode.NSFW_ONLY: N_("In {channel} pictures can be made only while it is age-restricted."),
}
MODES_ALL = {
    Mode.NONE: N_("In channels without a mode of their own pictures are shown as they are."),
    Mode.SFW: N_("Channels without a mode of their own take no pictures from age-restricted ones."),
    Mode.SPOILER: N_(
        "In channels without a mode of their own every new picture is hidden until somebody clicks on it."
    ),
    Mode.NSFW_ONLY: N_(
        "In channels without a mode of their own pictures can be made only while they are age-restricted."
    ),
}
NOT_RESTRICTED = N_(
    "It is not: turn the age restriction on in its settings, or nobody can make pictures there."
)

TITLE = N_("Channels of this server")
IN_THE_OTHERS = N_("in all other channels")
YES, NO = N_("allowed"), N_("denied")
MODE_NAMES = {
    Mode.NONE: N_("no mode"),
    Mode.SFW: N_("sfw"),
    Mode.SPOILER: N_("spoiler"),
    Mode.NSFW_ONLY: N_("nsfw-only"),
}


class _AnyChannel(app_commands.Transformer):
    """A channel or thread as Discord describes it, with what the person may do there."""

    @property
    def type(self) -> AppCommandOptionType:
        return AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[ChannelType]:
        return _KINDS

    async def transform(
        self, interaction: discord.Interaction, value: AppCommandChannel | AppCommandThread, /
    ) -> AppCommandChannel | AppCommandThread:
        return value


_Channel = app_commands.Transform[AppCommandChannel | AppCommandThread, _AnyChannel]


class ChannelGroup(app_commands.Group):
    """Whoever manages a channel decides about it, and the managers of the server about all of them."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(name="channel", description="Rules of this channel, or of all channels.")

    @app_commands.command(description="Let people make pictures in a channel.")
    @app_commands.describe(channel=_CHANNEL, where=_WHERE)
    @app_commands.choices(where=_WHERES)
    @only(Reach.CHANNEL)
    async def allow(
        self,
        interaction: discord.Interaction,
        channel: _Channel | None = None,
        where: str = _places.CHANNEL,
    ) -> None:
        """Also ends an earlier denial."""
        await _set_allowed(interaction, channel, where, allowed=True)

    @app_commands.command(description="Let nobody make pictures in a channel.")
    @app_commands.describe(channel=_CHANNEL, where=_WHERE)
    @app_commands.choices(where=_WHERES)
    @only(Reach.CHANNEL)
    async def deny(
        self,
        interaction: discord.Interaction,
        channel: _Channel | None = None,
        where: str = _places.CHANNEL,
    ) -> None:
        """For the whole server: only the channels that are allowed are left."""
        await _set_allowed(interaction, channel, where, allowed=False)

    @app_commands.command(description="What pictures of a channel have to keep to.")
    @app_commands.describe(mode="What counts there", channel=_CHANNEL, where=_WHERE)
    @app_commands.choices(
        mode=[
            Choice(name="sfw: no pictures from age-restricted channels", value=Mode.SFW.value),
            Choice(name="spoiler: hidden until somebody clicks", value=Mode.SPOILER.value),
            Choice(
                name="nsfw-only: only while the channel is age-restricted",
                value=Mode.NSFW_ONLY.value,
            ),
            Choice(name="none", value=Mode.NONE.value),
        ],
        where=_WHERES,
    )
    @only(Reach.CHANNEL)
    async def mode(
        self,
        interaction: discord.Interaction,
        mode: str,
        channel: _Channel | None = None,
        where: str = _places.CHANNEL,
    ) -> None:
        """A channel's own mode comes before that of the server."""
        if mode not in list(Mode):
            raise InvalidRequestError(NO_SUCH_MODE, modes=", ".join(Mode))
        chosen = Mode(mode)
        channel_id = _target(interaction, channel, where)
        desk, guild_id = desk_of(interaction), interaction.guild_id or 0
        work = desk.parts.channel_rules.set_mode(
            guild_id, channel_id, chosen, actor_id=interaction.user.id
        )
        await _answer.in_time(interaction, work, ephemeral=True)
        if channel_id == WHOLE_SERVER:
            text = t(MODES_ALL[chosen])
        else:
            text = t(MODES[chosen], channel=f"<#{channel_id}>")
            place = _whereabouts.place_at(interaction.client, guild_id, channel_id)
            if chosen is Mode.NSFW_ONLY and place.is_known and not place.is_age_restricted:
                text = f"{text} {t(NOT_RESTRICTED)}"
        await _show(interaction, text)

    @app_commands.command(description="See where pictures can be made, and how.")
    @only(Reach.CHANNEL)
    async def show(self, interaction: discord.Interaction) -> None:
        """Answers with the rules of this server."""
        await _show(interaction)

    @app_commands.command(description="What counts here when people leave an option out.")
    @app_commands.describe(where=_WHERE)
    @app_commands.choices(where=_WHERES)
    @only(Reach.CHANNEL)
    async def defaults(
        self, interaction: discord.Interaction, where: str = _places.CHANNEL
    ) -> None:
        """Answers with the card."""
        await _places.open_for(interaction, where)


async def _set_allowed(
    interaction: discord.Interaction,
    channel: AppCommandChannel | AppCommandThread | None,
    where: str,
    *,
    allowed: bool,
) -> None:
    channel_id = _target(interaction, channel, where)
    work = desk_of(interaction).parts.channel_rules.set_allowed(
        interaction.guild_id or 0, channel_id, allowed, actor_id=interaction.user.id
    )
    await _answer.in_time(interaction, work, ephemeral=True)
    if channel_id == WHOLE_SERVER:
        text = t(ALLOWED_ALL if allowed else DENIED_ALL)
    else:
        text = t(ALLOWED if allowed else DENIED, channel=f"<#{channel_id}>")
    await _show(interaction, text)


def _target(
    interaction: discord.Interaction,
    channel: AppCommandChannel | AppCommandThread | None,
    where: str,
) -> int:
    """Returns the channel that is meant, of a thread the one it belongs to, or `WHOLE_SERVER`.

    Raises:
        NotAllowedError: It is not this person's to decide about.
        InvalidRequestError: Two places were given.
    """
    if where == _places.SERVER:
        _authority.require_manager(interaction)
        if channel is not None:
            raise InvalidRequestError(ONE_PLACE)
        return WHOLE_SERVER
    if channel is None:
        return _whereabouts.channel_of(interaction)
    _authority.require_channel_manager(channel.permissions)
    return channel.parent_id if isinstance(channel, AppCommandThread) else channel.id


async def _show(interaction: discord.Interaction, text: str | None = None) -> None:
    """Answers with all rules of the server, as only all of them say what counts."""
    lines = _rules(desk_of(interaction), interaction.guild_id or 0)
    embed = discord.Embed(title=t(TITLE), description=_text.joined_within(lines, _MAX_TEXT))
    await _answer.answer(interaction, text, ephemeral=True, embed=embed)


def _rules(desk: Desk, guild_id: int) -> list[str]:
    rules = desk.parts.channel_rules
    known = rules.of_server(guild_id)
    server = known.pop(WHOLE_SERVER, ChannelRule())
    lines = [_line(f"<#{channel_id}>", rule) for channel_id, rule in sorted(known.items())]
    rest = ChannelRule(server.allowed is not False, server.mode or Mode.NONE)
    return [*lines, _line(t(IN_THE_OTHERS), rest)]


def _line(name: str, rule: ChannelRule) -> str:
    said = [] if rule.allowed is None else [t(YES if rule.allowed else NO)]
    if rule.mode is not None:
        said.append(t(MODE_NAMES[rule.mode]))
    return f"{name}: {' · '.join(said)}"
