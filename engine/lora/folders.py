"""The files in the folders of LoRAs, with the previews beside them. Everything here blocks."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

ENDING = ".safetensors"
_PREVIEWS = (".webp", ".png", ".jpg", ".jpeg", ".preview.png")
_MAX_PREVIEW_BYTES = 25 * 2**20
# What has a meaning in a list of styles or in Discord.
_UNNAMED = re.compile(r"[\s_,:;{}()<>|*`@#\"\\]+")


def list_files(folders: Iterable[Path]) -> tuple[dict[Path, str], set[Path]]:
    """Returns the files with their stamps, in order, and the folders that cannot be read."""
    found: dict[Path, str] = {}
    unreadable: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            if folder.exists():
                unreadable.add(folder)
            continue

        def note(_: OSError, folder: Path = folder) -> None:
            unreadable.add(folder)

        for place, _, names in os.walk(folder, onerror=note):
            for name in sorted(names):
                path = Path(place, name)
                if path.suffix.casefold() == ENDING and not name.startswith("."):
                    with contextlib.suppress(OSError):  # removed a moment ago
                        found[path] = stamp_of(path)
    return dict(sorted(found.items())), unreadable


def stamp_of(path: Path) -> str:
    """Returns what changes with the file or its preview: sizes and times."""
    parts = [path.stat(), *(p.stat() for p in _previews(path))]
    return " ".join(f"{one.st_size}:{one.st_mtime_ns}" for one in parts)


def preview_of(path: Path) -> bytes:
    """Returns the picture beside a file as it is, b"" without one."""
    for preview in _previews(path):
        with contextlib.suppress(OSError):
            if preview.stat().st_size <= _MAX_PREVIEW_BYTES:
                return preview.read_bytes()
    return b""


def name_from(stem: str, longest: int) -> str:
    """Returns a style's name made of a file's, "" when nothing is left of it."""
    seen = "".join(one for one in stem if one.isprintable() or one.isspace())
    return _UNNAMED.sub(" ", seen).strip()[:longest].strip()


def _previews(path: Path) -> list[Path]:
    beside = (path.with_name(path.stem + ending) for ending in _PREVIEWS)
    return [one for one in beside if one.is_file()][:1]
