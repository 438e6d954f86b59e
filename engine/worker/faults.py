"""What goes wrong on a device: memory that is full is freed and tried again, a lost device is not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch

from engine.errors import EngineError, EngineOutOfMemoryError, GenerationError

T = TypeVar("T")

log = logging.getLogger(__name__)

BELIEVE_S = 600.0


def is_out_of_memory(error: BaseException) -> bool:
    """Returns True for the out-of-memory errors of CUDA, its libraries, the CPU and Python."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    marks = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in marks)


def is_device_lost(error: BaseException) -> bool:
    """Returns True for CUDA errors after which only a new process helps: all but out of memory."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    marks = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")
    return isinstance(error, torch.AcceleratorError) or any(mark in str(error) for mark in marks)


def as_engine_error(error: Exception) -> EngineError:
    """Returns what the owner of a job is told; a lost device is raised on."""
    if is_device_lost(error):
        raise error
    if isinstance(error, EngineError):
        return error
    if is_out_of_memory(error):
        return EngineOutOfMemoryError(
            "The picture does not fit into the engine's memory. Ask for a smaller size."
        )
    log.error("A job failed.", exc_info=error)
    return GenerationError("The engine failed on this job. The operator's log says why.")


def retried(work: Callable[[], T], reclaim: Callable[[], int]) -> T:
    """Does the work; when it does not fit, frees what can be freed and does it once more."""
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        log.warning("Out of memory, trying again: %s", error)
        # Leave this block before freeing: the exception holds the frames that hold memory.
    reclaim()
    return work()


class TooLarge(Generic[T]):
    """What of each kind of call is known to be too much, for a while.

    A smaller call is slower, and tiles can be seen, so the whole one is tried again after
    `BELIEVE_S`: what filled the memory is often another program, or a ControlNet that is gone by then.
    A wrong guess costs one failed call.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts with everything fitting; `clock` gives seconds."""
        self._clock = clock
        self._known: dict[Hashable, tuple[T, float]] = {}

    def note(self, kind: Hashable, fits: T) -> None:
        """Remembers what is tried instead."""
        self._known[kind] = fits, self._clock() + BELIEVE_S

    def get(self, kind: Hashable, default: T) -> T:
        """Returns what is tried instead, `default` when nothing is known."""
        fits, until = self._known.get(kind, (default, float("inf")))
        if self._clock() < until:
            return fits
        del self._known[kind]
        return default
