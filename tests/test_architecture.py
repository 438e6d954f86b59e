"""The borders between the packages, checked on the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TORCH = {"torch", "diffusers", "transformers", "accelerate", "peft"}
OURS = {"bot", "cli", "cogs", "engine", "storage", "playground", "tests", "benchmarks"}

# Folder or file -> what it must not import at any depth. The first matching line decides.
BORDERS: list[tuple[str, set[str]]] = [
    ("engine/worker/", {"discord", "storage", "cogs", "cli", "playground", "bot", "engine.queue",
                        "engine.client", "engine.fairness"}),
    ("engine/pocket/", {"discord", "storage", "cogs", "cli", "playground", "bot", "engine.queue",
                        "engine.client"}),
    ("engine/lora/export.py", {"discord", "storage", "cogs", "cli", "playground", "bot", "engine.queue",
                               "engine.client", "engine.worker", "engine.pocket"}),
    ("engine/intake/", TORCH | {"discord", "storage", "cogs", "cli", "playground", "bot",
                                "engine.worker", "engine.queue", "engine.client"}),
    ("engine/", TORCH | {"discord", "storage", "cogs", "cli", "playground", "bot", "engine.worker"}),
    ("storage/", TORCH | {"discord", "cogs", "cli", "playground", "bot", "engine.queue",
                          "engine.client", "engine.worker", "engine.settings", "engine.protocol"}),
    ("cogs/", TORCH | {"engine.worker", "cli", "playground", "bot", "sqlite3", "aiosqlite"}),
    ("playground/", TORCH | {"discord", "cogs", "engine", "storage", "cli", "bot"}),
    ("cli/", TORCH | {"engine.worker", "bot"}),
    ("bot.py", TORCH | {"engine.worker"}),
]  # fmt: skip


def source_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.sql", "Makefile", ".ci/run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("place", "banned"), BORDERS, ids=[place for place, _ in BORDERS])
def test_border_is_kept(place: str, banned: set[str]) -> None:
    decided_before = [other for other, _ in BORDERS[: [p for p, _ in BORDERS].index(place)]]
    for path in source_files():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix != ".py" or not name.startswith(place):
            continue
        if any(name.startswith(other) for other in decided_before):
            continue
        for imported in imports_of(path):
            crossed = [b for b in banned if imported == b or imported.startswith(f"{b}.")]
            assert not crossed, f"{name} imports {imported}"


def test_every_file_says_first_what_it_is_for() -> None:
    for path in source_files():
        with tokenize.open(path) as file:
            lines = file.read().splitlines()
        if path.suffix == ".py" and not lines:
            continue  # a package marker
        first = lines[1] if lines[0].startswith("#!") else lines[0]
        assert first.startswith(('"""', "#", "--", 'r"""')), f"{path.name} begins with {first!r}"
        assert len(first) > 15, f"{path.name} does not say what it is for"


def test_importing_the_bot_loads_neither_torch_nor_pillow_models() -> None:
    code = (
        "import sys, bot, cogs, engine.client, engine.queue, storage.database\n"
        "import cli.run, cli.imagine, cli.doctor, cli.demo\n"
        f"sys.exit(', '.join({TORCH!r} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_relative_or_unknown_package_of_ours() -> None:
    tops = {p.relative_to(ROOT).parts[0] for p in source_files() if p.suffix == ".py"}
    assert {t.removesuffix(".py") for t in tops} <= OURS


def test_every_job_of_discord_comes_through_the_gate() -> None:
    """`_orders.submission_of` asks where pictures are made; what nobody asked for has no place."""
    makers = {
        path.name
        for path in (ROOT / "cogs").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Submission"
    }
    assert makers == {"_orders.py", "_style_previews.py"}
