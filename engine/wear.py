"""When an engine process has taken so much memory that another one should go on."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)


class Wear:
    """What one process's heartbeats say of its memory.

    Libraries leak, and memory breaks into pieces. A process that the kernel ends for its size takes the
    jobs that it has along; one that is over the operator's limit gets no more jobs, ends after those that
    it has, and nobody is to blame.

    Attributes:
        why: For the log why it gets no more jobs; None while it does.
        was_told: It was told to end.
    """

    def __init__(self, limit_mb: int | None) -> None:
        """Takes the most resident memory, MiB; None for no limit."""
        self._limit_bytes = None if limit_mb is None else limit_mb << 20
        self._is_first = True
        self.why: str | None = None
        self.was_told = False

    def look(self, rss_bytes: int) -> None:
        """Takes a heartbeat's figure."""
        limit, is_first = self._limit_bytes, self._is_first
        self._is_first = False
        if self.why is not None or limit is None or rss_bytes <= limit:
            return
        if is_first:  # a new process would be as large
            _log.error(
                "EASEL_ENGINE_MEMORY_MB is %d, but the engine takes %d MiB from the start. "
                "The limit is not used: set a larger one.",
                limit >> 20,
                rss_bytes >> 20,
            )
            self._limit_bytes = None
            return
        self.why = (
            f"The engine took {rss_bytes >> 20:,} MiB, above its limit of {limit >> 20:,} MiB, "
            "and was replaced between two jobs"
        )
