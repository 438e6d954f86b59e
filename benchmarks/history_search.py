"""How long `/history` and its autocompletes take to search a million pictures: `python -m benchmarks.history_search`.

A tenth of the pictures is one person's, the others are 3,000 people's. Words are drawn as in language, a few
of them most of the time (Zipf), ten more stand in a tenth to a third of all prompts; 40 % have one of 500 styles.
Real storage, warm and cold alike: the first try counts like the others. A limit is met when the median of the
CPU time is below it: unlike the wall time, which is printed, too, other programs on the machine do not change that.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cogs import _album, _sources
from cogs._desk import Desk
from storage.database import DATABASE_NAME, Database
from storage.gallery import Gallery, Wanted
from storage.search import NO_STYLE, search_text

SEARCH_MS = 50
AUTOCOMPLETE_MS = 100
TRIES = 30

HEAVY, LIGHT = 1, 1000  # people with 100,000 and 300 pictures of a million
PEOPLE = 3_000
WORDS = 30_000
COMMON = {"portrait": 0.33, "of": 0.3, "a": 0.5, "red": 0.1, "cat": 0.1, "in": 0.3, "the": 0.4,
          "style": 0.2, "light": 0.25, "detailed": 0.3}  # fmt: skip
PHRASE, PHRASE_SHARE = "白い猫", 0.01
RARE = "zyzzyva"  # in five prompts, all of them the heavy person's
STYLES = [hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(500)]
REQUEST = {
    "width": 512, "height": 512, "seed": 1, "num_inference_steps": 20, "guidance_scale": 7.5,
    "sampler": "euler_a", "model": "pocket", "negative_prompt": "blurry, low quality, watermark",
}  # fmt: skip
_BATCH = 10_000


def main() -> int:
    """Fills a database unless it is there, and prints the times; 0 when all limits are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--data", type=Path, help="a folder that keeps the database for the next run"
    )
    parser.add_argument("--only", default="", help="measure what has this in its name")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="easel-search-") as folder:
        return asyncio.run(_run(given.data or Path(folder), given.rows, given.only))


async def _run(folder: Path, rows: int, only: str) -> int:
    path = folder / DATABASE_NAME
    is_new = not path.exists()
    async with Database.open(folder):
        pass
    if is_new:
        began = time.perf_counter()
        fill(path, rows)
        print(f"{rows:,} pictures stored in {time.perf_counter() - began:.0f} s")
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} CPUs"
    )
    async with Database.open(folder) as db:
        print(f"the database has {await db.size_bytes() / 2**20:,.0f} MB")
        gallery = Gallery(db)
        wanted = [(*one, SEARCH_MS) for one in _searches(gallery)]
        wanted += [(*one, AUTOCOMPLETE_MS) for one in _autocompletes(gallery)]
        is_slow = [await _measure(*one) for one in wanted if only in one[0]]
    return 1 if any(is_slow) else 0


def _searches(gallery: Gallery) -> Iterator[tuple[str, Callable[[], Awaitable[list[Any]]]]]:
    week = datetime.now(UTC) - timedelta(days=7)
    common, rare = STYLES[0], STYLES[400]
    kinds = {
        "everything": Wanted(),
        "word in many": Wanted("portrait"),
        "three words in many": Wanted("red cat light"),
        "word in few": Wanted(RARE),
        "word in none": Wanted("nosuchword"),
        "beginning of a word in many": Wanted("portrai"),
        "one letter": Wanted("p"),
        "phrase": Wanted(PHRASE),
        "since a week": Wanted(since=week),
        "word in many, since a week": Wanted("portrait", since=week),
        "word in few, since a week": Wanted(RARE, since=week),
        "style in many": Wanted(styles=(common,)),
        "style in few": Wanted(styles=(rare,)),
        "no style": Wanted(styles=(NO_STYLE,)),
        "word and style in many": Wanted("portrait", styles=(common,)),
        "word in many, style in few": Wanted("portrait", styles=(rare,)),
        "word, style, since a week": Wanted("cat", styles=(common,), since=week),
        "style by the hash's beginning": Wanted(styles=(common[:8],)),
        "starred": Wanted(starred=True),
        "starred, word in many": Wanted("portrait", starred=True),
        "starred, word and style": Wanted("portrait", starred=True, styles=(common,)),
    }
    for person_id, who in ((HEAVY, "100,000 own"), (LIGHT, "300 own")):
        for name, wanted in kinds.items():

            async def find(person_id: int = person_id, wanted: Wanted = wanted) -> list[Any]:
                return await gallery.find(person_id, wanted, limit=10)

            yield f"{name} ({who})", find


def _autocompletes(gallery: Gallery) -> Iterator[tuple[str, Callable[[], Awaitable[list[Any]]]]]:
    desk = cast("Desk", SimpleNamespace(parts=SimpleNamespace(gallery=gallery)))
    for typed in ("", "p", "portrai", "portrait of a red", RARE, "nosuchword", PHRASE):

        async def source(typed: str = typed) -> list[Any]:
            return await _sources.choices(desk, HEAVY, typed)

        yield f"/remix source: {typed!r}", source
    for typed in ("", "portrai", "nosuchword"):

        async def picture(typed: str = typed) -> list[Any]:
            return await _album.choices(desk, HEAVY, typed)

        async def star(typed: str = typed) -> list[Any]:
            return await _album.choices(desk, HEAVY, typed, starred=True)

        yield f"/history show picture: {typed!r}", picture
        yield f"/history star picture, starred: {typed!r}", star


