"""Copies a database that nobody changes meanwhile, packs and checks the copy: a process of its own.

`python -I backup_child.py SOURCE PART`. It prints "copied" when it does not need the source any more,
and at the end, with code 0, nothing else. PART is then a sound database without free pages, and
PART.txt names the picture files that it refers to. It imports nothing of ours, and its work takes
neither the bot's thread nor its locks on the database.
"""

import os
import shutil
import sqlite3
import sys
from pathlib import Path


def main(source: Path, part: Path) -> str | None:
    """Does it all; returns what is wrong with the copy, or None."""
    os.nice(10)
    copy = part.with_suffix(".copy")
    shutil.copyfile(source, copy)
    print("copied", flush=True)  # noqa: T201
    packing = sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    packing.execute("VACUUM INTO ?", (str(part),))
    packing.close()
    copy.unlink()
    checking = sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True)
    [answer] = checking.execute("PRAGMA quick_check(1)").fetchone()
    with part.with_suffix(".txt").open("w") as file:
        for sha256, size in checking.execute("SELECT sha256, bytes FROM pictures ORDER BY sha256"):
            file.write(f"{sha256[:2]}/{sha256} {size}\n")
        file.flush()
        os.fsync(file.fileno())
    checking.close()
    with part.open("rb") as written:
        os.fsync(written.fileno())
    return None if answer == "ok" else str(answer)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
