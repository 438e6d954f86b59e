"""Turns Discord's markdown into HTML; everything a person wrote is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from playground.emoji import escaped

_INLINE = re.compile(
    r"""
      (?P<escape>\\[^0-9A-Za-z\s])
    | (?P<ticks>`{1,2})(?P<code>.+?)(?P=ticks)
    | \|\|(?P<spoiler>.+?)\|\|
    | \*\*\*(?P<both>.+?)\*\*\*(?!\*)
    | \*\*(?P<bold>.+?)\*\*(?!\*)
    | __(?P<under>.+?)__(?!_)
    | \*(?P<italic>[^\s*](?:[^*]*[^\s*])?)\*(?!\*)
    | (?<!\w)_(?P<italic2>[^_]+)_(?![\w_])
    | ~~(?P<strike>.+?)~~
    | <t:(?P<stamp>-?\d{1,13})(?::(?P<style>[tTdDfFR]))?>
    | <@!?(?P<user>\d{1,20})>
    | <@&(?P<role>\d{1,20})>
    | <\#(?P<channel>\d{1,20})>
    | </(?P<command>[^:>]{1,100}):\d{1,20}>
    | <a?:(?P<emoji>\w{2,32}):\d{1,20}>
    | \[(?P<label>[^\]\n]+)\]\((?P<target>https?://[^\s)]+)\)
    | <(?P<quiet>https?://[^\s>]+)>
    | (?P<url>https?://[^\s<>)\]]+)
    | (?P<everyone>@everyone|@here)
    """,
    re.VERBOSE | re.DOTALL,
)

_TAGS = {
    "bold": "strong",
    "italic": "em",
    "italic2": "em",
    "under": "u",
    "strike": "s",
}

_UNITS = [
    (365 * 86_400, "year"),
    (30 * 86_400, "month"),
    (86_400, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
]


class Markdown:
    """Renders messages; names of people, roles and channels come from the look-ups.

    Args:
        users: display names by id, for mentions.
        roles: names by id.
        channels: names by id.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        roles: Mapping[str, str] | None = None,
        channels: Mapping[str, str] | None = None,
    ) -> None:
        self._users = users
        self._roles = roles or {}
        self._channels = channels or {}
        self._everyone = False

    def render(self, text: str, seen_at: float, *, everyone: bool = False) -> str:
        """HTML of a message.

        Args:
            text: as written.
            seen_at: when its reader looked at it, for relative times.
            everyone: whether "@everyone" in it really notifies; otherwise it is plain text.
        """
        self._everyone = everyone
        parts = re.split(r"```(?:([\w+-]*)\n)?(.*?)```", text, flags=re.DOTALL)
        done = []
        for index in range(0, len(parts), 3):
            done.append(self._blocks(parts[index].strip("\n"), seen_at))
            if index + 2 < len(parts):
                done.append(f"<pre><code>{html.escape(parts[index + 2].strip())}</code></pre>")
        return "".join(done)

    def plain(self, text: str) -> str:
        """One line without markup, not yet escaped, for previews of replies."""
        bare = re.sub(r"<@!?(\d+)>", lambda m: f"@{self._users.get(m[1], 'someone')}", text)
        bare = re.sub(r"<t:(-?\d+)(:\w)?>", lambda m: _clock_time(int(m[1])), bare)
        bare = re.sub(r"\\([^0-9A-Za-z\s])|[*_~|`]{1,3}", lambda m: m[1] or "", bare)
        return bare.replace("\n", " ")

    def _blocks(self, text: str, seen_at: float) -> str:
        """Lines: headings, quotes, lists, subtext, the rest with line breaks."""
        if not text:
            return ""
        done: list[str] = []
        plain: list[str] = []
        quoted: list[str] = []

        def flush() -> None:
            if plain:
                done.append(f"<p>{'<br>'.join(plain)}</p>")
                plain.clear()
            if quoted:
                done.append(f"<blockquote>{'<br>'.join(quoted)}</blockquote>")
                quoted.clear()

        for line in text.split("\n"):
            heading = re.match(r"(#{1,3}) +(.+)", line)
            bullet = re.match(r" *[-*] +(.+)", line)
            if line.startswith("> ") or line == ">":
                if plain:
                    flush()
                quoted.append(self._inline(line[2:], seen_at))
                continue
            if quoted:
                flush()
            if heading:
                flush()
                level = len(heading[1])
                done.append(f"<h{level}>{self._inline(heading[2], seen_at)}</h{level}>")
            elif line.startswith("-# "):
                flush()
                done.append(f"<small>{self._inline(line[3:], seen_at)}</small>")
            elif bullet:
                flush()
                done.append(f'<div class="item">{self._inline(bullet[1], seen_at)}</div>')
            else:
                plain.append(self._inline(line, seen_at))
        flush()
        return "".join(done)

    def _inline(self, text: str, seen_at: float) -> str:
        done = []
        at = 0
        for match in _INLINE.finditer(text):
            done.append(escaped(text[at : match.start()]))
            done.append(self._span(match, seen_at))
            at = match.end()
        done.append(escaped(text[at:]))
        return "".join(done)

    def _span(self, match: re.Match[str], seen_at: float) -> str:
        found = {name: value for name, value in match.groupdict().items() if value is not None}
        for name, tag in _TAGS.items():
            if name in found:
                return f"<{tag}>{self._inline(found[name], seen_at)}</{tag}>"
        if "both" in found:
            return f"<strong><em>{self._inline(found['both'], seen_at)}</em></strong>"
        if "spoiler" in found:
            inner = self._inline(found["spoiler"], seen_at)
            return f'<span class="spoiler" tabindex="0">{inner}</span>'
        if "stamp" in found:
            return moment(int(found["stamp"]), found.get("style", "f"), seen_at)
        simple: dict[str, Callable[[str], str]] = {
            "escape": lambda value: html.escape(value[1:]),
            "code": lambda value: f"<code>{html.escape(value)}</code>",
            "user": lambda value: _mention("@" + self._users.get(value, "unknown-user")),
            "role": lambda value: _mention("@" + self._roles.get(value, "deleted-role")),
            "channel": lambda value: _mention("#" + self._channels.get(value, "unknown")),
            "command": lambda value: _mention("/" + value),
            "everyone": lambda value: _mention(value) if self._everyone else value,
            "emoji": lambda value: html.escape(f":{value}:"),
            "url": lambda value: _link(value, value),
            "quiet": lambda value: _link(value, value),
        }
        for name, make in simple.items():
            if name in found:
                return make(found[name])
        return _link(found["target"], found["label"])


