"""Another model on its way to take the loaded one's place, from the decision to its handshake."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from engine.settings import Settings
from engine.types import EngineInfo
from engine.words import N_

FINISHING = N_("finishing what runs")


@dataclass(slots=True, eq=False)
class Trial:
    """What the client has to know of a change of models.

    Attributes:
        settings: Of the engine with the other model.
        expected: What it will say of itself, as far as that is known.
        before: Settings and handshake to go back to when it cannot be loaded.
        loaded: Its handshake, or the ModelLoadError that says why there is none.
        has_begun: Its process was started: the engine of before has let go of everything.
    """

    settings: Settings
    expected: EngineInfo
    before: tuple[Settings, EngineInfo | None]
    loaded: asyncio.Future[EngineInfo] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    has_begun: bool = False
