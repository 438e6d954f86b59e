"""What every message of the bot keeps to: whom it may ping, and how much Discord takes.

It looks at everything that went over the wire, as the bot sent it. Lengths are counted in UTF-16 units,
as Discord's clients do; the loopback itself counts characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from playground import Playground

Json = dict[str, Any]

_ALREADY_ANSWERED = 40060  # the second answer to what was delivered twice
_ANSWER, _UPDATE, _CHOICES, _MODAL = 4, 7, 8, 9
_FENCED = re.compile(r"```.*?```", re.DOTALL)
_HIDDEN_LINK = re.compile(r"(?<!\\)\[[^\]]*\]\((?!https://discord\.com/channels/)")
_RENDERED = {"content", "title", "embed", "field's name", "field"}  # markup means something there
_JOINERS = "\u200c\u200d"  # part of words and of emoji


def check(discord: Playground, pinged: Collection[int] | None = None) -> None:
    """Fails when a message was refused, pings somebody else, is too long or hides something.

    `pinged` are the people that may be pinged at all; everybody when it is left out.
    """
    check_records(discord.recorder.records, pinged)


def check_records(records: Iterable[Json], pinged: Collection[int] | None = None) -> None:
    """The same for a recorded history."""
    for record in records:
        if record["kind"] != "request":
            continue
        where = f"{record['method']} {record['path']}"
        is_refused = record["status"] == 400 and not record.get("fault")
        code = (record["response"] or {}).get("code") if is_refused else None
        assert code in (None, _ALREADY_ANSWERED), f"{where} was refused: {record['response']}"
        body = record["request"]
        if not isinstance(body, dict) or record["method"] not in ("POST", "PATCH"):
            continue
        if record["path"].endswith("/callback"):
            kind, body = body["type"], body.get("data") or {}
            if kind in (_CHOICES, _MODAL):
                _check_texts(_choices(body) if kind == _CHOICES else _form(body), where)
                continue
            if kind not in (_ANSWER, _UPDATE):
                continue
        if {"content", "embeds", "components"} & body.keys():
            _check_mentions(body, where, pinged)
            _check_embeds(body, where)
            _check_texts(_message(body), where)


def _check_mentions(body: Json, where: str, pinged: Collection[int] | None) -> None:
    allowed = body.get("allowed_mentions")
    assert allowed is not None, f"{where} may ping anybody: {body}"
    users = [int(user) for user in allowed.get("users") or []]
    for key in ("parse", "roles", "replied_user"):
        assert not allowed.get(key), f"{where} may ping others: {body}"
    assert len(users) <= 1, f"{where} may ping {users}"
    assert pinged is None or set(users) <= set(pinged), f"{where} may ping {users}"
    # Behind its own words, so that nobody else's text can be what pings.
    assert all(f"<@{user}>" in (body.get("content") or "") for user in users), body


def _check_embeds(body: Json, where: str) -> None:
    embeds = body.get("embeds") or []
    assert len(embeds) <= 10, where
    for embed in embeds:
        assert len(embed.get("fields") or []) <= 25, f"{where}: {embed}"
    total = sum(length(text) for embed in embeds for _, text, _ in _embed(embed))
    assert total <= 6000, f"{where}: the embeds have {total} characters: {embeds}"


def _check_texts(texts: Iterator[tuple[str, str, int]], where: str) -> None:
    for name, text, limit in texts:
        assert length(text) <= limit, f"{where}: {name} has {length(text)} characters: {text!r}"
        if name == "value":  # what is typed into a form is shown as it is
            continue
        if name in _RENDERED:
            assert not _HIDDEN_LINK.search(_FENCED.sub("", text)), f"{where}: {name} {text!r}"
        assert not [c for c in text if is_unseen(c)], f"{where}: {name} {text!r}"


def length(text: str) -> int:
    """UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def is_unseen(character: str) -> bool:
    """True for what turns the direction of a text, or cannot be seen in it."""
    return unicodedata.category(character) == "Cf" and character not in _JOINERS


def _message(body: Json) -> Iterator[tuple[str, str, int]]:
    """(name, text, limit) of each text of a message."""
    yield "content", body.get("content") or "", 2000
    for embed in body.get("embeds") or []:
        yield from _embed(embed)
    for file in body.get("attachments") or []:
        yield "description", file.get("description") or "", 1024
    for row in body.get("components") or []:
        for button in row.get("components") or []:
            yield from _control(button)
    yield "nonce", str(body.get("nonce") or ""), 25


def _embed(embed: Json) -> Iterator[tuple[str, str, int]]:
    yield "title", embed.get("title") or "", 256
    yield "embed", embed.get("description") or "", 4096
    yield "footer", (embed.get("footer") or {}).get("text") or "", 2048
    yield "author", (embed.get("author") or {}).get("name") or "", 256
    for field in embed.get("fields") or []:
        yield "field's name", field["name"], 256
        yield "field", field["value"], 1024


def _control(control: Json) -> Iterator[tuple[str, str, int]]:
    yield "custom_id", control.get("custom_id") or "", 100
    yield "label", control.get("label") or "", 80
    yield "placeholder", control.get("placeholder") or "", 100
    yield "value", control.get("value") or "", 4000
    for option in control.get("options") or []:
        for key in ("label", "value", "description"):
            yield f"option's {key}", option.get(key) or "", 100


def _choices(body: Json) -> Iterator[tuple[str, str, int]]:
    choices = body["choices"]
    assert len(choices) <= 25
    for choice in choices:
        yield "choice's name", choice["name"], 100
        yield "value", str(choice["value"]), 100


def _form(body: Json) -> Iterator[tuple[str, str, int]]:
    yield "title", body["title"], 45
    yield "custom_id", body["custom_id"], 100
    for label in body["components"]:
        yield "label", label.get("label") or "", 45
        yield "description", label.get("description") or "", 100
        yield from _control(label.get("component") or {})
