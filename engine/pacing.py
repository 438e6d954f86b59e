"""The rhythm in which a person's accepted jobs enter the fair queue; it never refuses one."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from asyncio_throttle.throttler import Throttler

from engine.live import LiveJob

_MAX_PEOPLE = 1000


class Pacer:
    """Lets jobs through in the order they came, each person's at most so many in some seconds."""

    def __init__(self, jobs: int, seconds: float, enter: Callable[[LiveJob], None]) -> None:
        """`enter` is called with each job when it may go on."""
        self._jobs = jobs
        self._seconds = seconds
        self._enter = enter
        self._lines: dict[int, deque[LiveJob]] = {}  # each is being let through, or soon
        self._throttlers: OrderedDict[int, Throttler] = OrderedDict()

    def __iter__(self) -> Iterator[LiveJob]:
        """Iterates over the jobs that are not through yet."""
        return (live for line in self._lines.values() for live in line)

    def add(self, live: LiveJob) -> bool:
        """Puts a job at the end of its owner's line; True when `let_through` is to be started."""
        line = self._lines.get(live.job.owner_id)
        if line is None:
            self._lines[live.job.owner_id] = deque([live])
            return True
        line.append(live)
        return False

    def remove(self, live: LiveJob) -> None:
        """Takes a cancelled job out, if it is still here."""
        line = self._lines.get(live.job.owner_id)
        if line is not None and live in line:
            line.remove(live)

    async def let_through(self, owner_id: int) -> None:
        """Lets a person's line through; ends when it is empty."""
        line = self._lines[owner_id]
        throttler = self._throttler_of(owner_id)
        try:
            while line:
                async with throttler:  # does not wait, not even for the loop, when there is room
                    if line:  # the last one may have been cancelled meanwhile
                        self._enter(line.popleft())
        finally:
            del self._lines[owner_id]

    def _throttler_of(self, owner_id: int) -> Throttler:
        throttler = self._throttlers.pop(owner_id, None)
        if throttler is None:
            throttler = Throttler(self._jobs, self._seconds, retry_interval=self._seconds / 20)
        self._throttlers[owner_id] = throttler
        if len(self._throttlers) > _MAX_PEOPLE:
            self._throttlers.popitem(last=False)
        return throttler
