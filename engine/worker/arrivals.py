"""Jobs that wait for their ControlNets, LoRAs and upscaler while the others' steps go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from engine.errors import EngineError, UnknownAdapterError
from engine.receipts import Receipt
from engine.types import GenerationRequest, Upscaler
from engine.worker import controls, lora_file, lora_rows, upscaling
from engine.worker.jobs import JobRun
from engine.worker.lora_file import Adapter
from engine.worker.lora_rows import Combination
from engine.worker.models import Model
from engine.worker.pool import Lease, Pool

T = TypeVar("T")

_UPSCALER = "the upscaler"  # no kind of control: those are identifiers


@dataclass(eq=False)
class Arrival:
    """A job before its first step.

    Attributes:
        files: Its LoRAs by sha256.
        nets: Of each kind of control the lease of its ControlNet.
        receipt: How its pictures were made, when they are made again; None for new ones.
        adapters: Of each of the request's LoRAs its lease, in their order.
        is_second_try: The first did not fit into memory.
        upscaler: The lease of the learned upscaler; None when it does not go there.
    """

    job_id: str
    request: GenerationRequest
    images: Mapping[str, bytes]
    receipt: Receipt | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    is_second_try: bool = False
    nets: dict[str, Lease[Any]] = field(default_factory=dict)
    adapters: list[Lease[Adapter]] = field(default_factory=list)
    upscaler: Lease[Any] | None = None

    @property
    def is_complete(self) -> bool:
        """True when everything is loaded, or has failed to."""
        return all(lease.loading.done() for lease in [*self.all_nets, *self.adapters])

    @property
    def all_nets(self) -> list[Lease[Any]]:
        """What lies in the pool of networks: ControlNets and the upscaler."""
        return [*self.nets.values(), *([] if self.upscaler is None else [self.upscaler])]

    def loaded_nets(self) -> dict[str, Any]:
        """Returns the ControlNets by kind. Raises what went wrong with the first that failed."""
        return {kind: lease.loading.result() for kind, lease in self.nets.items()}

    def loaded_upscaler(self) -> Any:
        """Returns the learned upscaler, None without. Raises what went wrong with it."""
        return None if self.upscaler is None else self.upscaler.loading.result()


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
        adapter_bytes: int,
        wake: Callable[[], None],
        upscaler: str | None = None,
    ) -> None:
        """Prepares empty pools.

        Args:
            model: The loaded model.
            sources: ControlNets by kind: folder or hub id.
            control_bytes: ControlNets that stay loaded while nobody needs them.
            adapter_bytes: The same of LoRAs.
            wake: Called from the loading thread when something is there.
            upscaler: The learned one, a folder or hub id; kept in the ControlNets' bytes.
        """
        self._upscaler = upscaler or ""
        self._model = model
        self._sources = sources
        self._wake = wake
        self._loader = ThreadPoolExecutor(1, "loader")
        self._nets: Pool[Any] = Pool(control_bytes, self._loader, controls.size_bytes)
        self._adapters: Pool[Adapter] = Pool(adapter_bytes, self._loader, lambda a: a.size_bytes)
        self._waiting: list[Arrival] = []
        self._held: dict[JobRun, Arrival] = {}
        self._calls: dict[int, Lease[Adapter]] = {}
        # Jobs with the same LoRAs share the matrices, and their rows are multiplied together.
        self._combinations: WeakValueDictionary[Any, Combination] = WeakValueDictionary()

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
        if arrival.request.upscaler is not None:  # nothing is drawn: its LoRAs are not needed
            if arrival.request.upscaler is Upscaler.SWIN2SR:
                load = partial(upscaling.load, self._model.device, self._upscaler)
                arrival.upscaler = self._order(self._nets, _UPSCALER, load)
            return
        for control in arrival.request.controls:
            source = self._sources.get(control.kind, "")
            load = partial(controls.load, self._model, control.kind, source)
            arrival.nets[control.kind] = self._order(self._nets, control.kind, load)
        for adapter in arrival.request.adapters:
            path = arrival.files.get(adapter.sha256, Path())
            arrival.adapters.append(self._order_adapter(adapter.sha256, path))

    def order_again(self, arrival: Arrival) -> None:
        """Takes in a job that was released because something of it did not fit into memory."""
        arrival.is_second_try = True
        arrival.nets.clear()
        arrival.adapters.clear()
        arrival.upscaler = None
        self.add(arrival)

    def pop_complete(self) -> list[Arrival]:
        """Returns the jobs that need not wait any more, oldest first; `hold` or `release` follows."""
        complete = [arrival for arrival in self._waiting if arrival.is_complete]
        self._waiting = [arrival for arrival in self._waiting if not arrival.is_complete]
        return complete

    def combine(self, arrival: Arrival) -> Combination | None:
        """Returns the job's LoRAs as one; None without. Raises what went wrong with the first."""
        if arrival.request.upscaler is not None:
            return None
        asked = arrival.request.adapters
        pairs = [
            (lease.loading.result(), adapter.weight)
            for lease, adapter in zip(arrival.adapters, asked, strict=True)
        ]
        known = self._combinations.get(asked)
        if known is None and (known := lora_rows.combine(pairs)) is not None:
            self._combinations[asked] = known
        return known

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
        for net in arrival.all_nets:
            self._nets.give_back(net)
        for adapter in arrival.adapters:
            self._adapters.give_back(adapter)

    def release_ended(self) -> None:
        """Gives back what ended jobs held."""
        for job in [job for job in self._held if job.has_ended]:
            self.release(self._held.pop(job))

    def trim(self) -> None:
        """Evicts what is too much: what was loaded for a job that is not there any more."""
        self._nets.trim()
        self._adapters.trim()

    def evict_idle(self) -> int:
        """Lets go of what no job holds; returns the bytes that it held."""
        self.release_ended()
        return self._nets.trim(0) + self._adapters.trim(0)

    def preload(self, call_id: int, sha256: str, path: Path) -> None:
        """Loads a LoRA that no job waits for; `pop_answers` tells how that went."""
        self._calls[call_id] = self._order_adapter(sha256, path)
        if self._calls[call_id].loading.done():
            self._wake()

    def pop_answers(self) -> list[tuple[int, dict[str, Any]]]:
        """Returns what the finished calls of `preload` are answered: facts, or error and message."""
        done = {id_: lease for id_, lease in self._calls.items() if lease.loading.done()}
        answers = []
        for call_id, lease in done.items():
            answers.append((call_id, _facts(lease)))
            self._adapters.give_back(self._calls.pop(call_id))
        return answers

    def unload(self, sha256: str) -> bool:
        """Forgets a LoRA; jobs that have it keep it to their end. False when it was not there."""
        return self._adapters.drop(sha256)

    def loaded_controls(self) -> tuple[str, ...]:
        """Returns the kinds whose ControlNet is in memory."""
        return tuple(kind for kind in self._nets.keys() if kind != _UPSCALER)  # noqa: SIM118  # no dictionary

    def loaded_adapters(self) -> tuple[str, ...]:
        """Returns the sha256 of the LoRAs in memory."""
        return self._adapters.keys()

    def _order_adapter(self, sha256: str, path: Path) -> Lease[Adapter]:
        model = self._model
        parts = model.unet, model.text_encoder, model.text_encoder_2
        return self._order(self._adapters, sha256, partial(lora_file.load, path, sha256, *parts))

    def _order(self, pool: Pool[T], key: str, load: Callable[[], T]) -> Lease[T]:
        lease = pool.take(key, load)
        if not lease.loading.done():
            lease.loading.add_done_callback(lambda _: self._wake())
        return lease


def _facts(lease: Lease[Adapter]) -> dict[str, Any]:
    try:
        adapter = lease.loading.result()
    except EngineError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except Exception:
        text = "The style could not be loaded; the operator's log says why."
        return {"error": UnknownAdapterError.__name__, "message": text}
    texts = len(adapter.text) + len(adapter.text_2)
    return {"unet": len(adapter.unet), "text": texts, "bytes": adapter.size_bytes}
