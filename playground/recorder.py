"""The history of everything that went over the loopback's wires, as plain JSON-able records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playground.clock import Clock
from playground.model import Json


class Recorder:
    """A list of records, each with `seq`, `kind`, wall time `at` and monotonic seconds `t`.

    Kinds: `request` (the bot's REST calls and their answers; `fault` says when the loopback failed
    it on purpose), `gateway` (what was sent and received, opens and closes), `interaction`, `ack`,
    `unanswered`, `message`, `edit`, `delete`, `person` (what people did).
    Bot tokens and interaction tokens are never in it.

    Args:
        clock: gives the times.
        keep_payloads: keep answers and events whole; without, only their ids, which is enough for
            most checks and keeps very long runs small.
    """

    def __init__(self, clock: Clock, *, keep_payloads: bool = True) -> None:
        self._keep_payloads = keep_payloads
        self._clock = clock
        self._started = clock.monotonic()
        self.records: list[Json] = []
        self.listeners: list[Callable[[Json], None]] = []

    def add(self, kind: str, **data: Any) -> Json:
        """Appends a record. What is handed over must not be changed afterwards."""
        if not self._keep_payloads:
            for key in ("response", "data"):
                if isinstance(data.get(key), dict):
                    data[key] = {k: data[key][k] for k in ("id", "code") if k in data[key]}
        record: Json = {
            "seq": len(self.records),
            "kind": kind,
            "at": self._clock.iso(),
            "t": round(self._clock.monotonic() - self._started, 6),
            **data,
        }
        self.records.append(record)
        for listener in list(self.listeners):
            listener(record)
        return record

    def of(self, kind: str, **fields: Any) -> Iterator[Json]:
        """The records of one kind whose named fields are equal to those given."""
        for record in self.records:
            if record["kind"] == kind and all(record.get(k) == v for k, v in fields.items()):
                yield record

    def save(self, path: Path) -> None:
        """Writes the records as JSON lines."""
        lines = (json.dumps(record, ensure_ascii=False) for record in self.records)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
