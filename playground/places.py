"""Servers and channels as a test or demo sets them up, watches them and takes them away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from playground import permissions
from playground.errors import NoResponse
from playground.gateway import INTENTS
from playground.interactions import is_hidden_from
from playground.model import PUBLIC_THREAD, TEXT, Channel, Guild, Json, Message, Overwrite, Role

if TYPE_CHECKING:
    from playground.people import Person
    from playground.server import Playground


class ChannelHandle:
    """A channel, its messages, and waiting for them."""

    def __init__(self, discord: Playground, channel: Channel) -> None:
        self._discord = discord
        self.channel = channel

    @property
    def id(self) -> int:
        return self.channel.id

    @property
    def name(self) -> str:
        return self.channel.name

    @property
    def messages(self) -> list[Message]:
        """What everybody here sees: no deleted and no ephemeral messages."""
        listed = self.channel.messages.values()
        return [one for one in listed if not (one.is_deleted or one.is_ephemeral)]

    def seen_by(self, person: Person) -> list[Message]:
        """What one person sees, their ephemeral messages included."""
        listed = self.channel.messages.values()
        return [
            one for one in listed if not (one.is_deleted or is_hidden_from(one, person.user.id))
        ]

    async def wait_for(
        self,
        condition: Callable[[Message], object],
        timeout_s: float = 10.0,
        *,
        viewer: Person | None = None,
        after: Message | None = None,
    ) -> Message:
        """Waits until a message here meets the condition, as written or after an edit.

        Args:
            condition: what to look for; also tried on what is there already.
            timeout_s: how long to wait.
            viewer: also look at this person's ephemeral messages.
            after: only look at messages newer than this one.

        Raises:
            NoResponse: it did not come; the text lists the last messages.
        """

        def fits(message: Message) -> Message | None:
            hidden = message.is_ephemeral and (
                viewer is None or is_hidden_from(message, viewer.user.id)
            )
            if message.is_deleted or hidden or (after is not None and message.id <= after.id):
                return None
            return message if condition(message) else None

        for message in self.channel.messages.values():
            if fits(message):
                return message
        try:
            return await self._discord.world.signals.wait(
                ("channel", self.channel.id),
                lambda item: fits(item) if isinstance(item, Message) else None,
                timeout_s,
            )
        except TimeoutError:
            last = [f"{one.author.display_name}: {one.content[:80]}" for one in self.messages[-5:]]
            raise NoResponse(
                f"no such message in #{self.name} within {timeout_s:g} s; the last were {last}"
            ) from None

    async def wait_deleted(self, message: Message, timeout_s: float = 10.0) -> None:
        """Waits until a message is gone."""
        if message.is_deleted:
            return
        await self._discord.world.signals.wait(
            ("channel", self.channel.id), lambda _: True if message.is_deleted else None, timeout_s
        )

    def set_permissions(self, who: Person | Role | None = None, **names: bool | None) -> None:
        """Allows (True), denies (False) or leaves (None) permissions here.

        Args:
            who: a person or role; the bot when omitted.
            names: permissions by discord.py's names, such as `send_messages=False`.
        """
        user = self._discord.world.bot if who is None else getattr(who, "user", None)
        target = who.id if isinstance(who, Role) else user.id if user is not None else 0
        overwrite = self.channel.overwrites.setdefault(
            target, Overwrite(is_role=isinstance(who, Role))
        )
        for name, value in names.items():
            bit = permissions.bits([name])
            overwrite.allow &= ~bit
            overwrite.deny &= ~bit
            if value is True:
                overwrite.allow |= bit
            elif value is False:
                overwrite.deny |= bit
        self._tell("CHANNEL_UPDATE")

    def delete(self) -> None:
        """Removes the channel with everything in it."""
        body = self._discord.payloads.channel(self.channel)
        self.channel.deleted = True
        for message in self.channel.messages.values():
            self._discord.cdn.remove(message.attachments)
        self._tell("CHANNEL_DELETE", body)

    def thread(self, name: str) -> ChannelHandle:
        """Opens a public thread here."""
        world = self._discord.world
        thread = world.add_channel(PUBLIC_THREAD, name, world.guild_of(self.channel))
        thread.parent_id, thread.owner_id = self.channel.id, world.owner.id
        handle = ChannelHandle(self._discord, thread)
        handle._tell("THREAD_CREATE")
        return handle

    def _tell(self, event: str, body: Json | None = None) -> None:
        data = body or self._discord.payloads.channel(self.channel)
        self._discord.gateway.dispatch(
            event, lambda _: data, guild_id=self.channel.guild_id, intent=INTENTS["guilds"]
        )


class GuildHandle:
    """A server: its channels, roles and members."""

    def __init__(self, discord: Playground, guild: Guild) -> None:
        self._discord = discord
        self.guild = guild
        self.channels: list[ChannelHandle] = []

    @property
    def id(self) -> int:
        return self.guild.id

    @property
    def name(self) -> str:
        return self.guild.name

    def channel(self, name: str, *, nsfw: bool = False, topic: str | None = None) -> ChannelHandle:
        """Makes a text channel; `nsfw` makes it age-restricted."""
        channel = self._discord.world.add_channel(TEXT, name, self.guild)
        channel.nsfw, channel.topic = nsfw, topic
        handle = ChannelHandle(self._discord, channel)
        self.channels.append(handle)
        handle._tell("CHANNEL_CREATE")
        return handle

    def role(self, name: str, *names: str) -> Role:
        """Makes a role with the named permissions."""
        role = self._discord.world.add_role(self.guild, name, permissions.bits(names))
        body = {"guild_id": str(self.id), "role": self._discord.payloads.role(role)}
        self._send("GUILD_ROLE_CREATE", body, "guilds")
        return role

    def member(self, who: str | Person, *roles: Role) -> Person:
        """Lets a person in: a new one by name, or one who is elsewhere already."""
        person = self._discord.person(who) if isinstance(who, str) else who
        is_new = person.user.id not in self.guild.members
        member = self._discord.world.add_member(self.guild, person.user)
        member.roles += [role.id for role in roles]
        if person.place is None and self.channels:
            person.place = self.channels[0]
        if is_new:
            body = self._discord.payloads.member(member) | {"guild_id": str(self.id)}
            self._send("GUILD_MEMBER_ADD", body, "guild_members")
        return person

    def remove(self, person: Person) -> None:
        """Lets a person leave."""
        self.guild.members.pop(person.user.id, None)
        body = {"guild_id": str(self.id), "user": self._discord.payloads.user(person.user)}
        self._send("GUILD_MEMBER_REMOVE", body, "guild_members")

    def remove_bot(self) -> None:
        """Throws the bot out."""
        self.guild.members.pop(self._discord.world.bot.id, None)
        self._send("GUILD_DELETE", {"id": str(self.id)}, "guilds")
        self.guild.bot_installed = False

    def _send(self, event: str, body: Json, intent: str) -> None:
        if self.guild.bot_installed:
            self._discord.gateway.dispatch(
                event, lambda _: body, guild_id=self.id, intent=INTENTS[intent]
            )
