"""Renders the conversation as one HTML page that looks like Discord, with its pictures beside it."""

from __future__ import annotations

import html
import json
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from playground.controls import controls_html
from playground.conversation import conversation, picture_file
from playground.markdown import Markdown
from playground.model import Json

if TYPE_CHECKING:
    from playground.server import Playground

_GROUP_S = 7 * 60

# Drawn here, since not every machine has a font with emoji.
_EYE = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 5C6 5 2 12 2 12s4 7 10 7 10-7 10-7-4-7'
    '-10-7zm0 11a4 4 0 1 1 0-8 4 4 0 0 1 0 8z"/></svg>'
)
_PICTURE = '<svg viewBox="0 0 24 24" aria-label="picture"><path d="M3 4h18v16H3zm2 13h14l-5-7-4 5-2-2z"/></svg>'
_FILE = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 2h8l5 5v15H6zm7 1.5V8h4.5z"/></svg>'
)


def write_page(discord: Playground, out: Path, *, title: str = "Easel") -> Path:
    """Writes `index.html`, `conversation.json` and the files of living messages below `out`.

    Returns:
        The page's path.
    """
    data = conversation(discord, title)
    out.mkdir(parents=True, exist_ok=True)
    (out / "files").mkdir(exist_ok=True)
    for channel in list(discord.world.channels.values()):
        for message in list(channel.messages.values()):
            if not message.is_deleted:
                for attachment in message.attachments:
                    (out / picture_file(attachment)).write_bytes(attachment.data)
    text = json.dumps(data, ensure_ascii=False, indent=1)
    (out / "conversation.json").write_text(text, encoding="utf-8")
    page = out / "index.html"
    page.write_text(page_html(data), encoding="utf-8")
    return page


def stylesheet() -> str:
    return (resources.files("playground") / "assets" / "page.css").read_text("utf-8")


def page_html(data: Json) -> str:
    """The whole page for the data of `conversation`."""
    channels = [one for one in data["channels"] if shown(one["messages"])]
    links = "".join(
        f'<a href="#c{channel["id"]}">{_channel_name(channel)}</a>' for channel in channels
    )
    guild = next((one["guild"] for one in channels if one["guild"]), data["title"])
    markdown = reader(data)
    bodies = "".join(_channel(channel, markdown) for channel in channels)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(data['title'])}</title>\n<style>\n{stylesheet()}</style>\n</head>\n"
        f"<body>\n<nav><h1>{html.escape(guild)}</h1>{links}</nav>\n<main>{bodies}</main>\n"
        "</body>\n</html>\n"
    )


def reader(data: Json) -> Markdown:
    """The markdown renderer that knows the conversation's names."""
    return Markdown(data["users"], data["roles"], data["channel_names"])


def shown(messages: list[Json]) -> list[Json]:
    """The messages that a reader sees at the end: not the deleted ones."""
    return [message for message in messages if not message["is_deleted"]]


def _channel_name(channel: Json) -> str:
    sign = {"direct": "@", "thread": "#"}.get(channel["kind"], "#")
    return f'<span class="sign">{sign}</span> {html.escape(channel["name"])}'


def _channel(channel: Json, markdown: Markdown) -> str:
    notes = []
    if channel["topic"]:
        notes.append(html.escape(channel["topic"]))
    if channel["kind"] == "direct":
        notes.append("Direct messages")
    if channel["nsfw"]:
        notes.append("Age-restricted")
    if channel["deleted"]:
        notes.append("This channel was deleted")
    note = f'<span class="topic">{" · ".join(notes)}</span>' if notes else ""
    return (
        f'<section id="c{channel["id"]}"><header>{_channel_name(channel)}{note}</header>'
        f'<div class="log">{messages_html(channel["messages"], markdown)}</div></section>'
    )


def messages_html(
    messages: list[Json], markdown: Markdown, *, base: str = "", with_gone: bool = True
) -> str:
    """The messages of one channel, grouped by author and day as Discord groups them.

    Args:
        messages: as in `conversation`.
        markdown: renders their text.
        base: what goes before the files' paths.
        with_gone: leave a folded line for each answer that the bot deleted again, so that the
            page tells who asked for what.
    """
    done = []
    last: Json | None = None
    day = None
    for message in messages:
        if message["is_deleted"] and not (with_gone and message["asked"]):
            continue
        when = datetime.fromisoformat(message["at"])
        if when.date() != day:
            day = when.date()
            done.append(f'<div class="day"><span>{when:%d %B %Y}</span></div>')
            last = None
        if message["is_deleted"]:
            done.append(_gone(message, markdown))
            last = None
            continue
        done.append(_message(message, markdown, base, joined=_joins(last, message)))
        last = message
    return "".join(done)


