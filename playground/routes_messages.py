"""REST routes of channels: messages, reactions, pins, typing, direct messages, threads."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from playground import permissions
from playground.api import Call, Route
from playground.errors import ApiError, FormErrors
from playground.gateway import INTENTS, Gateway
from playground.messages import Messages
from playground.model import DM, PUBLIC_THREAD, SUPPRESS_EMBEDS, Channel, Json, Message
from playground.payloads import Payloads
from playground.world import World


class MessageRoutes:
    """What the bot does in channels with its own token."""

    def __init__(
        self,
        world: World,
        payloads: Payloads,
        gateway: Gateway,
        messages: Messages,
        *,
        reads_all_content: bool,
    ) -> None:
        self._world = world
        self._payloads = payloads
        self._gateway = gateway
        self._messages = messages
        self._reads_all_content = reads_all_content

    def routes(self) -> list[Route]:
        channel = "/channels/{channel_id}"
        message = channel + "/messages/{message_id}"
        reaction = message + "/reactions/{emoji}"
        return [
            Route("GET", channel, self.get_channel),
            Route("POST", channel + "/messages", self.create, "message_create"),
            Route("GET", channel + "/messages", self.history, "messages_list"),
            Route("GET", channel + "/messages/pins", self.pins),
            Route("PUT", channel + "/messages/pins/{message_id}", self.pin),
            Route("DELETE", channel + "/messages/pins/{message_id}", self.unpin),
            Route("POST", channel + "/messages/bulk-delete", self.bulk_delete, "message_delete"),
            Route("GET", message, self.get, "message_get"),
            Route("PATCH", message, self.edit, "message_edit"),
            Route("DELETE", message, self.delete, "message_delete"),
            Route("POST", message + "/threads", self.start_thread),
            Route("POST", channel + "/typing", self.typing, "typing"),
            Route("PUT", reaction + "/@me", self.react, "reaction"),
            Route("DELETE", reaction + "/@me", self.unreact, "reaction"),
            Route("POST", "/users/@me/channels", self.open_dm, "dm_create"),
        ]

    def _shown(self, message: Message) -> Json:
        return self._payloads.message(message, content_allowed=self._reads_all_content)

    def _channel(self, call: Call, *names: str) -> Channel:
        channel = self._world.channel(call.number("channel_id"))
        self._world.require(channel, *names)
        return channel

    def _message(self, call: Call, *names: str) -> Message:
        channel = self._channel(call, *names)
        return self._world.message(channel, call.number("message_id"))

    async def get_channel(self, call: Call) -> Json:
        return self._payloads.channel(self._channel(call))

    async def create(self, call: Call) -> Json:
        channel = self._world.channel(call.number("channel_id"))
        sending = "send_messages_in_threads" if channel.type == PUBLIC_THREAD else "send_messages"
        self._world.require(channel, sending)
        if call.uploads:
            self._world.require(channel, "attach_files")
        if channel.type == DM and not channel.recipients[0].accepts_dms:
            raise ApiError(50007)
        body = call.body or {}
        if body.get("message_reference"):
            self._world.require(channel, "read_message_history")
        return self._shown(self._messages.create(channel, self._world.bot, body, call.uploads))

    async def get(self, call: Call) -> Json:
        return self._shown(self._message(call, "read_message_history"))

    async def history(self, call: Call) -> list[Json]:
        channel = self._channel(call, "read_message_history")
        limit = int(call.query.get("limit", "50"))
        if not 1 <= limit <= 100:
            errors = FormErrors()
            errors.add("limit", "NUMBER_TYPE_MAX", "int value should be between 1 and 100.")
            errors.raise_any()
        living = [
            message
            for message in channel.messages.values()
            if not (message.is_deleted or message.is_ephemeral)
        ]
        before, after, around = (call.query.get(key) for key in ("before", "after", "around"))
        if around:
            middle = int(around)
            older = [message for message in living if message.id < middle][-(limit // 2) :]
            newer = [message for message in living if message.id >= middle]
            living = older + newer[: limit - len(older)]
        elif after:
            living = [message for message in living if message.id > int(after)][:limit]
        elif before:
            living = [message for message in living if message.id < int(before)][-limit:]
        else:
            living = living[-limit:]
        return [self._shown(message) for message in reversed(living)]

    async def edit(self, call: Call) -> Json:
        message = self._message(call)
        channel = self._world.channel(message.channel_id)
        body = call.body or {}
        if message.author is not self._world.bot:
            self._world.require(channel, "manage_messages")
            if set(body) - {"flags"}:
                raise ApiError(50005)
            message.flags = (message.flags & ~SUPPRESS_EMBEDS) | (
                int(body.get("flags") or 0) & SUPPRESS_EMBEDS
            )
            return self._shown(message)
        if call.uploads:
            self._world.require(channel, "attach_files")
        return self._shown(self._messages.edit(message, body, call.uploads))

    async def delete(self, call: Call) -> None:
        message = self._message(call)
        if message.author is not self._world.bot:
            self._world.require(self._world.channel(message.channel_id), "manage_messages")
        self._messages.delete(message)

    async def bulk_delete(self, call: Call) -> None:
        channel = self._channel(call, "manage_messages")
        for message_id in call.body["messages"]:
            message = channel.messages.get(int(message_id))
            if message is not None and not message.is_deleted:
                self._messages.delete(message)

    async def typing(self, call: Call) -> None:
        channel = self._channel(call, "send_messages")
        self._world.signals.notify(("typing", channel.id))

    async def react(self, call: Call) -> None:
        message = self._message(call, "add_reactions", "read_message_history")
        people = message.reactions.setdefault(unquote(call.path["emoji"]), [])
        if self._world.bot.id not in people:
            people.append(self._world.bot.id)
        self._world.signals.notify(("channel", message.channel_id), message)

    async def unreact(self, call: Call) -> None:
        message = self._message(call)
        people = message.reactions.get(unquote(call.path["emoji"]), [])
        if self._world.bot.id not in people:
            raise ApiError(10014)
        people.remove(self._world.bot.id)

    async def pins(self, call: Call) -> Json:
        channel = self._channel(call, "read_message_history")
        pinned = [one for one in channel.messages.values() if one.pinned and not one.is_deleted]
        return {
            "items": [
                {"pinned_at": self._world.clock.iso(), "message": self._shown(message)}
                for message in reversed(pinned)
            ],
            "has_more": False,
        }

    async def pin(self, call: Call) -> None:
        self._set_pinned(call, True)

    async def unpin(self, call: Call) -> None:
        self._set_pinned(call, False)

    def _set_pinned(self, call: Call, value: bool) -> None:
        channel = self._channel(call)
        may = self._world.permissions_in(channel, self._world.bot.id)
        if not (permissions.has(may, "pin_messages") or permissions.has(may, "manage_messages")):
            raise ApiError(50013)
        self._world.message(channel, call.number("message_id")).pinned = value

    async def open_dm(self, call: Call) -> Json:
        user = self._world.users.get(int((call.body or {}).get("recipient_id") or 0))
        if user is None or user is self._world.bot:
            raise ApiError(10013)
        return self._payloads.channel(self._world.dm_with(user))

    async def start_thread(self, call: Call) -> Any:
        parent = self._channel(call, "create_public_threads")
        message = self._world.message(parent, call.number("message_id"))
        guild = self._world.guild_of(parent)
        if guild is None:
            raise ApiError(50024)
        name = str((call.body or {}).get("name") or "")
        errors = FormErrors()
        errors.length("name", name, 1, 100)
        errors.raise_any()
        thread = self._world.add_channel(PUBLIC_THREAD, name, guild)
        thread.parent_id, thread.owner_id = parent.id, self._world.bot.id
        body = self._payloads.channel(thread)
        self._world.signals.notify(("channel", parent.id), message)
        self._gateway.dispatch(
            "THREAD_CREATE",
            lambda _: body | {"newly_created": True},
            guild_id=guild.id,
            intent=INTENTS["guilds"],
        )
        return body
