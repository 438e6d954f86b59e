"""What Discord's client would not let a person do: forged options, events that come twice."""

from __future__ import annotations

from typing import Any

from simcord.actors import MemberActor, _dispatch_actor_interaction
from simcord.builders import ChannelHandle
from simcord.enums import AppCommandType, InteractionType, OptionType
from simcord.interactions import base_payload
from simcord.results import InteractionResult

from tests.cogs.conftest import World

_TYPES: dict[type, OptionType] = {
    bool: OptionType.BOOLEAN,
    int: OptionType.INTEGER,
    float: OptionType.NUMBER,
    str: OptionType.STRING,
}


async def forge(
    world: World, actor: MemberActor, channel: ChannelHandle, name: str, **options: Any
) -> InteractionResult:
    """Runs a command with values that the client would have refused.

    A value is sent as it is; (type, value) gives the option type that discord.py is told.
    """
    return await _dispatch_actor_interaction(
        actor, InteractionType.APPLICATION_COMMAND, channel, _command(world, name, options)
    )


def start(
    world: World, actor: MemberActor, channel: ChannelHandle, name: str, **options: Any
) -> InteractionResult:
    """Runs a command without waiting for anything: real time passes for it, as for a slow disk."""
    return _started(world, actor, channel.id, world.guild.id, name, options)


def start_among_friends(
    world: World, actor: MemberActor, name: str, **options: Any
) -> InteractionResult:
    """Runs a command in a group of friends, where the bot is only this person's own app."""
    channel_id = actor.user.dm_channel.id
    return _started(world, actor, channel_id, None, name, options, context=2)


def _started(
    world: World,
    actor: MemberActor,
    channel_id: int,
    guild_id: int | None,
    name: str,
    options: dict[str, Any],
    **changes: Any,
) -> InteractionResult:
    record, payload = base_payload(
        world.env.backend,
        type=InteractionType.APPLICATION_COMMAND,
        channel_id=channel_id,
        guild_id=guild_id,
        user_id=actor.id,
        data=_command(world, name, options),
    )
    payload |= changes
    with world.env.time_context():
        world.bot._connection.parse_interaction_create(payload)
    return InteractionResult(world.env, record)


def _command(world: World, name: str, options: dict[str, Any]) -> dict[str, Any]:
    root = world.env.backend.find_command(name, world.guild.id, type=AppCommandType.CHAT_INPUT)
    assert root is not None
    wire = []
    for key, value in options.items():
        kind, sent = value if isinstance(value, tuple) else (_TYPES[type(value)], value)
        wire.append({"name": key, "type": int(kind), "value": sent})
    return {"id": root["id"], "name": name, "type": 1, "options": wire}


async def press(
    world: World, actor: MemberActor, message: Any, custom_id: str
) -> InteractionResult:
    """Presses a button that carries another id than it was sent with."""
    stored = world.env.backend.get_message(message.channel.id, message.id)
    stored.components[0]["components"][0]["custom_id"] = custom_id
    return await actor.click(message, custom_id=custom_id)


class Recorder:
    """Keeps the interactions as the gateway sent them, to send one again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.payloads: list[dict[str, Any]] = []
        world.env.backend.subscribers.append(self._note)

    def _note(self, event: str, payload: Any) -> None:
        if event == "INTERACTION_CREATE" and payload not in self.payloads:
            self.payloads.append(payload)

    async def again(self) -> None:
        """Delivers the last interaction once more."""
        self._world.env.backend.emit("INTERACTION_CREATE", self.payloads[-1])
        await self._world.env.settle()
