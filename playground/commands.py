"""The application's commands: stored per scope, checked when written as Discord checks them."""

from __future__ import annotations

import copy
import re

from playground.errors import ApiError, FormErrors
from playground.model import Json
from playground.world import World

CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
_MOST = {CHAT_INPUT: 100, USER_MENU: 15, MESSAGE_MENU: 15}
_CHARACTERS = 8000
LOCALES = frozenset((
    "en-US", "en-GB", "bg", "zh-CN", "zh-TW", "hr", "cs", "id", "da", "nl", "fi",
    "fr", "de", "el", "hi", "hu", "it", "ja", "ko", "es-419", "lt", "no",
    "pl", "pt-BR", "ro", "ru", "es-ES", "sv-SE", "th", "tr", "uk", "vi",
))  # fmt: skip


class Commands:
    """Global commands under the scope None, a server's own under its id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scopes: dict[int | None, dict[tuple[int, str], Json]] = {}

    def listed(self, scope: int | None) -> list[Json]:
        return [copy.deepcopy(one) for one in self._scopes.get(scope, {}).values()]

    def find(self, kind: int, name: str, guild_id: int | None) -> Json | None:
        """The command that a person sees under this name; a server's own hides the global one."""
        scopes: list[int | None] = [None] if guild_id is None else [guild_id, None]
        for scope in scopes:
            found = self._scopes.get(scope, {}).get((kind, name))
            if found is not None:
                return found
        return None

    def visible(self, guild_id: int | None) -> list[Json]:
        """Every command offered in a server (or, with None, in direct messages)."""
        merged = dict(self._scopes.get(None, {}))
        if guild_id is not None:
            merged |= self._scopes.get(guild_id, {})
        return list(merged.values())

    def overwrite(self, scope: int | None, bodies: object) -> list[Json]:
        """Replaces all commands of a scope; those whose name stays keep their id."""
        if not isinstance(bodies, list):
            raise ApiError(50035)
        errors = FormErrors()
        keys = [_key(body) for body in bodies]
        for index, body in enumerate(bodies):
            _check_command(body, str(index), errors)
            if keys[index] in keys[:index]:
                message = "Application command names must be unique"
                errors.add(str(index), "APPLICATION_COMMANDS_DUPLICATE_NAME", message)
        for kind, most in _MOST.items():
            if sum(key[0] == kind for key in keys) > most:
                message = f"Maximum number of application commands of this type reached ({most})."
                errors.add("_", "MAX_APPLICATION_COMMANDS", message)
        for kind in _MOST:
            _check_unique([body for body in bodies if _key(body)[0] == kind], "_", errors)
        errors.raise_any()
        old = self._scopes.get(scope, {})
        self._scopes[scope] = {
            key: self._stored(body, scope, old.get(key))
            for key, body in zip(keys, bodies, strict=True)
        }
        self._world.signals.notify("commands")
        return self.listed(scope)

    def add(self, scope: int | None, body: Json) -> Json:
        errors = FormErrors()
        _check_command(body, "command", errors)
        errors.raise_any()
        commands = self._scopes.setdefault(scope, {})
        commands[_key(body)] = self._stored(body, scope, commands.get(_key(body)))
        self._world.signals.notify("commands")
        return copy.deepcopy(commands[_key(body)])

    def get(self, scope: int | None, command_id: int) -> Json:
        for command in self._scopes.get(scope, {}).values():
            if command["id"] == str(command_id):
                return copy.deepcopy(command)
        raise ApiError(10063)

    def edit(self, scope: int | None, command_id: int, body: Json) -> Json:
        old = self.get(scope, command_id)
        merged = old | body
        errors = FormErrors()
        _check_command(merged, "command", errors)
        errors.raise_any()
        commands = self._scopes[scope]
        del commands[_key(old)]
        commands[_key(merged)] = self._stored(merged, scope, old)
        self._world.signals.notify("commands")
        return copy.deepcopy(commands[_key(merged)])

    def delete(self, scope: int | None, command_id: int) -> None:
        del self._scopes[scope][_key(self.get(scope, command_id))]

    def _stored(self, body: Json, scope: int | None, old: Json | None) -> Json:
        kind, name = _key(body)
        contexts = body.get("contexts")
        stored: Json = {
            "id": old["id"] if old else str(self._world.new_id()),
            "application_id": str(self._world.application_id),
            "version": str(self._world.new_id()),
            "type": kind,
            "name": name,
            "name_localizations": body.get("name_localizations"),
            "description": body.get("description") or "",
            "description_localizations": body.get("description_localizations"),
            "options": copy.deepcopy(body.get("options") or []),
            "default_member_permissions": body.get("default_member_permissions"),
            "dm_permission": body.get("dm_permission", True),
            "nsfw": bool(body.get("nsfw")),
            "contexts": contexts,
            "integration_types": body.get("integration_types") or [0],
        }
        if scope is not None:
            stored["guild_id"] = str(scope)
        return stored


def _key(body: Json) -> tuple[int, str]:
    return int(body.get("type") or CHAT_INPUT), str(body.get("name") or "")


def _check_command(body: Json, path: str, errors: FormErrors) -> None:
    kind, name = _key(body)
    if kind not in _MOST:
        errors.add(f"{path}.type", "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3).")
        return
    if kind != CHAT_INPUT:
        errors.length(f"{path}.name", name, 1, 32)
        for locale, text in _translations(body, "name", path, errors):
            errors.length(f"{path}.name_localizations.{locale}", text, 1, 32)
        if body.get("description"):
            message = "Context menu commands cannot have a description"
            errors.add(f"{path}.description", "APPLICATION_COMMAND_DESCRIPTION_INVALID", message)
        return
    _check_texts(body, path, errors)
    _check_options(body.get("options") or [], path, errors, depth=0)
    if _size(body) > _CHARACTERS:
        message = f"Command exceeds maximum size ({_CHARACTERS})"
        errors.add(path, "APPLICATION_COMMAND_TOO_LARGE", message)


