"""`/settings`: a person's own defaults."""

from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs import _answer, _buttons, _settings
from cogs._desk import Desk


class Settings(commands.Cog):
    """Lets people set what they would otherwise type again and again."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        self._desk = desk

    @app_commands.command(description="Your defaults: shape, negative prompt, quality and more.")
    @app_commands.allowed_installs(guilds=True, users=True)
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    async def settings(self, interaction: discord.Interaction) -> None:
        """Answers with the card."""
        preferences = self._desk.parts.people.preferences(interaction.user.id)
        await _answer.answer(
            interaction,
            ephemeral=True,
            embed=_settings.card(preferences),
            view=_buttons.settings_view(),
        )


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Settings(bot.desk))
