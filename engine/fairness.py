"""Whose job is next: the virtual token counter of Sheng et al. (arXiv 2401.00588), without a clock.

Each person has a counter of served work; the next job is the oldest one of the person whose counter
is lowest. Somebody who comes back is lifted to the lowest counter of those who wait, so that absence
saves nothing up. Work is known before a job runs, so it is charged when the job is taken; what is
then not run (a cancelled job) is credited. A job that an operator put to the front goes before all
others, and is charged like them.

What the bot itself wants (`NOBODY`'s jobs) comes when no person's job waits.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from engine.types import NOBODY

_FORGET_ABOVE = 1000  # counters of people who do not wait


@dataclass(frozen=True, slots=True)
class _Entry:
    job_id: str
    person: int
    work: float
    number: int  # of arrival; breaks ties, so equal people alternate in the order they came


@dataclass(slots=True)
class FairQueue:
    """Waiting jobs, fair between people by work and first in, first out within a person."""

    _entries: dict[str, _Entry] = field(default_factory=dict)
    _lines: dict[int, deque[_Entry]] = field(default_factory=dict)  # never an empty line
    _ahead: list[str] = field(default_factory=list)  # at the front; they stay in their lines, too
    _idle: deque[_Entry] = field(default_factory=deque)  # nobody's
    _served: dict[int, float] = field(default_factory=dict)
    _floor: float = 0.0  # counter of the person who left an empty queue behind
    _arrivals: int = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._entries

    def add(self, job_id: str, person: int, work: float) -> None:
        """Puts a job at the end of the person's line.

        Raises:
            ValueError: The job waits already, or `work` is not positive.
        """
        if job_id in self._entries or not work > 0:
            raise ValueError(f"job {job_id} with work {work} cannot be added")
        if person != NOBODY and person not in self._lines:
            floor = self._lowest_counter()
            self._served[person] = max(self._served.get(person, floor), floor)
            self._lines[person] = deque()
            self._forget(floor)
        self._arrivals += 1
        entry = _Entry(job_id, person, work, self._arrivals)
        self._entries[job_id] = entry
        self._line_of(person).append(entry)

    def bump(self, job_id: str) -> None:
        """Puts a waiting job in front of everybody's; nobody's stays last.

        Raises:
            KeyError: It does not wait.
        """
        entry = self._entries[job_id]
        if entry.person == NOBODY:
            return
        if job_id in self._ahead:
            self._ahead.remove(job_id)
        self._ahead.insert(0, entry.job_id)

    def peek(self) -> str | None:
        """Returns the job that `take` would give, or None."""
        entry = self._next()
        return None if entry is None else entry.job_id

    def take(self) -> str | None:
        """Removes the next job, charges its person and returns it; None when nobody waits."""
        entry = self._next()
        if entry is None:
            return None
        if entry.person != NOBODY:
            self._served[entry.person] += entry.work
        self._drop(entry)
        return entry.job_id

    def remove(self, job_id: str) -> bool:
        """Takes a job out of its line, uncharged; False when it does not wait."""
        entry = self._entries.get(job_id)
        if entry is None:
            return False
        self._drop(entry)
        return True

    def credit(self, person: int, work: float) -> None:
        """Gives back charged work that was not run after all."""
        if person in self._served:
            self._served[person] = max(self._served[person] - work, 0.0)

    def served(self, person: int) -> float:
        """Returns the person's counter: charged work, and what they were lifted by."""
        return self._served.get(person, 0.0)

    def order(self) -> list[str]:
        """Returns all waiting jobs in the order in which `take` would give them, in O(n log n)."""
        jobs = list(self._ahead)
        ahead = set(jobs)
        served_of = dict(self._served)
        for job_id in jobs:
            served_of[self._entries[job_id].person] += self._entries[job_id].work
        lines = {
            person: rest
            for person, line in self._lines.items()
            if (rest := [entry for entry in line if entry.job_id not in ahead])
        }
        heap = [(served_of[person], line[0].number, person, 0) for person, line in lines.items()]
        heapq.heapify(heap)
        while heap:
            served, _, person, place = heap[0]
            line = lines[person]
            jobs.append(line[place].job_id)
            if place + 1 < len(line):
                served += line[place].work
                heapq.heapreplace(heap, (served, line[place + 1].number, person, place + 1))
            else:
                heapq.heappop(heap)
        return [*jobs, *(entry.job_id for entry in self._idle)]

    def _next(self) -> _Entry | None:
        if self._ahead:
            return self._entries[self._ahead[0]]
        heads = (line[0] for line in self._lines.values())
        first = self._idle[0] if self._idle else None
        return min(heads, key=lambda e: (self._served[e.person], e.number), default=first)

    def _line_of(self, person: int) -> deque[_Entry]:
        return self._idle if person == NOBODY else self._lines[person]

    def _lowest_counter(self) -> float:
        return min((self._served[person] for person in self._lines), default=self._floor)

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.job_id]
        if entry.job_id in self._ahead:
            self._ahead.remove(entry.job_id)
        line = self._line_of(entry.person)
        line.remove(entry)
        if not line and entry.person != NOBODY:
            del self._lines[entry.person]
            if not self._lines:
                self._floor = max(self._floor, self._served[entry.person])

    def _forget(self, floor: float) -> None:
        """Drops counters that a return would lift anyway, so that they do not pile up for ever."""
        if len(self._served) > _FORGET_ABOVE + len(self._lines):
            self._served = {
                person: served
                for person, served in self._served.items()
                if person in self._lines or served > floor
            }
