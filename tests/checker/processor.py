"""How long a process waited for a processor: what a machine that does other things costs is not the bot's doing.

Linux counts for each thread the time in which it could have run and did not. An answer that is late by no
more than that would have been in time on a machine with a core to spare.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from playground.model import Json
from playground.recorder import Recorder

_TOO_LATE = 10062


class ProcessorWatch:
    """Adds a record of the kind `waited` before each answer that Discord refuses as too late.

    `seconds` is what the loopback and the bot waited since the interaction, one after the other.
    """

    def __init__(self, recorder: Recorder, pid: Callable[[], int]) -> None:
        self._recorder = recorder
        self._pid = pid
        self._asked: dict[str, tuple[int, float]] = {}
        recorder.listeners.append(self._look)

    def _look(self, record: Json) -> None:
        match record["kind"]:
            case "interaction":
                pid = self._pid()
                self._asked[record["id"]] = pid, waited_s(pid)
            case "ack":
                self._asked.pop(record["id"], None)
            case "request" if record["path"].endswith("/callback"):
                answer = record["response"]
                key = record["params"]["interaction_id"]
                if isinstance(answer, dict) and answer.get("code") == _TOO_LATE:
                    self._note(key)

    def _note(self, key: str) -> None:
        pid, before = self._asked.get(key, (0, 0.0))
        if pid == self._pid():
            seconds = waited_s(pid) - before
            self._recorder.add("waited", id=key, seconds=round(seconds, 3))


def waited_s(pid: int) -> float:
    """Returns what this process and another have waited for a processor so far, in seconds.

    Of the other, its main thread and that of its helpers which waited longest: an answer needs the
    loop and the database, each in its turn. 0.0 where the system does not count.
    """
    own = _threads_s(os.getpid())
    other = _threads_s(pid)
    helpers = [waited for thread, waited in other.items() if thread != pid]
    return own.get(os.getpid(), 0.0) + other.get(pid, 0.0) + max(helpers, default=0.0)


def main_waited_s(pid: int) -> float:
    """Returns what a process's main thread has waited for a processor since it was started, in seconds."""
    return _threads_s(pid).get(pid, 0.0)


def _threads_s(pid: int) -> dict[int, float]:
    found = {}
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # it ended
            found[int(task.parent.name)] = int(task.read_text().split()[1]) / 1e9
    return found
