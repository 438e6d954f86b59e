"""Fills in a modal as a person would: prefilled values stay, limits are checked before sending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playground.errors import ClientRefused
from playground.model import Json
from playground.options import File, Resolver
from playground.validate import number


def fields(modal: Json) -> list[tuple[Json, str]]:
    """Every field of a modal with the label that a person reads beside it."""
    found: list[tuple[Json, str]] = []
    for outer in modal["components"]:
        if outer["type"] == 18:
            found.append((outer["component"], str(outer.get("label") or "")))
        elif outer["type"] == 1:
            found += [(inner, str(inner.get("label") or "")) for inner in outer["components"]]
    return found


def submit(modal: Json, values: Mapping[str, Any], resolver: Resolver) -> list[Json]:
    """The `components` of a modal submission.

    Args:
        modal: the modal that the bot opened.
        values: what was entered, by a field's custom_id or label.
        resolver: takes the files.

    Raises:
        ClientRefused: a field is unknown, missing, too long or not one of the options.
    """
    names = {name for field, label in fields(modal) for name in (field["custom_id"], label)}
    unknown = set(values) - names
    if unknown and not resolver.force:
        raise ClientRefused(f"the form has no field {sorted(unknown)[0]!r}")
    filled: list[Json] = []
    for index, outer in enumerate(modal["components"], start=1):
        if outer["type"] == 18:
            label = str(outer.get("label") or "")
            inner = _field(outer["component"], label, values, resolver)
            filled.append({"type": 18, "id": index, "component": inner})
        elif outer["type"] == 1:
            parts = [
                _field(inner, str(inner.get("label") or ""), values, resolver)
                for inner in outer["components"]
            ]
            filled.append({"type": 1, "id": index, "components": parts})
        else:
            filled.append({"type": outer["type"], "id": index})
    return filled


def _field(field: Json, label: str, values: Mapping[str, Any], resolver: Resolver) -> Json:
    kind = field["type"]
    custom_id = field["custom_id"]
    given = values.get(custom_id, values.get(label))
    name = label or custom_id
    body: Json = {"type": kind, "id": field.get("id", 0), "custom_id": custom_id}
    required = field.get("required") is not False and kind != 23
    if kind == 4:
        text = str(field.get("value") or "") if given is None else str(given)
        _check_text(field, name, text, required, resolver)
        return body | {"value": text}
    if kind == 19:
        files = [] if given is None else given if isinstance(given, list) else [given]
        if not all(isinstance(file, File) for file in files):
            raise ClientRefused(f"the field {name!r} takes files")
        low = number(field, "min_values", 1) if required else 0
        _check_count(name, len(files), low, number(field, "max_values", 1), resolver)
        return body | {"values": [resolver.add_file(file) for file in files]}
    if kind == 23:
        return body | {"value": bool(field.get("default") if given is None else given)}
    if kind == 21:
        default = [one["value"] for one in field["options"] if one.get("default")]
        picked = default if given is None else [given]
        chosen = pick(field, picked, name, resolver)
        _check_count(name, len(chosen), 1 if required else 0, 1, resolver)
        return body | {"value": chosen[0] if chosen else None}
    options = field.get("options") or []
    default = [one["value"] for one in options if one.get("default")]
    wanted = default if given is None else given if isinstance(given, list) else [given]
    chosen = pick(field, wanted, name, resolver)
    low = number(field, "min_values", 1) if required else 0
    high = number(field, "max_values", len(options) if kind == 22 else 1)
    _check_count(name, len(chosen), low, high, resolver)
    return body | {"values": chosen}


def pick(field: Json, wanted: list[Any], name: str, resolver: Resolver) -> list[Any]:
    """The values of a select's options that were picked, by label or value."""
    if resolver.force:
        return list(wanted)
    if field["type"] in (5, 6, 7, 8):
        return [_entity(one, resolver) for one in wanted]
    chosen = []
    for one in wanted:
        match = [o["value"] for o in field["options"] if one in (o["value"], o["label"])]
        if not match:
            raise ClientRefused(f"{one!r} is not an option of {name!r}")
        chosen.append(match[0])
    return chosen


def _entity(value: Any, resolver: Resolver) -> str:
    if hasattr(value, "user"):
        return resolver.add_user(value.user)
    if hasattr(value, "channel"):
        return resolver.add_channel(value.channel)
    return resolver.add_role(value)


def _check_text(field: Json, name: str, text: str, required: bool, resolver: Resolver) -> None:
    if resolver.force:
        return
    if required and not text:
        raise ClientRefused(f"the field {name!r} is required")
    low = field.get("min_length") or 0
    high = field.get("max_length") or 4000
    if text and not low <= len(text) <= high:
        raise ClientRefused(
            f"the field {name!r} must have {low} to {high} characters, not {len(text)}"
        )


def _check_count(name: str, count: int, low: int, high: int, resolver: Resolver) -> None:
    if not low <= count <= high and not resolver.force:
        raise ClientRefused(f"the field {name!r} takes {low} to {high} values, not {count}")
