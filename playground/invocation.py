"""A person's view of one interaction: was it answered, how fast, and with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from playground.errors import NoResponse
from playground.interactions import (
    CHOICES,
    COMMAND,
    DEFER_MESSAGE,
    DEFER_UPDATE,
    MESSAGE,
    MODAL,
    UPDATE,
    Ack,
    Interaction,
    Interactions,
)
from playground.model import Json, Message
from playground.world import World

T = TypeVar("T")

_KINDS = {
    MESSAGE: "a message",
    DEFER_MESSAGE: "a deferral",
    DEFER_UPDATE: "a silent deferral",
    UPDATE: "an update",
    CHOICES: "choices",
    MODAL: "a modal",
}


class Invocation:
    """What a slash command, press, menu or form submission led to."""

    def __init__(self, world: World, interactions: Interactions, interaction: Interaction) -> None:
        self._world = world
        self._interactions = interactions
        self.interaction = interaction

    @property
    def id(self) -> int:
        return self.interaction.id

    @property
    def ack(self) -> Ack | None:
        """The first answer, once there is one."""
        return self.interaction.ack

    @property
    def messages(self) -> list[Message]:
        """The answer and its follow-ups that still exist, in order."""
        listed = [self.interaction.original, *self.interaction.followups]
        return [one for one in listed if one is not None and not one.is_deleted]

    async def acknowledged(self, timeout_s: float = 10.0) -> Ack:
        """Waits for the bot's first answer.

        Raises:
            NoResponse: three seconds passed: "The application did not respond".
        """
        return await self._until(self._acknowledged, timeout_s)

    def _acknowledged(self) -> Ack | None:
        if self.interaction.state == "failed":
            raise NoResponse(f"{self.interaction.description}: The application did not respond")
        return self.interaction.ack

    async def response(self, timeout_s: float = 10.0) -> Message:
        """Waits for the answering message; a deferred one counts once it is filled in.

        Raises:
            NoResponse: nothing came, or the bot answered with something else than a message.
        """

        def check() -> Message | None:
            ack = self._acknowledged()
            if ack is None:
                return None
            original = self.interaction.original
            if original is None:
                raise NoResponse(f"the bot answered with {_KINDS[ack.type]}, not with a message")
            if original.is_deleted:
                raise NoResponse("the bot deleted its answer")
            return None if original.is_loading else original

        return await self._until(check, timeout_s)

    async def followup(self, index: int = 0, timeout_s: float = 10.0) -> Message:
        """Waits for the bot's follow-up message number `index`."""

        def check() -> Message | None:
            followups = self.interaction.followups
            return followups[index] if index < len(followups) else None

        return await self._until(check, timeout_s)

    async def wait_for(
        self, condition: Callable[[Message], object], timeout_s: float = 10.0
    ) -> Message:
        """Waits until the answer or a follow-up meets the condition, also after edits."""

        def check() -> Message | None:
            self._acknowledged()
            return next((one for one in self.messages if condition(one)), None)

        return await self._until(check, timeout_s)

    async def modal(self, timeout_s: float = 10.0) -> Json:
        """Waits for the form that the bot opens."""
        ack = await self.acknowledged(timeout_s)
        if self.interaction.modal is None:
            raise NoResponse(f"the bot answered with {_KINDS[ack.type]}, not with a modal")
        return self.interaction.modal

    async def choices(self, timeout_s: float = 10.0) -> list[Json]:
        """Waits for the suggestions of an autocomplete."""
        await self.acknowledged(timeout_s)
        return list(self.interaction.choices or [])

    def redeliver(self) -> int:
        """Delivers the same interaction again; returns how many sessions got it."""
        return self._interactions.redeliver(self.interaction)

    @property
    def is_command(self) -> bool:
        return self.interaction.type == COMMAND

    async def _until(self, check: Callable[[], T | None], timeout_s: float) -> T:
        found = check()
        if found is not None:
            return found
        try:
            return await self._world.signals.wait(
                ("interaction", self.interaction.id), lambda _: check(), timeout_s
            )
        except TimeoutError:
            raise NoResponse(
                f"{self.interaction.description}: not within {timeout_s:g} s"
            ) from None
