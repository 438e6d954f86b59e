"""The numbered points at which the bot is killed: the steps of a job's life, of an upload's, of a start.

The product knows nothing of them. `failing_bot.py` wraps the named functions in the process that a test
starts, so that nothing of the tests is in the product's way, no operator's variable can kill a bot,
and a step needs no line of code to become a point. What that costs is that names are repeated here:
a function that was renamed stops the process with AttributeError, and a point that is never reached
fails its test, so none of them can silently stop testing anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Load = Literal["imagine", "fail", "upload", "cancel"]
Passage = Callable[[tuple[Any, ...], Any], bool]  # (arguments, result) of a call that counts

_PICTURE_FILE = re.compile(r"[0-9a-f]{64}\.\d+\.tmp")


def _every(arguments: tuple[Any, ...], result: Any) -> bool:
    return True


@dataclass(frozen=True)
class Point:
    """A step and how to find it.

    Attributes:
        name: For people and for the command line.
        target: "module:Class.function"; empty for those that the loopback Discord strikes at.
        when: Before or after the call; for the loopback, before or after the message is stored.
        load: What people have to ask for, so that it is reached.
        counts: Which calls are passages; the result is None before a call.
    """

    name: str
    target: str
    when: Literal["before", "after"]
    load: Load = "imagine"
    counts: Passage = _every

    def __str__(self) -> str:
        return self.name


def _has_result(arguments: tuple[Any, ...], result: Any) -> bool:
    return result is not None


def _is_new(arguments: tuple[Any, ...], result: Any) -> bool:
    return bool(result[1])


def _notes_a_line(arguments: tuple[Any, ...], result: Any) -> bool:
    return arguments[2] is not None


def _is_picture(arguments: tuple[Any, ...], result: Any) -> bool:
    return _PICTURE_FILE.fullmatch(arguments[0].name) is not None


def _reads_pictures(arguments: tuple[Any, ...], result: Any) -> bool:
    return bool(arguments[1].request.images)


POINTS = (
    # A job.
    Point("inserted", "storage.jobs:_insert", "after"),  # not committed
    Point("stored", "storage.jobs:JobTable.add", "after", counts=_is_new),
    Point("acknowledged", "cogs._answer:answer_once", "after"),
    Point("line-noted", "storage.jobs:JobTable.set_status_message", "after", counts=_notes_a_line),
    Point("dequeued", "engine.queue:JobQueue._next_to_send", "after", counts=_has_result),
    Point("handed-over", "engine.client:EngineClient.submit", "after"),
    Point("marked-running", "storage.jobs:JobTable.mark_running", "after"),
    Point("rendered", "storage.jobs:JobTable.finish", "before"),
    Point("file-written", "pathlib:Path.replace", "before", counts=_is_picture),
    Point("file-renamed", "pathlib:Path.replace", "after", counts=_is_picture),
    Point("history-written", "storage.jobs:JobTable._write_history", "after"),  # not committed
    Point("result-committed", "storage.jobs:JobTable.finish", "after"),
    Point("sending-noted", "storage.jobs:JobTable.begin_sending", "after"),
    Point("send-under-way", "", "before"),
    Point("message-stored", "", "after"),
    Point("sent", "cogs._delivery:Delivery._to_channel", "after", counts=_has_result),
    Point("delivery-noted", "storage.jobs:JobTable.mark_delivered", "after"),
    Point("line-deleted", "cogs._board:Board.settled", "before"),
    Point("line-settled", "cogs._board:Board.settled", "after"),
    Point("failure-committed", "storage.jobs:JobTable.end", "after", load="fail"),
    Point("cancel-committed", "storage.jobs:JobTable.end", "after", load="cancel"),
    # A picture that somebody attached.
    Point("arrival-stored", "storage.arrivals:Arrivals.add", "after", load="upload"),
    Point("arrival-acknowledged", "cogs._arrivals:Arrivals._acknowledge", "after", load="upload"),
    Point("picture-checked", "engine.intake.pool:Intake.picture", "after", load="upload"),
    Point("upload-written", "engine.queue:JobQueue.submit", "before", load="upload",
          counts=_reads_pictures),
    Point("upload-job-stored", "cogs._orders:submit", "after", load="upload"),
    Point("arrival-removed", "storage.arrivals:Arrivals.remove", "after", load="upload"),
    # A start.
    Point("rubbish-collected", "cli.parts:collect_garbage", "after"),
    Point("jobs-recovered", "storage.jobs:JobTable.unfinished", "after"),
)  # fmt: skip

ERASURE = (  # of a person; see `test_storage.py`
    Point("erasure-begun", "storage.privacy:Privacy.begin_erasure", "after"),
    Point("erased-some", "storage.privacy:Privacy._erase_some", "after"),
    Point("words-forgotten", "storage.privacy:Privacy._forget_words", "after"),
    Point("scrubbed", "storage.database:Database.scrub", "before"),
)

BY_NAME = {point.name: point for point in POINTS + ERASURE}
NUMBERS = {point.name: number for number, point in enumerate(POINTS, 1)}
