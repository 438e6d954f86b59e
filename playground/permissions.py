"""Permission bits and how they add up: roles, then a channel's overwrites."""

from __future__ import annotations

from collections.abc import Iterable

BITS: dict[str, int] = {
    "create_instant_invite": 0,
    "kick_members": 1,
    "ban_members": 2,
    "administrator": 3,
    "manage_channels": 4,
    "manage_guild": 5,
    "add_reactions": 6,
    "view_audit_log": 7,
    "view_channel": 10,
    "send_messages": 11,
    "manage_messages": 13,
    "embed_links": 14,
    "attach_files": 15,
    "read_message_history": 16,
    "mention_everyone": 17,
    "use_external_emojis": 18,
    "change_nickname": 26,
    "manage_nicknames": 27,
    "manage_roles": 28,
    "manage_webhooks": 29,
    "use_application_commands": 31,
    "manage_threads": 34,
    "create_public_threads": 35,
    "create_private_threads": 36,
    "send_messages_in_threads": 38,
    "use_embedded_activities": 39,
    "moderate_members": 40,
    "send_voice_messages": 46,
    "send_polls": 49,
    "use_external_apps": 50,
    "pin_messages": 51,
    "bypass_slowmode": 52,
}

ALL = sum(1 << bit for bit in BITS.values())


def bits(names: Iterable[str]) -> int:
    """Adds up named permissions.

    Raises:
        ValueError: a name is not one of `BITS`.
    """
    value = 0
    for name in names:
        if name not in BITS:
            raise ValueError(f"no permission is called {name!r}")
        value |= 1 << BITS[name]
    return value


def has(value: int, name: str) -> bool:
    return bool(value & (1 << BITS[name]) or value & (1 << BITS["administrator"]))


EVERYONE = bits(
    [
        "create_instant_invite",
        "add_reactions",
        "view_channel",
        "send_messages",
        "embed_links",
        "attach_files",
        "read_message_history",
        "use_external_emojis",
        "change_nickname",
        "use_application_commands",
        "create_public_threads",
        "send_messages_in_threads",
        "use_embedded_activities",
        "send_voice_messages",
        "send_polls",
        "use_external_apps",
    ]
)

# In a direct message there are no roles; this is what both sides may do.
DIRECT = bits(
    [
        "add_reactions",
        "view_channel",
        "send_messages",
        "embed_links",
        "attach_files",
        "read_message_history",
        "mention_everyone",
        "use_external_emojis",
        "use_application_commands",
    ]
)
