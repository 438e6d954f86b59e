"""Keeps those out who were turned away, before anything is done for them.

Whatever makes a picture is refused once more by the queue; here it is about everything else, too. What
is stored about somebody stays theirs to see and to delete, so /privacy is open to all, and /help.
"""

from __future__ import annotations

from typing import Any

import discord

from cogs._desk import desk_of
from engine.errors import BlockedError

OPEN_COMMANDS = frozenset({"privacy", "help"})


def refusal(interaction: discord.Interaction[Any]) -> BlockedError | None:
    """Returns what to tell somebody who is turned away where the interaction comes from."""
    blocks = desk_of(interaction).parts.blocks
    return blocks.refusal(interaction.user.id, interaction.guild_id)


def check(interaction: discord.Interaction[Any]) -> None:
    """Raises BlockedError for somebody who is turned away."""
    if (error := refusal(interaction)) is not None:
        raise error


def is_open(interaction: discord.Interaction[Any]) -> bool:
    """True for a command that everybody can use."""
    data: Any = interaction.data or {}
    return data.get("name") in OPEN_COMMANDS
