"""`/upscale`: one of my pictures, a linked or an attached one, made larger."""

from typing import Any

import discord
from discord import app_commands
from discord.app_commands import Choice, Range
from discord.ext import commands

from cogs import _buttons, _changes, _limits, _remake, _source_options, _sources
from cogs._desk import Desk
from cogs._orders import Order
from engine.errors import InvalidRequestError

FAITHFUL, CREATIVE = "faithful", "creative"

_ACTIONS = {
    (2, FAITHFUL): _buttons.UPSCALE,
    (4, FAITHFUL): _buttons.UPSCALE_MORE,
    (2, CREATIVE): _buttons.UPSCALE_CREATIVE,
    (4, CREATIVE): _buttons.UPSCALE_CREATIVE_MORE,
}


class Upscale(commands.Cog):
    """The command that makes pictures larger."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="Make a picture larger.")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.describe(
        image="The picture: PNG, JPEG or WebP",
        source="One of your pictures, by words of its prompt, or a link to a message with a picture",
        factor="How many times as wide and high; 2 when left out",
        mode="faithful keeps every detail, creative draws new ones; faithful when left out",
        private="Only you see the picture",
    )
    @app_commands.choices(
        factor=[Choice(name=f"{factor}x", value=factor) for factor in (2, 4)],
    )
    @app_commands.choices(
        mode=[
            Choice(name="faithful: the same picture, larger", value=FAITHFUL),
            Choice(name="creative: new details are drawn into it", value=CREATIVE),
        ],
    )
    async def upscale(
        self,
        interaction: discord.Interaction,
        image: discord.Attachment | None = None,
        source: Range[str, 1, 200] | None = None,
        factor: int = 2,
        mode: str = FAITHFUL,
        private: bool | None = None,
    ) -> None:
        """Finds the picture and shows the status line."""
        action = _ACTIONS.get((factor, mode))
        if action is None:
            raise InvalidRequestError(
                "I make pictures 2 or 4 times as large, faithful or creative. Choose one of these."
            )
        found = await _source_options.find(self._desk, interaction, image, source)
        is_private = _source_options.is_private(self._desk, interaction, found, private)
        if found.address is not None:
            await _remake.change_file(interaction, found, action, private=is_private)
            return
        generation = found.generation
        assert generation is not None  # a source has one or an address

        async def order() -> Order:
            return await _changes.order(
                self._desk,
                action,
                generation,
                found.index,
                private=is_private,
                limits=_limits.of(interaction),
            )

        await self._desk.orders.place(interaction, order, private=is_private)

    @upscale.autocomplete("source")
    async def _pictures(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return await _sources.choices(self._desk, interaction.user.id, current)


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Upscale(bot.desk))
