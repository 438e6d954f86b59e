"""What commands and buttons need, in one object that the bot carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import discord

from engine.errors import EngineDiedError
from engine.intake.pool import Intake
from engine.interfaces import Engine
from engine.models import Models
from engine.moderation import Moderation
from engine.queue import JobQueue
from engine.settings import Settings
from engine.styles import Styles
from engine.tally import Tally
from engine.types import EngineInfo, Limits
from storage.activity import Activities
from storage.arrivals import Arrivals as StoredArrivals
from storage.audit import Audit
from storage.backups import Backups
from storage.blocks import Blocks
from storage.cases import Cases
from storage.channel_rules import ChannelRules
from storage.drafts import Drafts
from storage.facts import Facts
from storage.figures import Figures
from storage.gallery import Gallery
from storage.grants import GrantTable
from storage.history import History
from storage.jobs import JobTable
from storage.ledger import Ledger
from storage.operation import Operation
from storage.people import People
from storage.pictures import PictureFiles
from storage.places import Places
from storage.poses import Poses
from storage.privacy import Privacy
from storage.purge import Purge
from storage.reports import Reports
from storage.rules import Rules
from storage.safety import ServerSafety
from storage.server_models import ServerModels

if TYPE_CHECKING:
    from cogs._arrivals import Arrivals
    from cogs._board import Board
    from cogs._handlers import Handlers
    from cogs._lora_files import LoraFiles
    from cogs._mod_channel import ModChannel
    from cogs._orders import Orders
    from cogs._remix_form import Offers
    from cogs._style_previews import StylePreviews
    from cogs._tidier import Tidier


class Parts(Protocol):
    """What the bot is built from, see `cli.parts`."""

    @property
    def settings(self) -> Settings:
        """The settings of this process."""

    @property
    def limits(self) -> Limits:
        """What the settings let a person have waiting and use up; `rules` knows what holds."""

    @property
    def engine(self) -> Engine:
        """For what it says of itself; jobs go through the queue."""

    @property
    def queue(self) -> JobQueue:
        """The one entrance for jobs."""

    @property
    def jobs(self) -> JobTable:
        """The stored jobs."""

    @property
    def arrivals(self) -> StoredArrivals:
        """Requests whose picture is not there yet."""

    @property
    def intake(self) -> Intake:
        """Checks files that people sent."""

    @property
    def styles(self) -> Styles:
        """The LoRAs that people may use."""

    @property
    def models(self) -> Models:
        """The models that may be loaded."""

    @property
    def server_models(self) -> ServerModels:
        """Which of them a server takes."""

    @property
    def history(self) -> History:
        """The finished ones."""

    @property
    def gallery(self) -> Gallery:
        """Searches, stars and families of the finished ones."""

    @property
    def people(self) -> People:
        """What people have set for themselves."""

    @property
    def operation(self) -> Operation:
        """What the bot's owners decided for all servers."""

    @property
    def poses(self) -> Poses:
        """Poses that people saved."""

    @property
    def drafts(self) -> Drafts:
        """Control maps that people look at before a picture is made."""

    @property
    def moderation(self) -> Moderation:
        """Words that prompts may not have."""

    @property
    def places(self) -> Places:
        """What was set for servers and channels."""

    @property
    def privacy(self) -> Privacy:
        """Exports and erases people."""

    @property
    def pictures(self) -> PictureFiles:
        """Their files."""

    @property
    def reports(self) -> Reports:
        """What people reported."""

    @property
    def cases(self) -> Cases:
        """What a server's moderators are to decide about."""

    @property
    def safety(self) -> ServerSafety:
        """Where a server's reports go."""

    @property
    def audit(self) -> Audit:
        """Who changed what."""

    @property
    def tally(self) -> Tally:
        """What this process counted."""

    @property
    def figures(self) -> Figures:
        """What the operator wants to know of the database."""

    @property
    def backups(self) -> Backups:
        """Makes backups."""

    @property
    def purge(self) -> Purge:
        """Removes old pictures."""

    @property
    def ledger(self) -> Ledger:
        """What people have used up."""

    @property
    def rules(self) -> Rules:
        """What holds for whom."""

    @property
    def blocks(self) -> Blocks:
        """Who is turned away where."""

    @property
    def channel_rules(self) -> ChannelRules:
        """In which channels pictures are made, and how."""

    @property
    def grants(self) -> GrantTable:
        """Extra pictures."""

    @property
    def activities(self) -> Activities:
        """How much people ask for."""

    @property
    def facts(self) -> Facts:
        """What Discord was told before."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What stands behind every command and button; built once by `EaselBot`."""

    parts: Parts
    board: Board
    orders: Orders
    tidier: Tidier
    mod_channel: ModChannel
    arrivals: Arrivals
    offers: Offers
    lora_files: LoraFiles
    previews: StylePreviews
    handlers: Handlers

    def info(self) -> EngineInfo:
        """Returns what the engine said of itself, or what is expected of it while it loads.

        Raises:
            EngineDiedError: Nothing is known of the engine yet.
        """
        info = self.parts.engine.info
        if info is None:
            raise EngineDiedError("no handshake yet")
        return info


class _HasDesk(Protocol):
    desk: Desk


def desk_of(interaction: discord.Interaction) -> Desk:
    """Returns the desk of the bot that got the interaction."""
    return cast("_HasDesk", interaction.client).desk
