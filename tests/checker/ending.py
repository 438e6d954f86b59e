"""After a stop: in time, with exit code 0, and no process and no temporary file left; the loop's lag."""

from __future__ import annotations

from collections.abc import Iterator

from tests.checker.evidence import Evidence, Violation

STOP_S = 10.0
LAG_LIMIT_MS = 100.0


def check_endings(evidence: Evidence) -> Iterator[Violation]:
    for record in evidence.of("bot"):
        if record["did"] != "stop":
            continue
        if record["code"] != 0 or record["seconds"] > STOP_S:
            text = f"it ended with {record['code']} after {record['seconds']} s"
            yield Violation("clean stop", text)
        for child in record["children"]:
            yield Violation("nothing left", f"process {child!r} runs on")
        for name in record["files"]:
            yield Violation("nothing left", f"the temporary file {name} stays")
