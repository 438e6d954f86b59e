"""People who use the bot: they type commands, press buttons, fill in forms, talk and reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from playground import forms, rules
from playground.commands import CHAT_INPUT, MESSAGE_MENU, USER_MENU
from playground.errors import ApiError, ClientRefused
from playground.gateway import INTENTS
from playground.interactions import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    MODAL_SUBMIT,
)
from playground.invocation import Invocation
from playground.messages import Upload
from playground.model import PUBLIC_THREAD, Channel, Json, Message, User, label_of
from playground.options import File, Resolver, fill
from playground.places import ChannelHandle
from playground.validate import number

if TYPE_CHECKING:
    from playground.server import Playground


class Person:
    """Somebody at Discord's client; `place` is the channel they are looking at."""

    def __init__(self, discord: Playground, user: User) -> None:
        self._discord = discord
        self._world = discord.world
        self.user = user
        self.place: ChannelHandle | None = None

    @property
    def id(self) -> int:
        return self.user.id

    @property
    def name(self) -> str:
        return self.user.display_name

    @property
    def mention(self) -> str:
        return self.user.mention

    @property
    def dm(self) -> ChannelHandle:
        """The direct-message channel with the bot."""
        return ChannelHandle(self._discord, self._world.dm_with(self.user))

    def go(self, place: ChannelHandle) -> Person:
        """Looks at another channel from now on."""
        self.place = place
        return self

    # Commands

    async def slash(
        self,
        command: str,
        options: Mapping[str, Any] | None = None,
        /,
        *,
        where: ChannelHandle | None = None,
        force: bool = False,
        **more: Any,
    ) -> Invocation:
        """Types a slash command.

        Args:
            command: its name, with subcommands after blanks: "history list".
            options: options by name; keyword arguments are added to them. A person, role, channel
                or `File` may be a value, a choice is given by its name or its value.
            where: the channel, if not the one the person is looking at.
            force: send whatever it is, past the checks of Discord's client.
            more: options as keywords.

        Raises:
            ClientRefused: Discord's client would not have sent it.
        """
        channel = self._channel(where)
        name, *path = command.split()
        found = rules.offered(self._discord, self.user, CHAT_INPUT, name, channel, force=force)
        resolver = self._resolver(channel, force=force)
        values = {**(options or {}), **more}
        data: Json = {
            "id": found["id"],
            "name": name,
            "type": CHAT_INPUT,
            "options": fill(found, path, values, resolver),
        }
        return self._invoke(COMMAND, channel, data, resolver, text=_typed(command, values))

    async def autocomplete(
        self,
        command: str,
        option: str,
        typed: str | float = "",
        options: Mapping[str, Any] | None = None,
        /,
        *,
        where: ChannelHandle | None = None,
        timeout_s: float = 10.0,
        **more: Any,
    ) -> list[Json]:
        """Types into an option that completes itself; returns the suggestions."""
        channel = self._channel(where)
        name, *path = command.split()
        found = rules.offered(self._discord, self.user, CHAT_INPUT, name, channel)
        resolver = self._resolver(channel)
        values = {**(options or {}), **more, option: typed}
        data: Json = {
            "id": found["id"],
            "name": name,
            "type": CHAT_INPUT,
            "options": fill(found, path, values, resolver, focused=option),
        }
        invocation = self._invoke(
            AUTOCOMPLETE, channel, data, resolver, text=f"/{command} {option}: {typed}…"
        )
        return await invocation.choices(timeout_s)

    async def context_menu(
        self,
        name: str,
        target: Message | Person,
        *,
        where: ChannelHandle | None = None,
        force: bool = False,
    ) -> Invocation:
        """Picks an entry of the Apps menu of a message or of a person."""
        if isinstance(target, Message):
            kind = MESSAGE_MENU
            channel = self._world.channels[target.channel_id]
            rules.require_visible(self._world, self.user, target, force=force)
        else:
            kind = USER_MENU
            channel = self._channel(where)
        found = rules.offered(self._discord, self.user, kind, name, channel, force=force)
        resolver = self._resolver(channel, force=force)
        if isinstance(target, Message):
            target_id = resolver.add_message(target)
        else:
            target_id = resolver.add_user(target.user)
        data: Json = {"id": found["id"], "name": name, "type": kind, "target_id": target_id}
        return self._invoke(COMMAND, channel, data, resolver, text=f"Apps → {name}")

    # Buttons, selects, forms

    async def press(
        self,
        message: Message,
        label: str | None = None,
        *,
        custom_id: str | None = None,
        force: bool = False,
    ) -> Invocation:
        """Presses a button, found by its label (or emoji) or its `custom_id`."""
        control = rules.control(
            self._world, self.user, message, rules.BUTTON, label, custom_id, force=force
        )
        if control.get("style") in (5, 6) and not force:
            raise ClientRefused(f"the button {label_of(control)!r} opens a link")
        data: Json = {
            "custom_id": control["custom_id"],
            "component_type": 2,
            "id": control.get("id", 0),
        }
        channel = self._world.channels[message.channel_id]
        return self._invoke(
            COMPONENT, channel, data, None, text=f"[{label_of(control)}]", source=message
        )

    async def select(
        self,
        message: Message,
        *values: Any,
        label: str | None = None,
        custom_id: str | None = None,
        force: bool = False,
    ) -> Invocation:
        """Picks values in a select, by their labels or values; the only one if not named."""
        control = rules.control(
            self._world, self.user, message, rules.SELECTS, label, custom_id, force=force
        )
        channel = self._world.channels[message.channel_id]
        resolver = self._resolver(channel, force=force)
        chosen = forms.pick(control, list(values), label_of(control), resolver)
        low, high = number(control, "min_values", 1), number(control, "max_values", 1)
        if not low <= len(chosen) <= high and not force:
            raise ClientRefused(f"the select takes {low} to {high} values, not {len(chosen)}")
        data: Json = {
            "custom_id": control["custom_id"],
            "component_type": control["type"],
            "id": control.get("id", 0),
            "values": chosen,
        }
        return self._invoke(
            COMPONENT,
            channel,
            data,
            resolver,
            text=f"[{', '.join(map(str, values))}]",
            source=message,
        )

    async def submit_modal(
        self,
        invocation: Invocation,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        force: bool = False,
        **more: Any,
    ) -> Invocation:
        """Sends the form that an interaction opened; fields by their label or `custom_id`."""
        modal = await invocation.modal()
        opened = invocation.interaction
        channel = opened.channel
        resolver = self._resolver(channel, force=force)
        components = forms.submit(modal, {**(values or {}), **more}, resolver)
        data: Json = {"custom_id": modal["custom_id"], "components": components}
        return self._invoke(
            MODAL_SUBMIT,
            channel,
            data,
            resolver,
            text=f"{modal['title']} (form)",
            source=opened.source,
        )

    # Messages

    async def send(
        self,
        content: str = "",
        attachments: Sequence[File] = (),
        *,
        reply_to: Message | None = None,
        ping: bool = True,
        where: ChannelHandle | None = None,
    ) -> Message:
        """Writes a message; a reply pings its author unless `ping` is False.

        Raises:
            ClientRefused: empty, too long, or not allowed here.
        """
        if where is None and reply_to is not None:
            channel = self._world.channels[reply_to.channel_id]
        else:
            channel = self._channel(where)
        if reply_to is not None:
            if reply_to.is_ephemeral:
                raise ClientRefused("an ephemeral message cannot be replied to")
            rules.require_visible(self._world, self.user, reply_to)
        sending = "send_messages_in_threads" if channel.type == PUBLIC_THREAD else "send_messages"
        rules.require(
            self._world, self.user, channel, sending, *(["attach_files"] if attachments else [])
        )
        body: Json = {
            "content": content,
            "allowed_mentions": {"parse": ["users", "roles", "everyone"], "replied_user": ping},
            "attachments": [
                {"id": index, "description": file.description}
                for index, file in enumerate(attachments)
            ],
        }
        if reply_to is not None:
            body["message_reference"] = {
                "message_id": str(reply_to.id),
                "channel_id": str(reply_to.channel_id),
            }
        uploads = [Upload(i, file.filename, file.data) for i, file in enumerate(attachments)]
        try:
            message = self._discord.messages.create(channel, self.user, body, uploads)
        except ApiError as error:
            raise ClientRefused(f"{error}: {error.errors or ''}") from error
        self._discord.recorder.add("person", user=self.name, did="send", message=str(message.id))
        return message

    async def react(self, message: Message, emoji: str) -> None:
        """Adds a reaction."""
        rules.require_visible(self._world, self.user, message)
        people = message.reactions.setdefault(emoji, [])
        if self.id in people:
            return
        people.append(self.id)
        body: Json = {
            "user_id": str(self.id),
            "channel_id": str(message.channel_id),
            "message_id": str(message.id),
            "message_author_id": str(message.author.id),
            "emoji": {"id": None, "name": emoji},
            "burst": False,
            "type": 0,
        }
        guild = message.guild_id
        if guild is not None:
            member = self._world.guilds[guild].members[self.id]
            body |= {"guild_id": str(guild), "member": self._discord.payloads.member(member)}
        self._discord.gateway.dispatch(
            "MESSAGE_REACTION_ADD",
            lambda _: body,
            guild_id=guild,
            intent=INTENTS["direct_reactions" if guild is None else "guild_reactions"],
        )
        self._discord.recorder.add(
            "person", user=self.name, did="react", message=str(message.id), emoji=emoji
        )
        self._world.signals.notify(("channel", message.channel_id), message)

    async def delete(self, message: Message) -> None:
        """Deletes an own message, or another's with Manage Messages; dismisses an ephemeral one."""
        channel = self._world.channels[message.channel_id]
        rules.require_visible(self._world, self.user, message)
        if message.author is not self.user and not message.is_ephemeral:
            rules.require(self._world, self.user, channel, "manage_messages")
        self._discord.recorder.add("person", user=self.name, did="delete", message=str(message.id))
        self._discord.messages.delete(message)

    # What the client knows

    def _channel(self, where: ChannelHandle | None) -> Channel:
        place = where or self.place
        if place is None:
            raise ClientRefused(f"{self.name} is in no channel: pass where= or call go()")
        if place.channel.deleted:
            raise ClientRefused(f"#{place.name} is gone")
        return place.channel

    def _resolver(self, channel: Channel, *, force: bool = False) -> Resolver:
        return Resolver(
            self._discord.payloads,
            self._discord.cdn,
            self._world.guild_of(channel),
            channel,
            self.user,
            self._world.upload_limit(channel),
            force=force,
        )

    def _invoke(
        self,
        kind: int,
        channel: Channel,
        data: Json,
        resolver: Resolver | None,
        *,
        text: str,
        source: Message | None = None,
    ) -> Invocation:
        if resolver is not None and resolver.resolved:
            data["resolved"] = resolver.resolved
        guild = self._world.guild_of(channel)
        if guild is not None:
            if self.id not in guild.members:
                raise ClientRefused(f"{self.name} is not in {guild.name}")
            if kind in (COMMAND, AUTOCOMPLETE):
                scoped = self._discord.commands.find(data["type"], data["name"], guild.id)
                if scoped is not None and "guild_id" in scoped:
                    data["guild_id"] = str(guild.id)
        interaction = self._discord.interactions.start(
            kind, self.user, channel, data, description=text, source=source
        )
        return Invocation(self._world, self._discord.interactions, interaction)


def _typed(command: str, values: Mapping[str, Any]) -> str:
    """The command line as a person would read it."""
    parts = [f"/{command}"]
    for name, value in values.items():
        if value is None:
            continue
        shown = getattr(value, "filename", getattr(value, "name", value))
        parts.append(f"{name}: {shown}")
    return " ".join(parts)
