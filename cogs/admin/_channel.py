"""`/admin channel`: rules of one channel, or of all channels of a server."""

import discord
from discord import app_commands
from discord.app_commands import Choice

from cogs import _places
from cogs._authority import Reach, only

_WHERE = "For this channel with its threads, or for the whole server; this channel when left out"


class ChannelGroup(app_commands.Group):
    """Each part checks the permissions itself."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(name="channel", description="Rules of this channel, or of all channels.")

    @app_commands.command(description="What counts here when people leave an option out.")
    @app_commands.describe(where=_WHERE)
    @app_commands.choices(
        where=[
            Choice(name="this channel", value=_places.CHANNEL),
            Choice(name="the whole server", value=_places.SERVER),
        ]
    )
    @only(Reach.CHANNEL)
    async def defaults(
        self, interaction: discord.Interaction, where: str = _places.CHANNEL
    ) -> None:
        """Answers with the card."""
        await _places.open_for(interaction, where)
