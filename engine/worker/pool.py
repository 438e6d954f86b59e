"""What jobs need beside the model, such as ControlNets and LoRAs: loaded in a thread, kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Lease(Generic[T]):
    """One job's right to a thing: it is not evicted before `Pool.give_back`.

    Attributes:
        loading: Done when the thing is there; its `result()` raises what went wrong.
    """

    key: str
    loading: Future[T]


@dataclass(eq=False)
class _Entry(Generic[T]):
    loading: Future[T]
    leases: int = 0

    @property
    def has_failed(self) -> bool:
        return self.loading.done() and self.loading.exception() is not None


class Pool(Generic[T]):
    """Things by key, bounded in bytes: the least recently used go first, those in use stay.

    Only the loaders run in the executor; everything else belongs to the loop's thread.
    """

    def __init__(self, limit_bytes: int, executor: Executor, size: Callable[[T], int]) -> None:
        """Prepares an empty pool.

        Args:
            limit_bytes: What may be kept; more only while jobs need it.
            executor: Runs the loaders.
            size: Returns the bytes that a loaded thing holds.
        """
        self._limit_bytes = limit_bytes
        self._executor = executor
        self._size = size
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()

    def take(self, key: str, load: Callable[[], T]) -> Lease[T]:
        """Returns a lease of the thing, which `load` makes when it is not there.

        A load that failed before is tried again: the operator may have put the file right.
        """
        entry = self._entries.get(key)
        if entry is None or entry.has_failed:
            entry = self._entries[key] = _Entry(self._executor.submit(load))
        self._entries.move_to_end(key)
        entry.leases += 1
        return Lease(key, entry.loading)

    def give_back(self, lease: Lease[T]) -> None:
        """Ends a lease; what nobody needs may be evicted now."""
        entry = self._entries.get(lease.key)
        if entry is not None and entry.loading is lease.loading:
            entry.leases -= 1
        self.trim()

    def trim(self, limit_bytes: int | None = None) -> int:
        """Evicts what is too much, and forgets loads that failed; returns the bytes evicted.

        Args:
            limit_bytes: What may be kept; None for the pool's own limit.
        """
        limit_bytes = self._limit_bytes if limit_bytes is None else limit_bytes
        for key, entry in list(self._entries.items()):
            if entry.has_failed and not entry.leases:
                del self._entries[key]
        before = held = self.held_bytes()
        for key, entry in list(self._entries.items()):
            if held <= limit_bytes:
                break
            if entry.loading.done() and not entry.leases:
                held -= self._size(entry.loading.result())
                del self._entries[key]
        return before - held

    def drop(self, key: str) -> bool:
        """Forgets the thing; jobs that hold it keep it to their end. False when it was not there."""
        return self._entries.pop(key, None) is not None

    def keys(self) -> tuple[str, ...]:
        """Returns what is loaded, least recently used first."""
        return tuple(
            key
            for key, entry in self._entries.items()
            if entry.loading.done() and not entry.has_failed
        )

    def held_bytes(self) -> int:
        """Returns the bytes of everything that is loaded."""
        return sum(self._size(self._entries[key].loading.result()) for key in self.keys())
