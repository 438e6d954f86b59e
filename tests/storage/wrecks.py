"""What a data directory must look like after a fault, while no Easel runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from storage.database import DATABASE_NAME

SECRET = "zanzibarquux"


def traces(folder: Path) -> list[str]:
    """Files below the data directory that hold the secret word, as text or as a picture."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


def check_sound(folder: Path) -> None:
    """The database is sound, each row has its file, each file its row, and each job its charge."""
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = {sha256 for (sha256,) in db.execute("SELECT sha256 FROM pictures")}
        files = {path.name for path in (folder / "pictures").glob("*/*")}
        assert files == rows
        wrong = db.execute(
            "SELECT jobs.id, state, refunded_at FROM jobs JOIN charges ON job_id = jobs.id"
            " WHERE (state IN ('failed', 'cancelled')) != (refunded_at IS NOT NULL)"
        ).fetchall()
        assert wrong == []
