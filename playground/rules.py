"""What Discord's client lets a person do: what they see, may write, are offered and can press."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground import permissions
from playground.errors import ClientRefused
from playground.interactions import is_hidden_from
from playground.model import DM, Channel, Guild, Json, Message, User, label_of
from playground.world import World

if TYPE_CHECKING:
    from playground.server import Playground

BUTTON = (2,)
SELECTS = (3, 5, 6, 7, 8)


def require(world: World, user: User, channel: Channel, *names: str) -> None:
    """Refuses unless the person sees the channel and has the named permissions there."""
    value = world.permissions_in(channel, user.id)
    for name in ("view_channel", *names):
        if not permissions.has(value, name):
            raise ClientRefused(
                f"{user.display_name} lacks the permission {name} in #{channel.name}"
            )


def require_visible(world: World, user: User, message: Message, *, force: bool = False) -> None:
    """Refuses when the message is deleted, ephemeral for somebody else, or out of sight."""
    if force:
        return
    if message.is_deleted:
        raise ClientRefused("the message is deleted")
    if is_hidden_from(message, user.id):
        raise ClientRefused(f"{user.display_name} cannot see this ephemeral message")
    require(world, user, world.channels[message.channel_id])


def offered(
    discord: Playground, user: User, kind: int, name: str, channel: Channel, *, force: bool = False
) -> Json:
    """The command as this person's client offers it in this channel.

    Raises:
        ClientRefused: it does not, and why not.
    """
    found = discord.commands.find(kind, name, channel.guild_id)
    if found is None:
        if force:
            return {"id": str(discord.world.new_id()), "name": name, "options": []}
        raise ClientRefused(f"no command is called {name!r} here")
    if not force:
        require(discord.world, user, channel, "use_application_commands")
        _check_place(found, channel, discord.world.guild_of(channel))
        _check_person(found, discord.world, user, channel)
    return found


def _check_place(command: Json, channel: Channel, guild: Guild | None) -> None:
    name = command["name"]
    contexts = command.get("contexts")
    if contexts is not None and (1 if guild is None else 0) not in contexts:
        raise ClientRefused(f"{name!r} is not offered in this kind of channel")
    if guild is None and contexts is None and not command.get("dm_permission", True):
        raise ClientRefused(f"{name!r} is not offered in direct messages")
    if guild is not None and not guild.bot_installed and 1 not in command["integration_types"]:
        raise ClientRefused(f"{name!r} is only offered where the bot is installed")
    if command["nsfw"] and not channel.nsfw and channel.type != DM:
        raise ClientRefused(f"{name!r} is only offered in age-restricted channels")


def _check_person(command: Json, world: World, user: User, channel: Channel) -> None:
    needed = command.get("default_member_permissions")
    if needed is None or channel.guild_id is None:
        return
    value = world.permissions_in(channel, user.id)
    # "0" means: nobody but administrators.
    is_admin = permissions.has(value, "administrator")
    if not is_admin and (int(needed) == 0 or value & int(needed) != int(needed)):
        raise ClientRefused(f"{command['name']!r} is not offered to {user.display_name}")


def control(
    world: World,
    user: User,
    message: Message,
    kinds: tuple[int, ...],
    label: str | None,
    custom_id: str | None,
    *,
    force: bool,
) -> Json:
    """Finds a button or select that the person can use.

    Args:
        world: where things are.
        user: who uses it.
        message: the message it is on.
        kinds: component types to look among.
        label: what is written on it.
        custom_id: its id, alone or together with the label.
        force: take a made-up `custom_id` too.

    Raises:
        ClientRefused: there is none, or it is disabled.
    """
    require_visible(world, user, message, force=force)
    for one in message.controls:
        if one["type"] not in kinds:
            continue
        fits = (label is None or label_of(one) == label) and (
            custom_id is None or one.get("custom_id") == custom_id
        )
        if fits and (label is not None or custom_id is not None or kinds != BUTTON):
            if one.get("disabled") and not force:
                raise ClientRefused(f"{label_of(one)!r} is disabled")
            return one
    if force and custom_id is not None:
        return {"type": kinds[0], "custom_id": custom_id, "label": custom_id}
    names = [label_of(one) for one in message.controls if one["type"] in kinds]
    raise ClientRefused(f"the message has no {label or custom_id!r}, only {names}")
