"""Checks message bodies as Discord does: lengths, embeds, buttons and selects, mentions, modals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from playground.errors import FormErrors
from playground.model import COMPONENTS_V2, Json

MAX_CONTENT = 2000
MAX_FILES = 10
_SELECTS = (3, 5, 6, 7, 8)


def message_body(body: Json, *, flags: int) -> None:
    """Checks everything of a message body that needs no look at the server's state.

    Raises:
        ApiError: 50035 with every field that is wrong.
    """
    errors = FormErrors()
    content = body.get("content")
    if content is not None:
        if not isinstance(content, str):
            errors.add("content", "BASE_TYPE_BAD", "Must be a string.")
        elif len(content) > MAX_CONTENT:
            errors.too_long("content", MAX_CONTENT)
    nonce = body.get("nonce")
    if nonce is not None and len(str(nonce)) > 25:
        errors.too_long("nonce", 25)
    _embeds(body.get("embeds") or [], errors)
    _allowed_mentions(body.get("allowed_mentions"), errors)
    for index, entry in enumerate(_listed(body.get("attachments"), "attachments", errors)):
        if len(str(entry.get("description") or "")) > 1024:
            errors.too_long(f"attachments.{index}.description", 1024)
    components = _listed(body.get("components"), "components", errors)
    if flags & COMPONENTS_V2:
        if content:
            message = "The 'content' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            errors.add("content", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", message)
        _layout(components, "components", errors, set())
    else:
        _rows(components, errors)
    errors.raise_any()


def _listed(value: object, path: str, errors: FormErrors) -> list[Json]:
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return value
    errors.add(path, "BASE_TYPE_BAD", "Must be a list of objects.")
    return []


def _embeds(embeds: object, errors: FormErrors) -> None:
    listed = _listed(embeds, "embeds", errors)
    if len(listed) > 10:
        errors.add("embeds", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    total = 0
    for index, embed in enumerate(listed):
        texts: list[tuple[str, Any, int]] = [
            ("title", embed.get("title"), 256),
            ("description", embed.get("description"), 4096),
            ("footer.text", (embed.get("footer") or {}).get("text"), 2048),
            ("author.name", (embed.get("author") or {}).get("name"), 256),
        ]
        fields = embed.get("fields") or []
        if len(fields) > 25:
            errors.add(f"embeds.{index}.fields", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer.")
        for place, one in enumerate(fields):
            for key, limit in (("name", 256), ("value", 1024)):
                if not one.get(key):
                    errors.required(f"embeds.{index}.fields.{place}.{key}")
                texts.append((f"fields.{place}.{key}", one.get(key), limit))
        for path, text, limit in texts:
            total += len(text or "")
            if text is not None and len(text) > limit:
                errors.too_long(f"embeds.{index}.{path}", limit)
    if total > 6000:
        errors.add("embeds", "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")


def _allowed_mentions(allowed: object, errors: FormErrors) -> None:
    if allowed is None:
        return
    if not isinstance(allowed, dict):
        errors.add("allowed_mentions", "BASE_TYPE_BAD", "Must be an object.")
        return
    parse = allowed.get("parse") or []
    for index, kind in enumerate(parse):
        if kind not in ("roles", "users", "everyone"):
            message = "Value must be one of ('roles', 'users', 'everyone')."
            errors.add(f"allowed_mentions.parse.{index}", "BASE_TYPE_CHOICES", message)
    for kind in ("roles", "users"):
        listed = allowed.get(kind) or []
        if len(listed) > 100:
            errors.add(f"allowed_mentions.{kind}", "BASE_TYPE_MAX_LENGTH", "Must be 100 or fewer.")
        if listed and kind in parse:
            message = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            errors.add("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)


def number(component: Json, key: str, default: int) -> int:
    """A count in a component; discord.py writes null where it means the default."""
    value = component.get(key)
    return default if value is None else int(value)


def _rows(components: list[Json], errors: FormErrors) -> None:
    """Classic components: up to five rows of up to five buttons or one select."""
    if len(components) > 5:
        errors.add("components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
    seen: set[str] = set()
    for index, row in enumerate(components):
        if row.get("type") != 1:
            message = 'Value of field "type" must be one of (1,).'
            errors.add(f"components.{index}", "UNION_TYPE_CHOICES", message)
            continue
        _row(row, f"components.{index}", errors, seen)


def _row(row: Json, path: str, errors: FormErrors, seen: set[str]) -> None:
    children = _listed(row.get("components"), f"{path}.components", errors)
    if not 1 <= len(children) <= 5:
        message = "Must be between 1 and 5 in length."
        errors.add(f"{path}.components", "BASE_TYPE_BAD_LENGTH", message)
    kinds = [child.get("type") for child in children]
    if any(kind in _SELECTS for kind in kinds) and len(children) > 1:
        message = "The specified component exceeds the maximum width."
        errors.add(f"{path}.components.1", "COMPONENT_LAYOUT_WIDTH_EXCEEDED", message)
    for place, child in enumerate(children):
        where = f"{path}.components.{place}"
        if child.get("type") == 2:
            _button(child, where, errors, seen)
        elif child.get("type") in _SELECTS:
            _select(child, where, errors, seen)
        else:
            message = 'Value of field "type" must be one of (2, 3, 5, 6, 7, 8).'
            errors.add(where, "UNION_TYPE_CHOICES", message)


def _custom_id(component: Json, path: str, errors: FormErrors, seen: set[str]) -> None:
    custom_id = component.get("custom_id")
    if custom_id is None:
        errors.required(f"{path}.custom_id")
        return
    errors.length(f"{path}.custom_id", custom_id, 1, 100)
    if custom_id in seen:
        message = "Component custom id cannot be duplicated"
        errors.add(f"{path}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", message)
    seen.add(str(custom_id))


def _button(button: Json, path: str, errors: FormErrors, seen: set[str]) -> None:
    style = button.get("style")
    if style not in range(1, 7):
        errors.add(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3, 4, 5, 6).")
    if button.get("label") is not None and len(str(button["label"])) > 80:
        errors.too_long(f"{path}.label", 80)
    if style != 6 and not button.get("label") and not button.get("emoji"):
        message = "A button must have a label or an emoji"
        errors.add(path, "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", message)
    if style == 5:
        errors.length(f"{path}.url", button.get("url"), 1, 512)
        if button.get("custom_id") is not None:
            message = "A custom id and url cannot both be specified"
            errors.add(f"{path}.custom_id", "BUTTON_COMPONENT_CUSTOM_ID_URL_EXCLUSIVE", message)
    elif style != 6:
        _custom_id(button, path, errors, seen)


def _select(select: Json, path: str, errors: FormErrors, seen: set[str]) -> None:
    _custom_id(select, path, errors, seen)
    if len(str(select.get("placeholder") or "")) > 150:
        errors.too_long(f"{path}.placeholder", 150)
    low, high = number(select, "min_values", 1), number(select, "max_values", 1)
    if select.get("type") == 3:
        options = _listed(select.get("options"), f"{path}.options", errors)
        _options(options, f"{path}.options", errors, 1, 25)
        if high > max(1, len(options)):
            message = f"Must be less than or equal to {len(options)}."
            errors.add(f"{path}.max_values", "NUMBER_TYPE_MAX", message)
    if not 0 <= low <= high <= 25:
        errors.add(f"{path}.min_values", "NUMBER_TYPE_MAX", "Must be between 0 and max_values.")


def _options(options: list[Json], path: str, errors: FormErrors, low: int, high: int) -> None:
    if not low <= len(options) <= high:
        message = f"Must be between {low} and {high} in length."
        errors.add(path, "BASE_TYPE_BAD_LENGTH", message)
    values = [option.get("value") for option in options]
    for index, option in enumerate(options):
        errors.length(f"{path}.{index}.label", option.get("label"), 1, 100)
        errors.length(f"{path}.{index}.value", option.get("value"), 1, 100)
        if len(str(option.get("description") or "")) > 100:
            errors.too_long(f"{path}.{index}.description", 100)
        if option.get("value") in values[:index]:
            message = "The specified option value is already used"
            errors.add(f"{path}.{index}.value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", message)


def _layout(components: Iterable[Json], path: str, errors: FormErrors, seen: set[str]) -> int:
    """Layout components (version 2): known kinds, rows and texts; returns how many there are."""
    count = 0
    for index, component in enumerate(components):
        where = f"{path}.{index}"
        kind = component.get("type")
        count += 1
        if kind == 1:
            _row(component, where, errors, seen)
            count += len(component.get("components") or [])
        elif kind in (9, 17):
            inner = _listed(component.get("components"), f"{where}.components", errors)
            count += _layout(inner, f"{where}.components", errors, seen)
            accessory = component.get("accessory")
            if isinstance(accessory, dict) and accessory.get("type") == 2:
                _button(accessory, f"{where}.accessory", errors, seen)
        elif kind == 10:
            errors.length(f"{where}.content", component.get("content"), 1, 4000)
        elif kind == 12:
            items = _listed(component.get("items"), f"{where}.items", errors)
            if not 1 <= len(items) <= 10:
                message = "Must be between 1 and 10 in length."
                errors.add(f"{where}.items", "BASE_TYPE_BAD_LENGTH", message)
        elif kind not in (11, 13, 14):
            message = 'Value of field "type" must be one of (1, 9, 10, 11, 12, 13, 14, 17).'
            errors.add(where, "UNION_TYPE_CHOICES", message)
    if path == "components" and count > 40:
        message = "The total number of components exceeds 40."
        errors.add(path, "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", message)
    return count


def modal_body(modal: Json) -> None:
    """Checks a modal: title, one to five fields, and each field's own limits.

    Raises:
        ApiError: 50035 with every field that is wrong.
    """
    errors = FormErrors()
    errors.length("data.title", modal.get("title"), 1, 45)
    errors.length("data.custom_id", modal.get("custom_id"), 1, 100)
    fields = _listed(modal.get("components"), "data.components", errors)
    if not 1 <= len(fields) <= 5:
        message = "Must be between 1 and 5 in length."
        errors.add("data.components", "BASE_TYPE_BAD_LENGTH", message)
    seen: set[str] = set()
    for index, outer in enumerate(fields):
        path = f"data.components.{index}"
        if outer.get("type") == 10:
            errors.length(f"{path}.content", outer.get("content"), 1, 4000)
        elif outer.get("type") == 18:
            errors.length(f"{path}.label", outer.get("label"), 1, 45)
            if len(str(outer.get("description") or "")) > 100:
                errors.too_long(f"{path}.description", 100)
            inner = outer.get("component")
            if isinstance(inner, dict):
                _field(inner, f"{path}.component", errors, seen, labelled=True)
            else:
                errors.required(f"{path}.component")
        elif outer.get("type") == 1:
            for place, inner in enumerate(_listed(outer.get("components"), path, errors)):
                _field(inner, f"{path}.components.{place}", errors, seen, labelled=False)
        else:
            message = 'Value of field "type" must be one of (1, 10, 18).'
            errors.add(path, "UNION_TYPE_CHOICES", message)
    errors.raise_any()


def _field(field: Json, path: str, errors: FormErrors, seen: set[str], *, labelled: bool) -> None:
    kind = field.get("type")
    if kind in _SELECTS:
        _select(field, path, errors, seen)
        return
    if kind not in (4, 19, 21, 22, 23):
        message = 'Value of field "type" must be one of (3, 4, 5, 6, 7, 8, 19, 21, 22, 23).'
        errors.add(path, "UNION_TYPE_CHOICES", message)
        return
    _custom_id(field, path, errors, seen)
    if kind == 4:
        if not labelled:
            errors.length(f"{path}.label", field.get("label"), 1, 45)
        if field.get("style") not in (1, 2):
            errors.add(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of (1, 2).")
        for key, limit in (("value", 4000), ("placeholder", 100)):
            if len(str(field.get(key) or "")) > limit:
                errors.too_long(f"{path}.{key}", limit)
        for key, low in (("min_length", 0), ("max_length", 1)):
            if field.get(key) is not None and not low <= field[key] <= 4000:
                message = f"Must be between {low} and 4000."
                errors.add(f"{path}.{key}", "NUMBER_TYPE_MAX", message)
    elif kind == 19:
        if not 1 <= number(field, "max_values", 1) <= 10:
            errors.add(f"{path}.max_values", "NUMBER_TYPE_MAX", "Must be between 1 and 10.")
    elif kind in (21, 22):
        options = _listed(field.get("options"), f"{path}.options", errors)
        _options(options, f"{path}.options", errors, 2 if kind == 21 else 1, 10)