def _joins(last: Json | None, message: Json) -> bool:
    """Whether a message goes under the one before without a new head."""
    if last is None or message["kind"] != "message" or last["kind"] != "message":
        return False
    if message["reply_to"] or message["command"] or message["is_ephemeral"] != last["is_ephemeral"]:
        return False
    gap = datetime.fromisoformat(message["at"]) - datetime.fromisoformat(last["at"])
    same = message["author"]["id"] == last["author"]["id"]
    return same and gap.total_seconds() < _GROUP_S


def _message(message: Json, markdown: Markdown, base: str, *, joined: bool) -> str:
    when = datetime.fromisoformat(message["at"])
    author = message["author"]
    kinds = ["message"]
    if message["kind"] == "failure":
        kinds.append("failure")
    if message.get("is_ephemeral"):
        kinds.append("ephemeral")
    above = _reply(message["reply_to"], markdown) if message.get("reply_to") else ""
    if message["command"]:
        above = _command(message["command"])
    head = ""
    side = f'<time class="side">{when:%H:%M}</time>'
    if not joined:
        tag = '<span class="tag">APP</span>' if author["bot"] else ""
        side = _avatar(author)
        head = (
            f'<div class="head"><b style="color:{_light(author["colour"])}">'
            f"{html.escape(author['name'])}</b>{tag}"
            f'<time datetime="{message["at"]}">{when:%H:%M}</time></div>'
        )
    body = f'<div class="failed">{html.escape(message["content"])}</div>'
    if message["kind"] == "message":
        body = _body(message, markdown, base)
    return (
        f'<article class="{" ".join(kinds)}{" joined" if joined else ""}" id="m{message["id"]}">'
        f'{above}<div class="row">{side}<div class="body">{head}{body}</div></div></article>'
    )


def _body(message: Json, markdown: Markdown, base: str) -> str:
    seen_at = datetime.fromisoformat(message["edited_at"] or message["at"]).timestamp()
    parts = []
    if message["is_thinking"]:
        name = html.escape(message["author"]["name"])
        parts.append(f'<div class="thinking"><i></i><i></i><i></i> {name} is thinking…</div>')
    if message["content"]:
        kind = "text edited" if message["edited_at"] else "text"
        text = markdown.render(message["content"], seen_at, everyone=message["mention_everyone"])
        parts.append(f'<div class="{kind}">{text}</div>')
    if message["edited_at"]:
        parts.append(_edits(message["edits"], markdown))
    files = {f"attachment://{one['filename']}": one for one in message["attachments"]}
    shown_by_embeds = [files.pop(_image_of(embed), None) for embed in message["embeds"]]
    parts.append(_gallery(list(files.values()), base))
    parts += [
        _embed(embed, markdown, seen_at, _picture(image, base, has_badge=False) if image else "")
        for embed, image in zip(message["embeds"], shown_by_embeds, strict=True)
    ]
    parts.append(controls_html(message["components"], markdown, seen_at))
    if message["reactions"]:
        chips = "".join(
            f"<span>{html.escape(emoji)} {count}</span>"
            for emoji, count in message["reactions"].items()
        )
        parts.append(f'<div class="reactions">{chips}</div>')
    if message["is_ephemeral"]:
        whom = html.escape(message["visible_to"] or "?")
        parts.append(
            f'<div class="note">{_EYE} Only you can see this <span>· as {whom} sees it</span></div>'
        )
    return "".join(parts)


def _avatar(user: Json, small: bool = False) -> str:
    size = ' class="avatar small"' if small else ' class="avatar"'
    return (
        f'<span{size} style="background:{user["colour"]}" aria-hidden="true">'
        f"{html.escape(user['initials'])}</span>"
    )


def _light(colour: str) -> str:
    """A name's colour: the avatar's, lightened until it reads on the dark page."""
    red, green, blue = bytes.fromhex(colour[1:])
    return "#" + bytes(round(channel * 0.45 + 255 * 0.55) for channel in (red, green, blue)).hex()


def _reply(target: Json, markdown: Markdown) -> str:
    if target["author"] is None:
        return '<div class="above"><i>Original message was deleted</i></div>'
    text = html.escape(markdown.plain(target["content"])[:120])
    if target["has_picture"]:
        text += f" {_PICTURE}"
    name = html.escape(target["author"]["name"])
    return (
        f'<a class="above" href="#m{target["id"]}">{_avatar(target["author"], True)}'
        f"<b>{name}</b> <span>{text or 'Click to see attachment'}</span></a>"
    )