def _check_name(name: object, path: str, errors: FormErrors) -> None:
    text = str(name or "")
    if not re.fullmatch(r"[-_'\w]{1,32}", text) or text != text.lower():
        message = "Command name is invalid"
        errors.add(path, "APPLICATION_COMMAND_INVALID_NAME", message)


def _check_texts(one: Json, path: str, errors: FormErrors) -> None:
    """Name and description of a command or option, in English and in other languages."""
    _check_name(one.get("name"), f"{path}.name", errors)
    errors.length(f"{path}.description", one.get("description"), 1, 100)
    for locale, text in _translations(one, "name", path, errors):
        _check_name(text, f"{path}.name_localizations.{locale}", errors)
    for locale, text in _translations(one, "description", path, errors):
        errors.length(f"{path}.description_localizations.{locale}", text, 1, 100)


def _translations(one: Json, key: str, path: str, errors: FormErrors) -> list[tuple[str, str]]:
    found = one.get(f"{key}_localizations") or {}
    for locale in found.keys() - LOCALES:
        message = f"Value must be one of {sorted(LOCALES)}."
        errors.add(f"{path}.{key}_localizations.{locale}", "ENUM_TYPE_COERCE", message)
    return [(locale, text) for locale, text in found.items() if locale in LOCALES]


def _check_unique(siblings: list[Json], path: str, errors: FormErrors) -> None:
    """No two have the same name in any language."""
    for locale in LOCALES:
        names = [
            (one.get("name_localizations") or {}).get(locale) or one.get("name") for one in siblings
        ]
        for name in {name for name in names if names.count(name) > 1}:
            message = f"Option names must be unique ({name}, {locale})"
            errors.add(path, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", message)


def _check_options(options: list[Json], path: str, errors: FormErrors, *, depth: int) -> None:
    if len(options) > 25:
        errors.add(f"{path}.options", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    _check_unique(options, f"{path}.options", errors)
    names: set[str] = set()
    optional_seen = False
    nested = [option.get("type") in (1, 2) for option in options]
    for index, option in enumerate(options):
        where = f"{path}.options.{index}"
        kind = option.get("type")
        _check_texts(option, where, errors)
        if option.get("name") in names:
            message = "Option names must be unique"
            errors.add(where, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", message)
        names.add(str(option.get("name")))
        if kind not in range(1, 12):
            errors.add(f"{where}.type", "BASE_TYPE_CHOICES", "Value must be between 1 and 11.")
        elif kind in (1, 2):
            deep = depth + (1 if kind == 2 else 0)
            if depth > 1 or (kind == 2 and depth > 0) or not all(nested):
                message = "Sub-command and sub-command group option types are mutually exclusive"
                errors.add(where, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", message)
            _check_options(option.get("options") or [], where, errors, depth=deep + (kind == 1) * 2)
        else:
            if option.get("required") and optional_seen:
                message = "Required options must be placed before non-required options"
                errors.add(where, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
            optional_seen = optional_seen or not option.get("required")
            _check_value_option(option, where, errors)


def _check_value_option(option: Json, path: str, errors: FormErrors) -> None:
    kind = option["type"]
    choices = option.get("choices") or []
    if len(choices) > 25:
        errors.add(f"{path}.choices", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    if choices and option.get("autocomplete"):
        message = "Choices and autocomplete are mutually exclusive"
        errors.add(path, "APPLICATION_COMMAND_OPTION_AUTOCOMPLETE_CHOICES", message)
    values = []
    for index, choice in enumerate(choices):
        where = f"{path}.choices.{index}"
        errors.length(f"{where}.name", choice.get("name"), 1, 100)
        for locale, text in _translations(choice, "name", where, errors):
            errors.length(f"{where}.name_localizations.{locale}", text, 1, 100)
        value = choice.get("value")
        values.append(value)
        if kind == 3:
            errors.length(f"{path}.choices.{index}.value", value, 1, 100)
        elif kind in (4, 10) and (isinstance(value, bool) or not isinstance(value, int | float)):
            errors.add(f"{path}.choices.{index}.value", "NUMBER_TYPE_COERCE", "Must be a number.")
        if value in values[:-1]:
            message = "Choice values must be unique"
            errors.add(f"{path}.choices.{index}", "APPLICATION_COMMAND_OPTIONS_CHOICES", message)
    for key in ("min_length", "max_length"):
        if option.get(key) is not None and not (kind == 3 and 0 <= option[key] <= 6000):
            errors.add(f"{path}.{key}", "NUMBER_TYPE_MAX", "Only strings, between 0 and 6000.")
    for key in ("min_value", "max_value"):
        value = option.get(key)
        if value is None:
            continue
        if kind not in (4, 10) or abs(value) > 2**53:
            errors.add(f"{path}.{key}", "NUMBER_TYPE_MAX", "Only numbers, within 2^53.")


def _size(body: Json) -> int:
    """Characters that count against the limit: names, descriptions and choice values."""

    def longest(key: str, one: Json) -> int:
        translated = (one.get(f"{key}_localizations") or {}).values()
        return max([len(str(one.get(key) or "")), *(len(text) for text in translated)])

    total = longest("name", body) + longest("description", body)
    for option in body.get("options") or []:
        total += _size(option)
    for choice in body.get("choices") or []:
        value = choice.get("value")
        total += longest("name", choice) + (len(value) if isinstance(value, str) else 0)
    return total
