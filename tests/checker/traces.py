"""Promise 13: no secret, path or traceback where people read, none in the log, and no forged log line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.checker.evidence import Evidence, Violation

_TRACEBACK = "Traceback (most recent call last)"
_LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ +[\w.]+: "
    r"|easel: "  # the last words of a bot that cannot go on
)


def check_traces(evidence: Evidence, *, has_tracebacks: bool) -> Iterator[Violation]:
    """`has_tracebacks`: the scenario breaks what should not break, and the log may say so."""
    yield from _payloads(evidence)
    yield from _files(evidence)
    for name, secret in evidence.secrets.items():
        if secret in evidence.log:
            yield Violation("secrets", f"{name} is in the log")
    if not has_tracebacks and _TRACEBACK in evidence.log:
        at = evidence.log.index(_TRACEBACK)
        yield Violation("no traceback", evidence.log[max(at - 300, 0) : at + 1500])
    if not has_tracebacks:
        for line in evidence.log.removesuffix("\n").split("\n") if evidence.log else ():
            if not _LOG_LINE.match(line) or not line.isprintable():
                yield Violation("log lines", f"a line is not the log's own: {line[:200]!r}")


def _payloads(evidence: Evidence) -> Iterator[Violation]:
    names = {secret: name for name, secret in evidence.secrets.items()}
    wanted = [_TRACEBACK, *evidence.paths, *names]
    found = re.compile("|".join(re.escape(text) for text in wanted))
    for record in evidence.of("request"):
        for text in _texts(record["request"]):
            if match := found.search(text):
                what = names.get(match[0], match[0])
                where = f"{record['method']} {record['path']}"
                rule = "secrets" if match[0] in names else "no traceback or path"
                yield Violation(rule, f"{what} was sent with {where}")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _files(evidence: Evidence) -> Iterator[Violation]:
    if evidence.data_dir is None:
        return
    for path in evidence.data_dir.glob("easel.*"):
        content = path.read_bytes()
        for name, secret in evidence.secrets.items():
            if secret.encode() in content:
                yield Violation("secrets", f"{name} is in {path.name}")
