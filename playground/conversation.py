"""The conversation so far as plain data: what `conversation.json` holds and the page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground import pictures
from playground.interactions import AUTOCOMPLETE, Interaction, is_hidden_from
from playground.model import DM, PUBLIC_THREAD, Attachment, Channel, Json, Message, User

if TYPE_CHECKING:
    from playground.server import Playground


def conversation(discord: Playground, title: str = "Conversation") -> Json:
    """Describes every channel with its messages, ephemeral ones and failures included.

    Pictures are named by `file`, a path below the page's folder; `write_page` puts them there.
    """
    channels = []
    for channel in list(discord.world.channels.values()):
        listed = entries(discord, channel)
        if listed:
            channels.append(_channel(discord, channel) | {"messages": listed})
    return {
        "title": title,
        "made_at": discord.world.clock.iso(),
        "bot": _user(discord.world.bot),
        **names(discord),
        "channels": channels,
    }


def names(discord: Playground) -> Json:
    """What ids in messages stand for."""
    world = discord.world
    guilds = list(world.guilds.values())
    return {
        "users": {str(one.id): one.display_name for one in world.users.values()},
        "roles": {str(role.id): role.name for guild in guilds for role in guild.roles.values()},
        "channel_names": {str(one.id): one.name for one in world.channels.values()},
    }


def entries(
    discord: Playground, channel: Channel, *, viewer: User | None = None, last: int | None = None
) -> list[Json]:
    """The messages of a channel and its failed interactions, in order.

    Args:
        discord: the server.
        channel: where.
        viewer: leave out what is hidden from this person.
        last: only the newest so many messages.
    """
    messages = list(channel.messages.values())[-(last or 0) :]
    listed = [one for one in messages if viewer is None or not is_hidden_from(one, viewer.id)]
    interactions = discord.interactions.all
    found = [_message(discord, one, interactions) for one in listed]
    oldest = messages[0].id if last and len(messages) == last else 0
    found += [
        _failure(discord, one)
        for one in list(interactions.values())
        if one.channel is channel and one.state == "failed" and one.id > oldest
        if one.type != AUTOCOMPLETE
        if viewer is None or one.user is viewer
    ]
    return sorted(found, key=lambda entry: int(entry["id"]))


def picture_file(attachment: Attachment) -> str:
    """Where an attachment lies beside the page."""
    return f"files/{attachment.id}-{attachment.filename}"


def _user(user: User) -> Json:
    words = user.display_name.split()
    initials = "".join(word[0] for word in words[:2]).upper() or "?"
    return {
        "id": str(user.id),
        "name": user.display_name,
        "bot": user.bot,
        "initials": initials,
        "colour": "#" + bytes(pictures.colour_of(user.name)).hex(),
    }


def _channel(discord: Playground, channel: Channel) -> Json:
    guild = discord.world.guild_of(channel)
    kind = {DM: "direct", PUBLIC_THREAD: "thread"}.get(channel.type, "text")
    return {
        "id": str(channel.id),
        "name": channel.name,
        "kind": kind,
        "guild": guild.name if guild else None,
        "nsfw": channel.nsfw,
        "topic": channel.topic,
        "deleted": channel.deleted,
    }


def _message(discord: Playground, message: Message, answered: dict[int, Interaction]) -> Json:
    clock = discord.world.clock
    viewer = discord.world.users.get(message.visible_to or 0)
    entry: Json = {
        "id": str(message.id),
        "kind": "message",
        "author": _user(message.author),
        "at": clock.iso(message.created_at),
        "edited_at": clock.iso(message.edited_at) if message.edited_at else None,
        "content": message.content,
        "is_deleted": message.is_deleted,
        "is_thinking": message.is_loading,
        "is_ephemeral": message.is_ephemeral,
        "visible_to": viewer.display_name if viewer else None,
        "pings": [user.display_name for user in message.mentions],
        "mention_everyone": message.mention_everyone,
        "allowed_mentions": message.allowed_mentions,
        "attachments": [_attachment(one) for one in message.attachments],
        "embeds": message.embeds,
        "components": message.components,
        "reactions": {emoji: len(people) for emoji, people in message.reactions.items() if people},
        "edits": [
            {
                "replaced_at": clock.iso(edit.replaced_at),
                "content": edit.content,
                "attachments": edit.attachments,
            }
            for edit in message.edits
        ],
        "reply_to": None,
        "command": None,
        "asked": None,
    }
    if message.reference_id is not None:
        entry["reply_to"] = _quote(message.reference, message.reference_id)
    interaction = answered.get(message.interaction_id or 0)
    if interaction is not None:
        entry["asked"] = _command(interaction)
        if message.reference is None:
            entry["command"] = entry["asked"]
    return entry


def _quote(target: Message | None, target_id: int) -> Json:
    if target is None or target.is_deleted:
        return {"id": str(target_id), "author": None, "content": "", "has_picture": False}
    return {
        "id": str(target_id),
        "author": _user(target.author),
        "content": target.content[:200],
        "has_picture": bool(target.attachments),
    }


def _command(interaction: Interaction) -> Json:
    ack = interaction.ack
    return {
        "user": _user(interaction.user),
        "name": _shown_name(interaction),
        "text": interaction.description,
        "latency_s": round(ack.latency_s, 4) if ack else None,
    }


def _shown_name(interaction: Interaction) -> str:
    if interaction.type == 2 and interaction.data.get("type", 1) == 1:
        parts = [str(interaction.data["name"])]
        options = interaction.data.get("options") or []
        while options and options[0]["type"] in (1, 2):
            parts.append(options[0]["name"])
            options = options[0].get("options") or []
        return "/" + " ".join(parts)
    return interaction.description if interaction.type != 2 else interaction.name


def _failure(discord: Playground, interaction: Interaction) -> Json:
    clock = discord.world.clock
    when = clock.time() - (clock.monotonic() - interaction.created)
    return {
        "id": str(interaction.id),
        "kind": "failure",
        "author": _user(discord.world.bot),
        "at": clock.iso(when),
        "command": _command(interaction),
        "content": "The application did not respond",
        "visible_to": interaction.user.display_name,
        "is_deleted": False,
    }


def _attachment(attachment: Attachment) -> Json:
    return {
        "id": str(attachment.id),
        "filename": attachment.filename,
        "file": picture_file(attachment),
        "content_type": attachment.content_type,
        "size": len(attachment.data),
        "width": attachment.width,
        "height": attachment.height,
        "description": attachment.description,
        "is_picture": attachment.width is not None,
        "is_spoiler": attachment.is_spoiler,
    }
