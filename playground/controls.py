"""HTML of a message's buttons, selects and layout components."""

from __future__ import annotations

import html

from playground.emoji import escaped
from playground.markdown import Markdown
from playground.model import Json, label_of

_STYLES = {1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link", 6: "primary"}


def controls_html(components: list[Json], markdown: Markdown, seen_at: float) -> str:
    return "".join(_component(component, markdown, seen_at) for component in components)


def _component(component: Json, markdown: Markdown, seen_at: float) -> str:
    kind = component["type"]
    inner = component.get("components") or []
    if kind == 1:
        return f'<div class="controls">{controls_html(inner, markdown, seen_at)}</div>'
    if kind == 2:
        return _button(component)
    if kind in (3, 5, 6, 7, 8):
        return _select(component)
    if kind == 9:
        body = controls_html(inner, markdown, seen_at)
        accessory = controls_html([component["accessory"]], markdown, seen_at)
        return f'<div class="section"><div>{body}</div>{accessory}</div>'
    if kind == 10:
        return f'<div class="text">{markdown.render(component["content"], seen_at)}</div>'
    if kind == 14:
        return "<hr>"
    if kind == 17:
        return f'<div class="embed">{controls_html(inner, markdown, seen_at)}</div>'
    return ""


def _button(button: Json) -> str:
    emoji = (button.get("emoji") or {}).get("name") or ""
    text = " ".join(escaped(part) for part in (emoji, button.get("label") or "") if part)
    style = _STYLES.get(button["style"], "secondary")
    if button["style"] == 5:
        url = html.escape(button["url"], quote=True)
        if url.startswith(("https://", "http://")):
            return f'<a class="button link" href="{url}" rel="noreferrer">{text} ↗</a>'
    disabled = " disabled" if button.get("disabled") else ""
    key = html.escape(str(button.get("custom_id") or ""), quote=True)
    return (
        f'<button type="button" class="button {style}" data-press="{key}"{disabled}>{text}</button>'
    )


def _select(select: Json) -> str:
    key = html.escape(str(select["custom_id"]), quote=True)
    disabled = " disabled" if select.get("disabled") else ""
    first = html.escape(label_of(select) or "Make a selection")
    options = "".join(
        f'<option value="{html.escape(one["value"], quote=True)}"'
        f"{' selected' if one.get('default') else ''}>{html.escape(one['label'])}</option>"
        for one in select.get("options") or []
    )
    return (
        f'<select data-select="{key}"{disabled}><option value="">{first}</option>{options}</select>'
    )
