"""What the loads drive: something that takes jobs and makes pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.engine.trace import Job


@dataclass(slots=True)
class Listener:
    """Told when somebody would see something; any thread may call.

    Attributes:
        preview: Called with a job's id and its first preview's JPEG, and each later one's.
        picture: Called with a job's id and its PNG file.
    """

    preview: Callable[[str, bytes], None] = lambda job_id, jpeg: None
    picture: Callable[[str, bytes], None] = lambda job_id, png: None


class Contender(Protocol):
    """One way of running jobs."""

    name: str
    listener: Listener

    def submit(self, job: Job) -> None:
        """Takes a job in; nothing is done yet."""

    def work(self) -> bool:
        """Does the next piece of work; False when there is none."""

    def settle(self) -> None:
        """Waits for what runs beside `work`, such as encoding."""

    def pixels(self, job_id: str) -> Any:
        """Returns a finished job's picture (3, H, W) in [-1, 1], float32 on the CPU.

        Only of jobs since `keep_pixels` was set.
        """

    keep_pixels: bool
