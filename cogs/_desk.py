"""What commands and buttons need, in one object that the bot carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import discord

from engine.errors import EngineDiedError
from engine.interfaces import Engine
from engine.queue import JobQueue
from engine.settings import Settings
from engine.types import EngineInfo, Limits, Submission
from storage.history import History
from storage.jobs import JobTable
from storage.ledger import Ledger
from storage.pictures import PictureFiles

if TYPE_CHECKING:
    from cogs._board import Board
    from cogs._orders import Orders


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts behind every command; built once by `EaselBot`."""

    settings: Settings
    engine: Engine
    queue: JobQueue
    jobs: JobTable
    history: History
    pictures: PictureFiles
    ledger: Ledger
    limits: Callable[[Submission], Limits]
    board: Board
    orders: Orders

    def info(self) -> EngineInfo:
        """Returns what the engine said of itself, or what is expected of it while it loads.

        Raises:
            EngineDiedError: Nothing is known of the engine yet.
        """
        info = self.engine.info
        if info is None:
            raise EngineDiedError("no handshake yet")
        return info


class _HasDesk(Protocol):
    desk: Desk


def desk_of(interaction: discord.Interaction) -> Desk:
    """Returns the desk of the bot that got the interaction."""
    return cast("_HasDesk", interaction.client).desk
