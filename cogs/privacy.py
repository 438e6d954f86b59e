"""`/privacy`: what is stored about somebody, all of it to take along, and how to be forgotten."""

from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs import _answer, _erasure, _exports, _notice
from cogs._desk import Desk
from cogs._language import t


@app_commands.allowed_installs(guilds=True, users=True)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
class Privacy(
    commands.GroupCog, group_name="privacy", group_description="What is stored about you."
):
    """Tells, hands over and erases; only the person sees it."""

    def __init__(self, desk: Desk) -> None:
        """Takes the parts of the bot."""
        super().__init__()
        self._desk = desk

    @app_commands.command(description="Read what is stored about you, where, and for how long.")
    async def notice(self, interaction: discord.Interaction) -> None:
        """Answers with the notice."""
        embed = discord.Embed(title=t(_notice.TITLE), description=t(_notice.TEXT))
        await _answer.answer(interaction, ephemeral=True, embed=embed)

    @app_commands.command(description="Download everything that is stored about you.")
    async def export(self, interaction: discord.Interaction) -> None:
        """Answers with ZIP files."""
        await _exports.everything(interaction, self._desk)

    @app_commands.command(description="Delete everything that is stored about you.")
    async def delete(self, interaction: discord.Interaction) -> None:
        """Asks once more."""
        await _erasure.ask(interaction, self._desk)


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Privacy(bot.desk))