async def _measure(name: str, work: Callable[[], Awaitable[list[Any]]], limit_ms: float) -> bool:
    """Prints the times of one search and returns whether it is too slow."""
    times, cpu_times = [], []
    for _ in range(TRIES):
        start, cpu_start = time.perf_counter(), time.process_time()
        found = await work()
        times.append((time.perf_counter() - start) * 1e3)
        cpu_times.append((time.process_time() - cpu_start) * 1e3)
    p95, cpu_ms = statistics.quantiles(times, n=20)[-1], statistics.median(cpu_times)
    verdict = "" if cpu_ms < limit_ms else f"  SLOW, the limit is {limit_ms:g}"
    print(
        f"{name:52} {len(found):3} found, p50 {statistics.median(times):7.2f} ms, p95 {p95:7.2f} ms,"
        f" CPU {cpu_ms:6.2f} ms{verdict}",
        flush=True,
    )
    return bool(verdict)


def fill(path: Path, rows: int, *, heavy: int = HEAVY, every: int = 10) -> None:
    """Stores so many pictures, one of `every` of them for the person `heavy`."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("search_text", 1, search_text, deterministic=True)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    people = [(n, f"person {n}", "2026-01-01") for n in {*range(PEOPLE + 2), heavy}]
    connection.executemany("INSERT INTO people (id, name, first_seen_at) VALUES (?, ?, ?)", people)
    jobs = _jobs(rows, heavy, every)
    while batch := list(itertools.islice(jobs, _BATCH)):
        connection.executemany(
            "INSERT INTO jobs (id, origin, owner_id, owner_name, channel_id, private, spoiler,"
            " locale, action, request, cost, state, created_at, delivered_at)"
            " VALUES (?1, ?1, ?2, 'somebody', 1, 0, 0, 'en', 'imagine', ?3, 1, 'rendered', ?4, ?4)",
            batch,
        )
        connection.executemany(
            "INSERT INTO generations (id, owner_id, created_at, seconds, warnings, receipt)"
            " VALUES (?, ?, ?, 1, '[]', '{}')",
            [(job_id, owner_id, created_at) for job_id, owner_id, _, created_at in batch],
        )
        connection.executemany(
            "INSERT INTO pictures (sha256, bytes, width, height, is_upload, created_at)"
            " VALUES (?, 300000, 512, 512, 0, '2026-01-01')",
            [(hashlib.sha256(job_id.encode()).hexdigest(),) for job_id, *_ in batch],
        )
        connection.executemany(
            "INSERT INTO generation_pictures (generation_id, number, seed, sha256) VALUES (?, 0, 1, ?)",
            [(job_id, hashlib.sha256(job_id.encode()).hexdigest()) for job_id, *_ in batch],
        )
    connection.execute(  # the heavy person stars a thousand pictures of anybody
        "INSERT INTO stars SELECT ?, number, created_at FROM jobs WHERE number % 1000 = 7", (heavy,)
    )
    connection.execute("COMMIT")
    connection.close()


def _jobs(rows: int, heavy: int, every: int) -> Iterator[tuple[str, int, str, str]]:
    """Yields id, owner, request and time of each picture, oldest first, over a year."""
    chance = random.Random(1)
    vocabulary = _vocabulary(chance)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))
    style_weights = list(itertools.accumulate(1 / rank for rank in range(1, len(STYLES) + 1)))
    start = datetime.now(UTC) - timedelta(days=365)
    rare = {rows * n // 50 * 10 for n in range(5)}
    for number in range(rows):
        owner_id = heavy if number % every == 0 else chance.randint(2, PEOPLE + 1)
        words = [word for word, share in COMMON.items() if chance.random() < share]
        words += chance.choices(vocabulary, cum_weights=weights, k=8)
        if chance.random() < PHRASE_SHARE:
            words.append(f"窓辺の{PHRASE}とラジオ")
        if number in rare:
            words.append(RARE)
        adapters = []
        if chance.random() < 0.4:
            (style,) = chance.choices(STYLES, cum_weights=style_weights)
            adapters = [{"sha256": style, "weight": 0.7, "trigger": ""}]
        created_at = start + timedelta(days=365 * (number + 1) / rows)
        request = json.dumps(REQUEST | {"prompt": " ".join(words), "adapters": adapters})
        job_id = f"{chance.getrandbits(24):06x}{number:07x}"  # as long as a real one
        yield job_id, owner_id, request, created_at.isoformat(timespec="microseconds")


def _vocabulary(chance: random.Random) -> list[str]:
    """Returns words that can be spoken, each once."""
    heads = [*"bcdfghjklmnprstvwz", "bl", "cr", "dr", "fl", "gr", "pl", "sh", "st", "tr"]
    tails = [*"aeiou", "an", "el", "ir", "on", "us", "ar", "en", "il", "or", "um"]
    known: dict[str, None] = {}
    while len(known) < WORDS:
        word = "".join(
            chance.choice(heads) + chance.choice(tails) for _ in range(chance.randint(2, 4))
        )
        known[word] = None
    return list(known)


if __name__ == "__main__":
    sys.exit(main())
