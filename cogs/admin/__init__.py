"""`/admin`: what the managers of a server decide for it, and the bot's owners for all of it.

One module for each group of commands. Every command says, and so checks, whom it is for
(`cogs._authority.only`), since what Discord hides can be shown again in a server's settings.
"""

from typing import Any

from discord import app_commands
from discord.ext import commands

from cogs.admin._channel import ChannelGroup
from cogs.admin._limits import LimitsGroup
from cogs.admin._lora import LoraGroup
from cogs.admin._model import ModelGroup
from cogs.admin._ops import OpsGroup
from cogs.admin._queue import QueueGroup
from cogs.admin._safety import SafetyGroup
from cogs.admin._user import UserGroup


@app_commands.allowed_installs(guilds=True, users=False)
@app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
@app_commands.default_permissions(manage_guild=True)
class Admin(
    commands.GroupCog,
    group_name="admin",
    group_description="Rules of this server, and of this bot.",
):
    """The groups in the order in which Discord shows them."""

    lora = LoraGroup()
    channel = ChannelGroup()
    limits = LimitsGroup()
    user = UserGroup()
    queue = QueueGroup()
    ops = OpsGroup()
    model = ModelGroup()
    safety = SafetyGroup()


async def setup(bot: Any) -> None:
    """Adds the cog; called by discord.py."""
    await bot.add_cog(Admin())
