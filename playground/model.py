"""What the loopback Discord remembers: people, servers, channels, messages, attachments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playground import permissions

Json = dict[str, Any]

TEXT, DM, PUBLIC_THREAD = 0, 1, 11

SUPPRESS_EMBEDS = 1 << 2
EPHEMERAL = 1 << 6
LOADING = 1 << 7
SILENT = 1 << 12
COMPONENTS_V2 = 1 << 15


@dataclass(eq=False)
class User:
    id: int
    name: str
    display_name: str
    bot: bool = False
    avatar: str | None = None
    accepts_dms: bool = True
    locale: str = "en-US"

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"


@dataclass(eq=False)
class Role:
    id: int
    guild_id: int
    name: str
    permissions: int = 0
    position: int = 1
    color: int = 0
    managed: bool = False


@dataclass(eq=False)
class Member:
    user: User
    guild_id: int
    joined_at: float
    nick: str | None = None
    roles: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Guild:
    id: int
    name: str
    owner_id: int
    bot_installed: bool = True
    premium_tier: int = 0
    locale: str = "en-US"
    created_at: float = 0.0
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)

    def base_permissions(self, user_id: int) -> int:
        """What a member may do in the server, before any channel's overwrites."""
        if user_id == self.owner_id:
            return permissions.ALL
        member = self.members.get(user_id)
        if member is None:
            return 0
        value = self.roles[self.id].permissions
        for role_id in member.roles:
            value |= self.roles[role_id].permissions
        return permissions.ALL if permissions.has(value, "administrator") else value

    @property
    def upload_limit(self) -> int:
        """Bytes a file may have here: 10 MiB, more for boosted servers."""
        return {2: 50, 3: 100}.get(self.premium_tier, 10) * 1024 * 1024


@dataclass
class Overwrite:
    """What a channel allows and denies to a role or a member."""

    is_role: bool
    allow: int = 0
    deny: int = 0


@dataclass(eq=False)
class Channel:
    id: int
    type: int
    name: str
    guild_id: int | None = None
    nsfw: bool = False
    topic: str | None = None
    position: int = 0
    parent_id: int | None = None
    owner_id: int | None = None
    created_at: float = 0.0
    archived: bool = False
    deleted: bool = False
    recipients: list[User] = field(default_factory=list)
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)

    @property
    def last_message_id(self) -> int | None:
        return next(reversed(self.messages), None)


@dataclass(eq=False)
class Attachment:
    id: int
    channel_id: int
    filename: str
    data: bytes
    content_type: str
    created_at: float
    description: str | None = None
    width: int | None = None
    height: int | None = None
    ephemeral: bool = False

    @property
    def is_spoiler(self) -> bool:
        return self.filename.startswith("SPOILER_")


@dataclass(frozen=True)
class Edit:
    """An earlier version of a message and when it was replaced."""

    replaced_at: float
    monotonic: float
    content: str
    components: list[Json]
    attachments: list[str]


@dataclass(eq=False)
class Message:
    """A message as stored; `visible_to` is set for ephemeral ones."""

    id: int
    channel_id: int
    guild_id: int | None
    author: User
    content: str
    created_at: float
    monotonic: float
    type: int = 0
    flags: int = 0
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    mentions: list[User] = field(default_factory=list)
    mention_roles: list[int] = field(default_factory=list)
    mention_everyone: bool = False
    allowed_mentions: Json | None = None
    nonce: str | None = None
    edited_at: float | None = None
    reference: Message | None = None
    reference_id: int | None = None
    webhook_id: int | None = None
    interaction: Json | None = None
    interaction_id: int | None = None
    visible_to: int | None = None
    pinned: bool = False
    deleted_at: float | None = None
    reactions: dict[str, list[int]] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)

    @property
    def is_ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)

    @property
    def is_loading(self) -> bool:
        """Whether this is still "... is thinking"."""
        return bool(self.flags & LOADING)

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None

    @property
    def controls(self) -> list[Json]:
        """Every button and select of the message, in order."""
        return controls(self.components)

    @property
    def buttons(self) -> list[str]:
        """The buttons' labels (or emoji), in order."""
        return [label_of(control) for control in self.controls if control["type"] == 2]

    def pings(self, user: User) -> bool:
        """Whether this message notifies `user`."""
        return self.mention_everyone or any(one.id == user.id for one in self.mentions)


def controls(components: list[Json]) -> list[Json]:
    """Every button and select among `components`, at any depth."""
    found: list[Json] = []
    for component in components:
        if component["type"] in (2, 3, 5, 6, 7, 8):
            found.append(component)
        found.extend(controls(component.get("components", [])))
        for inner in ("accessory", "component"):
            if isinstance(component.get(inner), dict):
                found.extend(controls([component[inner]]))
    return found


def label_of(control: Json) -> str:
    """What a person reads on a control."""
    emoji = control.get("emoji") or {}
    return str(control.get("label") or control.get("placeholder") or emoji.get("name") or "")
