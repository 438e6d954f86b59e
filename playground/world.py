"""The whole state of the loopback, with ids, look-ups and the signals that waiters listen to."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from playground import permissions
from playground.clock import Clock
from playground.errors import ApiError
from playground.model import DM, Channel, Guild, Member, Message, Role, User

_EPOCH_MS = 1_420_070_400_000

T = TypeVar("T")

BOT_ROLE = permissions.bits(
    [
        "view_channel",
        "send_messages",
        "send_messages_in_threads",
        "attach_files",
        "embed_links",
        "read_message_history",
        "use_application_commands",
    ]
)


class Signals:
    """Tells waiters of a topic about each thing that happened there; nothing is polled."""

    def __init__(self) -> None:
        self._waiters: defaultdict[object, list[Callable[[object], None]]] = defaultdict(list)

    def notify(self, topic: object, item: object = None) -> None:
        for waiter in list(self._waiters.get(topic, ())):
            waiter(item)

    async def wait(self, topic: object, check: Callable[[object], T | None], timeout_s: float) -> T:
        """Waits until `check(item)` of a notified item is not None, and returns that.

        Raises:
            TimeoutError: nothing fitted within `timeout_s` seconds.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def waiter(item: object) -> None:
            if done.done():
                return
            try:
                found = check(item)
            except Exception as error:  # a wrong predicate belongs to whoever waits
                done.set_exception(error)
                return
            if found is not None:
                done.set_result(found)

        self._waiters[topic].append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await done
        finally:
            self._waiters[topic].remove(waiter)
            if not self._waiters[topic]:
                del self._waiters[topic]


@dataclass
class TeamMember:
    """A person in the team that owns the application."""

    user: User
    role: str = "developer"  # or "admin", "read_only"
    has_joined: bool = True


class World:
    """People, servers, channels and messages, by id."""

    def __init__(self, clock: Clock, bot_name: str) -> None:
        self.clock = clock
        self.signals = Signals()
        self._last_id = 0
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.bot = self.add_user(bot_name.lower(), bot_name, bot=True)
        self.owner = self.add_user("operator", "Operator")
        self.team: list[TeamMember] = []  # who owns the application beside the owner

    @property
    def application_id(self) -> int:
        """The application's id; Discord gives new bots the same id as their application."""
        return self.bot.id

    def new_id(self) -> int:
        """A snowflake: the clock's milliseconds, then a counter, always rising."""
        candidate = (int(self.clock.time() * 1000) - _EPOCH_MS) << 22
        self._last_id = max(candidate, self._last_id + 1)
        return self._last_id

    def add_user(self, name: str, display_name: str, *, bot: bool = False) -> User:
        user = User(self.new_id(), name, display_name, bot=bot)
        user.avatar = f"{user.id:032x}"
        self.users[user.id] = user
        return user

    def add_guild(self, name: str, *, bot_installed: bool, premium_tier: int) -> Guild:
        guild = Guild(
            # Shards are chosen by the bits above the counter, so each server gets its own.
            self.new_id() + (len(self.guilds) << 22),
            name,
            self.owner.id,
            bot_installed=bot_installed,
            premium_tier=premium_tier,
            created_at=self.clock.time(),
        )
        self._last_id = guild.id
        everyone = Role(guild.id, guild.id, "@everyone", permissions.EVERYONE, position=0)
        guild.roles[everyone.id] = everyone
        self.guilds[guild.id] = guild
        self.add_member(guild, self.owner)
        if bot_installed:
            role = self.add_role(guild, self.bot.display_name, BOT_ROLE)
            role.managed = True
            self.add_member(guild, self.bot).roles.append(role.id)
        return guild

    def add_role(self, guild: Guild, name: str, value: int) -> Role:
        role = Role(self.new_id(), guild.id, name, value, position=len(guild.roles))
        guild.roles[role.id] = role
        return role

    def add_member(self, guild: Guild, user: User) -> Member:
        member = guild.members.get(user.id)
        if member is None:
            member = Member(user, guild.id, self.clock.time())
            guild.members[user.id] = member
        return member

    def add_channel(self, kind: int, name: str, guild: Guild | None = None) -> Channel:
        channel = Channel(
            self.new_id(),
            kind,
            name,
            guild_id=guild.id if guild else None,
            position=len(self.channels),
            created_at=self.clock.time(),
        )
        self.channels[channel.id] = channel
        return channel

    def dm_with(self, user: User) -> Channel:
        """The direct-message channel between the bot and `user`; made at first use."""
        for channel in self.channels.values():
            if channel.type == DM and user in channel.recipients and not channel.deleted:
                return channel
        channel = self.add_channel(DM, user.display_name)
        channel.recipients = [user]
        return channel

    def channel(self, channel_id: int) -> Channel:
        """Looks a living channel up.

        Raises:
            ApiError: 10003, there is none.
        """
        channel = self.channels.get(channel_id)
        if channel is None or channel.deleted:
            raise ApiError(10003)
        return channel

    def message(self, channel: Channel, message_id: int) -> Message:
        """Looks a living, public message up (10008 otherwise)."""
        message = channel.messages.get(message_id)
        if message is None or message.is_deleted or message.is_ephemeral:
            raise ApiError(10008)
        return message

    def guild_of(self, channel: Channel) -> Guild | None:
        return None if channel.guild_id is None else self.guilds[channel.guild_id]

    def permissions_in(self, channel: Channel, user_id: int) -> int:
        """What `user_id` may do in `channel`, overwrites included; 0 when not there at all."""
        guild = self.guild_of(channel)
        if guild is None:
            there = user_id == self.bot.id or any(one.id == user_id for one in channel.recipients)
            return permissions.DIRECT if there else 0
        value = guild.base_permissions(user_id)
        member = guild.members.get(user_id)
        if member is None or permissions.has(value, "administrator"):
            return value
        source = channel
        if channel.parent_id is not None:
            source = self.channels.get(channel.parent_id, channel)
        everyone = source.overwrites.get(guild.id)
        if everyone is not None:
            value = (value & ~everyone.deny) | everyone.allow
        allow = deny = 0
        for role_id in member.roles:
            overwrite = source.overwrites.get(role_id)
            if overwrite is not None:
                allow, deny = allow | overwrite.allow, deny | overwrite.deny
        value = (value & ~deny) | allow
        own = source.overwrites.get(user_id)
        if own is not None:
            value = (value & ~own.deny) | own.allow
        return value

    def require(self, channel: Channel, *names: str) -> None:
        """Checks the bot's permissions: 50001 when it cannot see the channel, else 50013."""
        value = self.permissions_in(channel, self.bot.id)
        if not permissions.has(value, "view_channel"):
            raise ApiError(50001)
        if not all(permissions.has(value, name) for name in names):
            raise ApiError(50013)

    def upload_limit(self, channel: Channel) -> int:
        """Bytes that one attachment may have in `channel`."""
        guild = self.guild_of(channel)
        return guild.upload_limit if guild else 10 * 1024 * 1024