def _command(command: Json) -> str:
    name, user = html.escape(command["name"]), html.escape(command["user"]["name"])
    return (
        f'<details class="above"><summary>{_avatar(command["user"], True)}<b>{user}</b> used '
        f'<span class="mention">{name}</span></summary>'
        f"<code>{html.escape(command['text'])}</code></details>"
    )


def _gone(message: Json, markdown: Markdown) -> str:
    """A folded line for an answer that is no longer there, such as a finished status line."""
    asked = message["asked"]
    text = html.escape(markdown.plain(message["content"]))
    steps = "".join(
        f"<li>{html.escape(markdown.plain(one['content']))}</li>" for one in message["edits"]
    )
    return (
        f'<details class="gone" id="m{message["id"]}"><summary>{_avatar(asked["user"], True)}'
        f"<b>{html.escape(asked['user']['name'])}</b> <code>{html.escape(asked['text'])}</code>"
        f"</summary><ol>{steps}<li>{text}</li></ol><small>deleted afterwards</small></details>"
    )


def _edits(edits: list[Json], markdown: Markdown) -> str:
    lines = "".join(
        f"<li><time>{datetime.fromisoformat(edit['replaced_at']):%H:%M:%S}</time> "
        f"{html.escape(markdown.plain(edit['content'])) or '…'}</li>"
        for edit in edits
    )
    count = len(edits)
    versions = f"{count} earlier version{'' if count == 1 else 's'}"
    return (
        f'<details class="edits"><summary title="{versions}">(edited)</summary>'
        f"<ol>{lines}</ol></details>"
    )


def _gallery(attachments: list[Json], base: str) -> str:
    pictures = [one for one in attachments if one["is_picture"]]
    files = [one for one in attachments if not one["is_picture"]]
    done = ""
    if pictures:
        alone = len(pictures) == 1
        cells = "".join(_picture(one, base, width=550 if alone else None) for one in pictures)
        done = f'<div class="gallery n{min(len(pictures), 5)}">{cells}</div>'
    for one in files:
        done += (
            f'<a class="file" href="{html.escape(base + one["file"], quote=True)}"><b>{_FILE} '
            f"{html.escape(one['filename'])}</b><span>{_size(one['size'])}</span></a>"
        )
    return done


def _image_of(embed: Json) -> str:
    return str((embed.get("image") or {}).get("url") or "")


def _picture(picture: Json, base: str, *, width: int | None = 480, has_badge: bool = True) -> str:
    """A picture of at most this width in pixels; None fills the cell of a gallery.

    Discord shows no badge for the description of an embed's picture.
    """
    source = html.escape(base + picture["file"], quote=True)
    alt = html.escape(picture["description"] or "", quote=True)
    badge = f'<span class="alt" tabindex="0" title="{alt}">ALT</span>' if alt and has_badge else ""
    style = ""
    if width is not None:
        # Small pictures are enlarged a little: a 128-pixel one is hard to judge on today's screens.
        width = max(256, min(width, picture["width"]))
        style = f' style="width:{width}px;aspect-ratio:{picture["width"]}/{picture["height"]}"'
    image = f'<a href="{source}"><img src="{source}" alt="{alt}" loading="lazy"></a>'
    if picture["is_spoiler"]:
        return f'<figure class="veiled" tabindex="0"{style}>{image}{badge}<b>SPOILER</b></figure>'
    return f"<figure{style}>{image}{badge}</figure>"


def _size(size: int) -> str:
    if size < 1024:
        return f"{size} bytes"
    return f"{size / 1024:.1f} kB" if size < 1024 * 1024 else f"{size / 1024 / 1024:.1f} MB"


def _embed(embed: Json, markdown: Markdown, seen_at: float, image: str) -> str:
    colour = f"#{int(embed.get('color') or 0x1E1F22):06x}"
    parts = []
    if embed.get("author"):
        parts.append(f"<small>{html.escape(embed['author'].get('name') or '')}</small>")
    if embed.get("title"):
        parts.append(f"<h3>{html.escape(embed['title'])}</h3>")
    if embed.get("description"):
        parts.append(markdown.render(embed["description"], seen_at))
    fields = "".join(
        f'<div class="{"inline" if field.get("inline") else "full"}">'
        f"<b>{html.escape(field['name'])}</b>{markdown.render(field['value'], seen_at)}</div>"
        for field in embed.get("fields") or []
    )
    if fields:
        parts.append(f'<div class="fields">{fields}</div>')
    parts.append(image)
    if embed.get("footer"):
        parts.append(f"<small>{html.escape(embed['footer'].get('text') or '')}</small>")
    return f'<div class="embed" style="border-color:{colour}">{"".join(parts)}</div>'
