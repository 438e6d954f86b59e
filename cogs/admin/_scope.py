"""How far a command of `/admin` reaches that managers use for their server and owners for all of them."""

from __future__ import annotations

import discord

from cogs import _authority
from engine.limits import EVERYWHERE

EVERYWHERE_HELP = "For all servers and DMs; for the owners of this bot"


async def reach_of(interaction: discord.Interaction, *, everywhere: bool) -> int:
    """Returns the server that the person manages, or `EVERYWHERE` for an owner who asks for that.

    Raises:
        NotAllowedError: They may not.
    """
    if everywhere:
        await _authority.require_owner(interaction)
        return EVERYWHERE
    return _authority.require_manager(interaction)