def moment(stamp: int, style: str, seen_at: float) -> str:
    """A timestamp as Discord shows it; the exact time is in the tooltip."""
    try:
        when = datetime.fromtimestamp(stamp, UTC)
    except (OverflowError, ValueError, OSError):
        return html.escape(f"<t:{stamp}:{style}>")
    formats = {
        "t": "%H:%M",
        "T": "%H:%M:%S",
        "d": "%d/%m/%Y",
        "D": "%d %B %Y",
        "f": "%d %B %Y %H:%M",
        "F": "%A, %d %B %Y %H:%M",
    }
    shown = relative(stamp - seen_at) if style == "R" else when.strftime(formats[style])
    title = when.strftime("%A, %d %B %Y %H:%M:%S UTC")
    iso = when.isoformat()
    live = f' data-relative="{stamp}"' if style == "R" else ""
    return f'<time datetime="{iso}" title="{title}"{live}>{html.escape(shown)}</time>'


def _clock_time(stamp: int) -> str:
    try:
        return f"at {datetime.fromtimestamp(stamp, UTC):%H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return "…"


def relative(seconds: float) -> str:
    """Words for a distance in time: in 3 minutes, 2 hours ago."""
    size = abs(seconds)
    for length, unit in _UNITS:
        if size >= length or unit == "second":
            count = round(size / length)
            amount = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {amount}" if seconds >= 0 else f"{amount} ago"
    return "now"


def _mention(text: str) -> str:
    return f'<span class="mention">{html.escape(text)}</span>'


def _link(target: str, text: str) -> str:
    safe = html.escape(target, quote=True)
    return f'<a href="{safe}" rel="noreferrer nofollow">{html.escape(text)}</a>'
