"""The menus of messages and people: Remix this, Use as pose, Image info, Upscale, Report image, Remix avatar."""

from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs import (
    _actions,
    _answer,
    _buttons,
    _pose_form,
    _remake,
    _remix_form,
    _reports,
    _source_options,
    _sources,
    _text,
)
from cogs._buttons import Press
from cogs._desk import Desk
from cogs._language import N_, t
from cogs._sources import Source
from engine.errors import InvalidRequestError, NotAllowedError

NOTHING_HERE = N_("There is no picture in that message.")
NOT_MINE = N_(
    "I did not make this picture, so I know no more of it than its file says: {facts}. "
    "With Apps, **Remix this** you can start from it."
)
SEVERAL = N_("There are {count} pictures in that message. Press U1 to U{count} below them.")
REPORT_OTHERS = N_(
    "I can only take reports of pictures that I made. Report this one to the moderators of the server."
)

_AVATAR_SIDE = 512


class Menus(commands.Cog):
    """What the Apps menu of a message or a person offers."""

    def __init__(self, bot: Any) -> None:
        """Takes the bot."""
        self._bot: commands.Bot = bot
        self._desk: Desk = bot.desk
        named: dict[str, Any] = {
            "Remix this": self.remix_this,
            "Use as pose": self.use_as_pose,
            "Image info": self.image_info,
            "Upscale": self.upscale,
            "Report image": self.report,
            "Remix avatar": self.remix_avatar,
        }
        self._menus = [
            app_commands.ContextMenu(
                name=name,
                callback=callback,
                allowed_contexts=app_commands.AppCommandContext(
                    guild=True, dm_channel=True, private_channel=True
                ),
                allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
            )
            for name, callback in named.items()
        ]

    async def cog_load(self) -> None:
        """Adds the menus."""
        for menu in self._menus:
            self._bot.tree.add_command(menu)

    async def cog_unload(self) -> None:
        """Takes them away."""
        for menu in self._menus:
            self._bot.tree.remove_command(menu.name, type=menu.type)

    async def remix_this(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Opens the form for the picture."""
        source = await self._source(message)
        if source.address is not None:
            self._desk.arrivals.check(source.address, source.size)
        await _remix_form.open_for(interaction, source)

    async def use_as_pose(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Opens the form for a new picture that follows this one."""
        source = await self._source(message)
        if source.address is not None:
            self._desk.arrivals.check(source.address, source.size)
        await _pose_form.open_for(interaction, source)

    async def image_info(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Shows what made the picture; of a foreign one, what its file says."""
        source = await _answer.in_time(interaction, self._source(message), ephemeral=True)
        if source.generation is not None:
            await _actions.info(interaction, Press(source.generation.id, _buttons.INFO))
            return
        file = _sources.picture_in(_sources.files_of(message))
        assert file is not None  # `_source` found it
        size = max(file.size / 1024, 1)
        facts = [_text.shown(file.filename, 100), t("{size:,.0f} KiB", size=size)]
        if file.width and file.height:
            facts.insert(1, t("{width} x {height} pixels", width=file.width, height=file.height))
        text = t(NOT_MINE, facts=", ".join(facts))
        await _answer.answer(interaction, text, ephemeral=True)

    async def upscale(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Makes the picture larger."""
        source = await self._source(message)
        generation = source.generation
        if generation is None:
            private = _source_options.is_private(self._desk, interaction, source, None)
            await _remake.change_file(interaction, source, _buttons.UPSCALE, private=private)
            return
        if len(generation.pictures) > 1:
            raise InvalidRequestError(SEVERAL, count=len(generation.pictures))
        await _remake.change(interaction, Press(generation.id, _buttons.UPSCALE))

    async def report(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Asks why, and stores it for those who look after the server or the bot."""
        generation = (await self._source(message)).generation
        if generation is None:
            raise NotAllowedError(REPORT_OTHERS)
        await _reports.open_for(interaction, generation, message)

    async def remix_avatar(
        self, interaction: discord.Interaction, user: discord.Member | discord.User
    ) -> None:
        """Opens the form for somebody's avatar, as this server shows it."""
        # A still PNG, also of an animated one.
        avatar = user.display_avatar.with_format("png").with_size(_AVATAR_SIDE)
        self._desk.arrivals.check(avatar.url)
        await _remix_form.open_for(interaction, Source(address=avatar.url))

    async def _source(self, message: discord.Message) -> Source:
        own = self._bot.user
        source = await _sources.of_message(self._desk, message, own.id if own is not None else None)
        if source is None:
            raise InvalidRequestError(NOTHING_HERE)
        return source


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Menus(bot))
