"""What Discord's own client does with a command's options before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playground.cdn import Cdn
from playground.errors import ClientRefused
from playground.model import Channel, Guild, Json, Message, Role, User
from playground.payloads import Payloads

(
    SUBCOMMAND,
    GROUP,
    STRING,
    INTEGER,
    BOOLEAN,
    USER,
    CHANNEL,
    ROLE,
    MENTIONABLE,
    NUMBER,
    ATTACHMENT,
) = range(1, 12)
_TYPED_LIMIT = 6000


@dataclass(frozen=True)
class File:
    """A file that a person attaches."""

    filename: str
    data: bytes = field(repr=False)
    description: str | None = None

    @classmethod
    def read(cls, path: Path, description: str | None = None) -> File:
        return cls(path.name, path.read_bytes(), description)


@dataclass
class Resolver:
    """Collects the `resolved` part of an interaction while options name people and files."""

    payloads: Payloads
    cdn: Cdn
    guild: Guild | None
    channel: Channel
    user: User
    upload_limit: int
    force: bool = False
    resolved: Json = field(default_factory=dict)

    def add_user(self, user: User) -> str:
        self.resolved.setdefault("users", {})[str(user.id)] = self.payloads.user(user)
        if self.guild is not None and user.id in self.guild.members:
            member = self.payloads.member(self.guild.members[user.id], with_user=False)
            member["permissions"] = str(self.guild.base_permissions(user.id))
            self.resolved.setdefault("members", {})[str(user.id)] = member
        return str(user.id)

    def add_role(self, role: Role) -> str:
        self.resolved.setdefault("roles", {})[str(role.id)] = self.payloads.role(role)
        return str(role.id)

    def add_channel(self, channel: Channel) -> str:
        body = self.payloads.channel(channel, for_user=self.user.id)
        self.resolved.setdefault("channels", {})[str(channel.id)] = body
        return str(channel.id)

    def add_message(self, message: Message) -> str:
        self.resolved.setdefault("messages", {})[str(message.id)] = self.payloads.message(message)
        return str(message.id)

    def add_file(self, file: File) -> str:
        if len(file.data) > self.upload_limit and not self.force:
            raise ClientRefused(
                f"{file.filename} is too large: {len(file.data)} bytes, limit {self.upload_limit}"
            )
        stored = self.cdn.store(
            self.channel.id, file.filename, file.data, description=file.description, ephemeral=True
        )
        body = self.payloads.attachment(stored)
        self.resolved.setdefault("attachments", {})[str(stored.id)] = body
        return str(stored.id)


def walk(command: Json, path: list[str]) -> tuple[list[Json], list[Json]]:
    """Follows subcommands: (the options of the leaf, the chain of subcommand options)."""
    options: list[Json] = command.get("options") or []
    chain: list[Json] = []
    for word in path:
        found = next((o for o in options if o["name"] == word and o["type"] in (1, 2)), None)
        if found is None:
            raise ClientRefused(f"/{command['name']} has no subcommand {word!r}")
        chain.append(found)
        options = found.get("options") or []
    if any(option["type"] in (SUBCOMMAND, GROUP) for option in options):
        names = ", ".join(option["name"] for option in options)
        raise ClientRefused(f"/{command['name']} needs one of its subcommands: {names}")
    return options, chain


def fill(
    command: Json,
    path: list[str],
    values: Mapping[str, Any],
    resolver: Resolver,
    *,
    focused: str | None = None,
) -> list[Json]:
    """Turns what a person typed into the options of an interaction.

    Args:
        command: the command as synced.
        path: the subcommand words after its name.
        values: what was typed or picked, by option name.
        resolver: takes people, channels and files that the values name.
        focused: the option being typed; then nothing is complete, so only types are checked.

    Raises:
        ClientRefused: Discord's client would show an error instead of sending.
    """
    options, chain = walk(command, path)
    known = {option["name"]: option for option in options}
    filled: list[Json] = []
    for name, value in values.items():
        if value is None:
            continue
        option = known.get(name)
        if option is None:
            if not resolver.force:
                raise ClientRefused(f"/{command['name']} has no option {name!r}")
            option = {"name": name, "type": _guess(value)}
        if name == focused:
            entry = {"name": name, "type": option["type"], "value": value, "focused": True}
        else:
            entry = {
                "name": name,
                "type": option["type"],
                "value": _value(option, value, resolver),
            }
        filled.append(entry)
    if focused is None and not resolver.force:
        given = {entry["name"] for entry in filled}
        for option in options:
            if option.get("required") and option["name"] not in given:
                raise ClientRefused(f"the option {option['name']!r} is required")
    for part in reversed(chain):
        filled = [{"name": part["name"], "type": part["type"], "options": filled}]
    return filled


def _guess(value: object) -> int:
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER
    if isinstance(value, float):
        return NUMBER
    if isinstance(value, File):
        return ATTACHMENT
    return STRING


def _value(option: Json, value: Any, resolver: Resolver) -> Any:
    kind = option["type"]
    if isinstance(value, File):
        if kind != ATTACHMENT and not resolver.force:
            raise ClientRefused(f"the option {option['name']!r} does not take a file")
        return resolver.add_file(value)
    person = getattr(value, "user", value)
    place = getattr(value, "channel", value)
    if isinstance(person, User):
        _expect(option, (USER, MENTIONABLE), resolver)
        return resolver.add_user(person)
    if isinstance(value, Role):
        _expect(option, (ROLE, MENTIONABLE), resolver)
        return resolver.add_role(value)
    if isinstance(place, Channel):
        _expect(option, (CHANNEL,), resolver)
        return resolver.add_channel(place)
    if resolver.force:
        return value
    if option.get("choices"):
        return _choice(option, value)
    if kind == STRING:
        return _string(option, value)
    if kind in (INTEGER, NUMBER):
        return _number(option, value)
    if kind == BOOLEAN and isinstance(value, bool):
        return value
    raise ClientRefused(f"{value!r} does not fit the option {option['name']!r}")


def _expect(option: Json, kinds: tuple[int, ...], resolver: Resolver) -> None:
    if option["type"] not in kinds and not resolver.force:
        raise ClientRefused(f"the option {option['name']!r} does not take that")


def _choice(option: Json, value: Any) -> Any:
    for choice in option["choices"]:
        if value == choice["value"] or value == choice["name"]:
            return choice["value"]
    names = ", ".join(choice["name"] for choice in option["choices"])
    raise ClientRefused(f"{value!r} is not a choice of {option['name']!r}: {names}")


def _string(option: Json, value: Any) -> str:
    if not isinstance(value, str):
        raise ClientRefused(f"the option {option['name']!r} takes text, not {value!r}")
    text = value.strip()
    low = option.get("min_length") or 0
    high = option.get("max_length") or _TYPED_LIMIT
    if not text:
        raise ClientRefused(f"the option {option['name']!r} is empty")
    if not low <= len(text) <= high:
        raise ClientRefused(
            f"the option {option['name']!r} must have {low} to {high} characters, not {len(text)}"
        )
    return text


def _number(option: Json, value: Any) -> int | float:
    name = option["name"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ClientRefused(f"the option {name!r} takes a number, not {value!r}")
    if option["type"] == INTEGER and not isinstance(value, int):
        raise ClientRefused(f"the option {name!r} takes a whole number, not {value!r}")
    low = option.get("min_value", -(2**53))
    high = option.get("max_value", 2**53)
    if not low <= value <= high:
        raise ClientRefused(f"the option {name!r} must be between {low} and {high}, not {value}")
    return value
