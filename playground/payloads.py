"""Turns what the loopback remembers into the JSON that Discord's API sends."""

from __future__ import annotations

import copy

from playground.cdn import Cdn
from playground.model import (
    DM,
    PUBLIC_THREAD,
    Attachment,
    Channel,
    Guild,
    Json,
    Member,
    Message,
    Role,
    User,
)
from playground.world import World


class Payloads:
    """JSON forms of the world's objects, with the message-content rules."""

    def __init__(self, world: World, cdn: Cdn) -> None:
        self._world = world
        self._cdn = cdn

    def user(self, user: User) -> Json:
        body: Json = {
            "id": str(user.id),
            "username": user.name,
            "discriminator": "0",
            "global_name": None if user.bot else user.display_name,
            "avatar": user.avatar,
            "public_flags": 0,
            "flags": 0,
        }
        if user.bot:
            body["bot"] = True
        return body

    def member(self, member: Member, *, with_user: bool = True) -> Json:
        body: Json = {
            "roles": [str(role) for role in member.roles],
            "joined_at": self._world.clock.iso(member.joined_at),
            "nick": member.nick,
            "avatar": None,
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "flags": 0,
            "pending": False,
            "communication_disabled_until": None,
        }
        if with_user:
            body["user"] = self.user(member.user)
        return body

    def role(self, role: Role) -> Json:
        return {
            "id": str(role.id),
            "name": role.name,
            "color": role.color,
            "colors": {
                "primary_color": role.color,
                "secondary_color": None,
                "tertiary_color": None,
            },
            "hoist": False,
            "position": role.position,
            "permissions": str(role.permissions),
            "managed": role.managed,
            "mentionable": False,
            "flags": 0,
            **({"tags": {"bot_id": str(self._world.bot.id)}} if role.managed else {}),
        }

    def channel(self, channel: Channel, *, for_user: int | None = None) -> Json:
        """A channel; with `for_user` also that person's permissions, as interactions carry."""
        last = channel.last_message_id
        body: Json = {
            "id": str(channel.id),
            "type": channel.type,
            "flags": 0,
            "last_message_id": str(last) if last else None,
        }
        if channel.type == DM:
            body["recipients"] = [self.user(one) for one in channel.recipients]
            return body
        body |= {
            "guild_id": str(channel.guild_id),
            "name": channel.name,
            "nsfw": channel.nsfw,
            "parent_id": str(channel.parent_id) if channel.parent_id else None,
            "rate_limit_per_user": 0,
        }
        if for_user is not None:
            body["permissions"] = str(self._world.permissions_in(channel, for_user))
        if channel.type == PUBLIC_THREAD:
            stamp = self._world.clock.iso(channel.created_at)
            body |= {
                "owner_id": str(channel.owner_id),
                "message_count": len(channel.messages),
                "total_message_sent": len(channel.messages),
                "member_count": 1,
                "thread_metadata": {
                    "archived": channel.archived,
                    "auto_archive_duration": 1440,
                    "archive_timestamp": stamp,
                    "create_timestamp": stamp,
                    "locked": False,
                },
            }
            return body
        body |= {
            "topic": channel.topic,
            "position": channel.position,
            "permission_overwrites": [
                {
                    "id": str(target),
                    "type": 0 if overwrite.is_role else 1,
                    "allow": str(overwrite.allow),
                    "deny": str(overwrite.deny),
                }
                for target, overwrite in channel.overwrites.items()
            ],
        }
        return body

    def guild(self, guild: Guild) -> Json:
        """A server as GUILD_CREATE and GET /guilds/{id} describe it."""
        channels = [
            channel
            for channel in self._world.channels.values()
            if channel.guild_id == guild.id and not channel.deleted
        ]
        me = guild.members.get(self._world.bot.id)
        return {
            "id": str(guild.id),
            "name": guild.name,
            "icon": None,
            "owner_id": str(guild.owner_id),
            "joined_at": self._world.clock.iso(me.joined_at if me else guild.created_at),
            "large": False,
            "member_count": len(guild.members),
            "members": [self.member(me)] if me else [],
            "roles": [self.role(role) for role in guild.roles.values()],
            "channels": [self.channel(one) for one in channels if one.type != PUBLIC_THREAD],
            "threads": [self.channel(one) for one in channels if one.type == PUBLIC_THREAD],
            "emojis": [],
            "stickers": [],
            "features": [],
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
            "preferred_locale": guild.locale,
            "premium_tier": guild.premium_tier,
            "premium_subscription_count": 0,
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "nsfw": False,
            "afk_timeout": 300,
            "afk_channel_id": None,
            "system_channel_id": None,
            "system_channel_flags": 0,
            "rules_channel_id": None,
            "public_updates_channel_id": None,
            "max_members": 500_000,
            "description": None,
            "banner": None,
            "splash": None,
            "discovery_splash": None,
            "vanity_url_code": None,
            "application_id": None,
            "premium_progress_bar_enabled": False,
        }

    def attachment(self, attachment: Attachment) -> Json:
        url = self._cdn.url(attachment)
        body: Json = {
            "id": str(attachment.id),
            "filename": attachment.filename,
            "size": len(attachment.data),
            "url": url,
            "proxy_url": url,
            "content_type": attachment.content_type,
        }
        if attachment.width is not None:
            body |= {"width": attachment.width, "height": attachment.height}
        if attachment.description is not None:
            body["description"] = attachment.description
        if attachment.ephemeral:
            body["ephemeral"] = True
        return body

    def _embedded(self, message: Message) -> tuple[list[Json], list[Attachment]]:
        """Its embeds with links to their pictures, and the files that no embed shows.

        Discord lists a file that an embed shows nowhere else.
        """
        embeds, files = copy.deepcopy(message.embeds), list(message.attachments)
        for embed in embeds:
            for image in (embed.get("image"), embed.get("thumbnail")):
                name = str((image or {}).get("url")).removeprefix("attachment://")
                found = next((one for one in files if one.filename == name), None)
                if image and found is not None:
                    files.remove(found)
                    image["url"] = image["proxy_url"] = self._cdn.url(found)
        return embeds, files

    def message(
        self, message: Message, *, content_allowed: bool = True, depth: int = 1, event: bool = False
    ) -> Json:
        """A message.

        Args:
            message: what to describe.
            content_allowed: whether the reader may read everybody's content; without it, content
                is left empty unless the reader is its author, it is mentioned, or it is a DM.
            depth: how many levels of quoted messages to include.
            event: whether this is a gateway event, which also carries the author as a member.
        """
        readable = content_allowed or self._readable_by_bot(message)
        embeds, files = self._embedded(message) if readable else ([], [])
        body: Json = {
            "id": str(message.id),
            "channel_id": str(message.channel_id),
            "author": self.user(message.author),
            "content": message.content if readable else "",
            "timestamp": self._world.clock.iso(message.created_at),
            "edited_timestamp": (
                self._world.clock.iso(message.edited_at) if message.edited_at else None
            ),
            "tts": False,
            "mention_everyone": message.mention_everyone,
            "mentions": [self.user(one) for one in message.mentions],
            "mention_roles": [str(role) for role in message.mention_roles],
            "attachments": [self.attachment(one) for one in files],
            "embeds": embeds,
            "components": copy.deepcopy(message.components) if readable else [],
            "pinned": message.pinned,
            "type": message.type,
            "flags": message.flags,
        }
        if message.reactions:
            body["reactions"] = [
                {
                    "emoji": {"id": None, "name": emoji},
                    "count": len(people),
                    "count_details": {"normal": len(people), "burst": 0},
                    "burst_colors": [],
                    "me": self._world.bot.id in people,
                    "me_burst": False,
                }
                for emoji, people in message.reactions.items()
                if people
            ]
        if message.nonce is not None:
            body["nonce"] = message.nonce
        if message.webhook_id is not None:
            body |= {
                "webhook_id": str(message.webhook_id),
                "application_id": str(message.webhook_id),
            }
        if message.interaction is not None:
            body["interaction_metadata"] = message.interaction
        if message.reference_id is not None:
            body["message_reference"] = {
                "type": 0,
                "message_id": str(message.reference_id),
                "channel_id": str(message.channel_id),
            }
            if message.guild_id is not None:
                body["message_reference"]["guild_id"] = str(message.guild_id)
            if depth > 0:
                target = message.reference
                body["referenced_message"] = (
                    None
                    if target is None or target.is_deleted
                    else self.message(target, content_allowed=content_allowed, depth=depth - 1)
                )
        # The gateway treats ephemeral messages as if they came from a DM: no guild_id, no member.
        if event and message.guild_id is not None and not message.is_ephemeral:
            body["guild_id"] = str(message.guild_id)
            member = self._world.guilds[message.guild_id].members.get(message.author.id)
            if member is not None and message.webhook_id is None:
                body["member"] = self.member(member, with_user=False)
        return body

    def _readable_by_bot(self, message: Message) -> bool:
        bot = self._world.bot
        return (
            message.author.id == bot.id
            or message.guild_id is None
            or any(one.id == bot.id for one in message.mentions)
        )
