"""Which accepted job may go to the engine process now, and which one is to blame when it dies.

Rows of many jobs share a call, so a death has several suspects. Each of them then runs alone, one
after the other, before the rest goes on; the one that is alone at its second death is set aside.
Jobs that were sent but had not started are innocent, once: a job that the process dies of before it
starts would otherwise come back for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.types import Picture


@dataclass(slots=True)
class AcceptedJob:
    """A job that the engine has to bring to an end.

    Attributes:
        frame: What the process is sent.
        deaths: Engine deaths that it is suspected of.
        near_deaths: Deaths in which it was sent and had not started.
        pictures: What the current process delivered so far, by index.
    """

    job_id: str
    num_images: int
    frame: bytes
    deaths: int = 0
    near_deaths: int = 0
    is_sent: bool = False
    has_started: bool = False
    is_cancelled: bool = False
    pictures: dict[int, Picture] = field(default_factory=dict)

    @property
    def is_suspect(self) -> bool:
        """True when it runs alone from now on."""
        return self.deaths > 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a death of the process means for the jobs that it had.

    Attributes:
        blamed: Jobs whose count of deaths went up, also those set aside.
        set_aside: Jobs that were alone at their second death; they are not in the roster any more.
        cancelled: Jobs that somebody had cancelled; they are not in the roster any more.
    """

    blamed: tuple[str, ...]
    set_aside: tuple[str, ...]
    cancelled: tuple[str, ...]


class Roster:
    """The accepted jobs, in the order in which they came."""

    def __init__(self) -> None:
        """Starts empty."""
        self._jobs: dict[str, AcceptedJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: AcceptedJob) -> None:
        """Accepts a job.

        Raises:
            ValueError: It is here already.
        """
        if job.job_id in self._jobs:
            raise ValueError(f"job {job.job_id} was accepted before")
        self._jobs[job.job_id] = job

    def get(self, job_id: str) -> AcceptedJob | None:
        """Returns the job, or None when it ended."""
        return self._jobs.get(job_id)

    def pop(self, job_id: str) -> AcceptedJob | None:
        """Removes a job that ended; None when it had ended before."""
        return self._jobs.pop(job_id, None)

    def give_up(self) -> list[AcceptedJob]:
        """Removes all jobs and returns them: what they were for will not come back."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        return jobs

    @property
    def in_flight(self) -> list[AcceptedJob]:
        """The jobs that the process has."""
        return [job for job in self._jobs.values() if job.is_sent]

    def next_to_send(self) -> AcceptedJob | None:
        """Returns the job to send now, or None: suspects first and alone, then in order."""
        in_flight = self.in_flight
        pending = [job for job in self._jobs.values() if not job.is_sent]
        suspects = [job for job in pending if job.is_suspect]
        if suspects:
            return None if in_flight else suspects[0]
        if any(job.is_suspect for job in in_flight):
            return None
        return pending[0] if pending else None

    def process_died(self) -> Verdict:
        """Takes back every job from the process that is gone, and says who is to blame."""
        in_flight = self.in_flight
        nobody_started = not any(job.has_started for job in in_flight)
        blamed, set_aside, cancelled = [], [], []
        for job in in_flight:
            if job.is_cancelled:
                cancelled.append(job.job_id)
                del self._jobs[job.job_id]
                continue
            if not job.has_started:
                job.near_deaths += 1
            if job.has_started or nobody_started or job.near_deaths > 1:
                job.deaths += 1
                blamed.append(job.job_id)
                if job.deaths > 1 and len(in_flight) == 1:
                    set_aside.append(job.job_id)
                    del self._jobs[job.job_id]
                    continue
            job.is_sent = job.has_started = False
            job.pictures.clear()
        return Verdict(tuple(blamed), tuple(set_aside), tuple(cancelled))
