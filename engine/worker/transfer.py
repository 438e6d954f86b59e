"""Numbers to the GPU and back without waiting for what it still has to do."""

from __future__ import annotations

from typing import Any

import torch


def sent(values: Any, device: Any) -> Any:
    """Returns values from the CPU on a device, without waiting for what that still has to do.

    From memory that may be swapped out CUDA copies larger tensors only when all before is done.
    """
    if device.type == "cuda":
        values = (
            values.pin_memory()
        )  # torch keeps such memory, and until the copy is done, this one
    return values.to(device, non_blocking=True)


class Fetched:
    """Values on their way from a device; whoever needs them waits, in another thread than the loop's.

    The copy is queued by the thread that makes this, behind the work that gives the values. Queued by
    the waiting thread it would come behind the loop's next step, too.
    """

    def __init__(self, values: Any) -> None:
        """Queues the copy; on a CPU there is nothing to do. Nobody may change `values` afterwards."""
        self._values = values
        self._event: Any = None
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event(blocking=True)
            self._event.record()

    def wait(self) -> Any:
        """Returns the values on the CPU."""
        if self._event is not None:
            self._event.synchronize()
        return self._values
