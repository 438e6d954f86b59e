"""Jobs that wait for their ControlNets while the others' steps go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from engine.types import GenerationRequest
from engine.worker import controls
from engine.worker.jobs import JobRun
from engine.worker.models import Model
from engine.worker.pool import Lease, Pool


@dataclass(eq=False)
class Arrival:
    """A job before its first step.

    Attributes:
        nets: Of each kind of control the lease of its ControlNet.
    """

    job_id: str
    request: GenerationRequest
    images: Mapping[str, bytes]
    nets: dict[str, Lease[Any]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """True when everything is loaded, or has failed to."""
        return all(lease.loading.done() for lease in self.nets.values())

    def loaded_nets(self) -> dict[str, Any]:
        """Returns the ControlNets by kind. Raises what went wrong with the first that failed."""
        return {kind: lease.loading.result() for kind, lease in self.nets.items()}


class Arrivals:
    """The jobs that are not in the batch yet, and what those in the batch hold.

    All of it belongs to the loop's thread; one thread of its own loads.
    """

    def __init__(
        self,
        model: Model,
        sources: Mapping[str, str],
        *,
        control_bytes: int,
        wake: Callable[[], None],
    ) -> None:
        """Prepares empty pools.

        Args:
            model: The loaded model.
            sources: ControlNets by kind: folder or hub id.
            control_bytes: ControlNets that stay loaded while nobody needs them.
            wake: Called from the loading thread when something is there.
        """
        self._model = model
        self._sources = sources
        self._wake = wake
        self._loader = ThreadPoolExecutor(1, "loader")
        self._nets: Pool[Any] = Pool(control_bytes, self._loader, controls.size_bytes)
        self._waiting: list[Arrival] = []
        self._held: dict[JobRun, Arrival] = {}

    @property
    def is_empty(self) -> bool:
        """True when no job waits."""
        return not self._waiting

    @property
    def job_ids(self) -> list[str]:
        """The jobs that wait, oldest first."""
        return [arrival.job_id for arrival in self._waiting]

    def add(self, arrival: Arrival) -> None:
        """Takes a job in and orders what it needs."""
        self._waiting.append(arrival)
        for control in arrival.request.controls:
            load = partial(
                controls.load, self._model, control.kind, self._sources.get(control.kind, "")
            )
            arrival.nets[control.kind] = self._order(self._nets.take(control.kind, load))

    def pop_complete(self) -> list[Arrival]:
        """Returns the jobs that need not wait any more, oldest first; `hold` or `release` follows."""
        complete = [arrival for arrival in self._waiting if arrival.is_complete]
        self._waiting = [arrival for arrival in self._waiting if not arrival.is_complete]
        return complete

    def pop(self, job_id: str) -> bool:
        """Lets a waiting job go; False when there is none."""
        for arrival in self._waiting:
            if arrival.job_id == job_id:
                self._waiting.remove(arrival)
                self.release(arrival)
                return True
        return False

    def hold(self, job: JobRun, arrival: Arrival) -> None:
        """Keeps what a job needs until it has ended, see `release_ended`."""
        self._held[job] = arrival

    def release(self, arrival: Arrival) -> None:
        """Gives back what a job that did not start has ordered."""
        for lease in arrival.nets.values():
            self._nets.give_back(lease)

    def release_ended(self) -> None:
        """Gives back what ended jobs held."""
        for job in [job for job in self._held if job.has_ended]:
            self.release(self._held.pop(job))

    def loaded_controls(self) -> tuple[str, ...]:
        """Returns the kinds whose ControlNet is in memory."""
        return self._nets.keys()

    def _order(self, lease: Lease[Any]) -> Lease[Any]:
        if not lease.loading.done():
            lease.loading.add_done_callback(lambda _: self._wake())
        return lease
