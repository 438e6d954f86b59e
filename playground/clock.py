"""The loopback's clock: real time plus whatever a test has advanced, and timers that follow it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Timer:
    """A callback that runs once the clock reaches `due`."""

    def __init__(self, clock: Clock, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self._clock = clock
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """(Re)schedules the real timer for what is left until `due`."""
        if self._handle is not None:
            self._handle.cancel()
        delay = max(0.0, self.due - self._clock.monotonic())
        self._handle = asyncio.get_running_loop().call_later(delay, self.fire)

    def fire(self) -> None:
        self.cancel()
        self._callback()

    def cancel(self) -> None:
        self._clock.forget(self)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Clock:
    """Wall and monotonic time that a test may move forward."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._timers: set[Timer] = set()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._offset

    def monotonic(self) -> float:
        """Seconds that only differences mean something of; advances with `advance`."""
        return time.monotonic() + self._offset

    def iso(self, when: float | None = None) -> str:
        """ISO 8601 in the form that Discord writes: microseconds and +00:00."""
        stamp = datetime.fromtimestamp(self.time() if when is None else when, UTC)
        return stamp.isoformat(timespec="microseconds")

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self, self.monotonic() + delay, callback)
        self._timers.add(timer)
        timer.arm()
        return timer

    def forget(self, timer: Timer) -> None:
        self._timers.discard(timer)

    def advance(self, seconds: float) -> None:
        """Moves the clock forward and runs the timers that are due, earliest first."""
        if seconds < 0:
            raise ValueError(f"the clock only goes forward, not by {seconds} s")
        self._offset += seconds
        for timer in sorted(self._timers, key=lambda timer: timer.due):
            if timer.due <= self.monotonic():
                timer.fire()
            else:
                timer.arm()

    def stop(self) -> None:
        """Cancels every timer."""
        for timer in list(self._timers):
            timer.cancel()
