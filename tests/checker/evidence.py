"""What a scenario leaves behind for the checker: the recorded history, the database, files and log.

All of it is plain data, so that a test can doctor it and see that the checker notices.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.secrecy import is_secret_name
from tests.checker.watched_bot import WatchedBot

Json = dict[str, Any]
Row = dict[str, Any]

_BUTTON = re.compile(r"easel:([a-z0-9]{13}):([a-z0-9_]+):")
_TABLES = ("jobs", "generations", "generation_pictures", "pictures", "charges", "arrivals")


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept: the rule's name, and what was seen."""

    rule: str
    seen: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.seen}"


@dataclass(frozen=True)
class Evidence:
    """Everything that is known of a scenario after the bot was stopped.

    Attributes:
        records: The loopback Discord's history, see `playground.recorder`, with the `bot` records of
            `WatchedBot` and the `fault` records of whoever caused faults.
        log: The bot's log of all starts.
        data_dir: The bot's data directory; None when it has none.
        secrets: What must be seen nowhere, by name.
        paths: Folders of the machine, which nobody in Discord should read.
        bot_id: The bot's own user.
        tables: Rows of the database, read when the evidence was gathered.
        files: Names of the picture files, unfinished ones too.
        quick_check: What SQLite says of the file.
    """

    records: list[Json]
    log: str
    data_dir: Path | None
    secrets: dict[str, str]
    paths: tuple[str, ...]
    bot_id: str
    tables: dict[str, list[Row]] = field(default_factory=dict)
    files: frozenset[str] = frozenset()
    quick_check: str = "ok"

    def of(self, *kinds: str) -> Iterator[Json]:
        """The records of these kinds, in order."""
        return (record for record in self.records if record["kind"] in kinds)

    @cached_property
    def jobs(self) -> dict[str, Row]:
        """The rows of the jobs by id."""
        return {row["id"]: row for row in self.tables.get("jobs", ())}

    def written(self, *kinds: str) -> Iterator[Json]:
        """The records of the bot's own messages."""
        return (record for record in self.of(*kinds) if record["author_id"] == self.bot_id)


def gather(bot: WatchedBot) -> Evidence:
    """Returns the evidence of a bot that does not run."""
    discord = bot.discord
    interactions = discord.interactions.all.values()
    secrets = {f"token {n} of the bot": token for n, token in enumerate(discord.tokens, 1)}
    secrets |= {f"token of interaction {one.id}": one.token for one in interactions}
    secrets |= {name: value for name, value in bot.environment.items() if is_secret_name(name)}
    has_data = (bot.data_dir / "easel.db").exists()
    root = Path(__file__).parents[2]
    return Evidence(
        records=discord.recorder.records,
        log=bot.log(),
        data_dir=bot.data_dir if has_data else None,
        secrets=secrets,
        paths=(str(bot.data_dir.parent), str(root), str(Path.home())),
        bot_id=str(discord.world.bot.id),
        tables=read_tables(bot.data_dir) if has_data else {},
        files=frozenset(path.name for path in bot.data_dir.glob("pictures/*/*")),
        quick_check=quick_check(bot.data_dir) if has_data else "ok",
    )


def read_tables(data_dir: Path) -> dict[str, list[Row]]:
    """Returns the rows that the checker looks at."""
    with closing(sqlite3.connect(data_dir / "easel.db")) as database:
        database.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
            for table in _TABLES
        }


def quick_check(data_dir: Path) -> str:
    """Returns "ok", or what SQLite finds wrong with the file or its references."""
    with closing(sqlite3.connect(data_dir / "easel.db")) as database:
        [first, *_] = database.execute("PRAGMA quick_check").fetchall()
        dangling = database.execute("PRAGMA foreign_key_check").fetchall()
    return (
        str(first[0]) if not dangling else f"{len(dangling)} rows refer to nothing: {dangling[0]}"
    )


def buttons(components: list[Json]) -> set[tuple[str, str]]:
    """Returns (job id, action) of every button of ours."""
    found = set()
    for component in components:
        match = _BUTTON.match(str(component.get("custom_id") or ""))
        if match:
            found.add((match[1], match[2]))
        found |= buttons(component.get("components") or [])
    return found
