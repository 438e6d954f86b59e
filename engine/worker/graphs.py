"""CUDA graphs: a call is recorded once for each of its shapes, and replayed without Python.

Not tried on a GPU yet: the tests run everything around it on the CPU, and the falling back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch

from engine.worker.buckets import Place

log = logging.getLogger(__name__)

RECORD_AFTER = 3  # calls of one shape: a recording takes as long as four, and some shapes come once
WARM_UPS = 2  # libraries choose their kernels and take their workspace in the first calls
_TOLERANCE = 0.02  # of the largest output, between a replay and the call itself


@dataclass(eq=False)
class Recording:
    """A recorded call.

    Attributes:
        graph: The CUDA graph.
        outputs: Where it leaves the network's output; the next replay of any graph may write there.
    """

    graph: Any
    outputs: Any


class Graphed:
    """Replays calls; those that cannot be recorded run as they are, and so does all that follows."""

    def __init__(self) -> None:
        """Prepares the memory that all graphs share, since only one runs at a time."""
        self._pool: Any = None
        self._is_off = False

    def __call__(self, net: Any, place: Place) -> Any:
        """Returns the network's output."""
        place.calls += 1
        if place.recording is None and place.calls > RECORD_AFTER and not self._is_off:
            try:
                place.recording = self._record(net, place)
            except Exception as error:
                # One reason for all shapes: a recording that fails is not tried a second time.
                self._is_off = True
                log.warning(
                    "CUDA graphs cannot be used, so steps take longer: %s: %s",
                    type(error).__name__,
                    error,
                )
            if self._is_off and torch.cuda.is_available():
                torch.cuda.synchronize()  # raises when the device was lost over it
        if place.recording is None:
            return net(**place.inputs, return_dict=False)
        place.recording.graph.replay()
        return _copies(place.recording.outputs)

    def _record(self, net: Any, place: Place) -> Recording:
        """Warms up, records and checks the recording against the call itself."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                expected = net(**place.inputs, return_dict=False)
        torch.cuda.current_stream().wait_stream(stream)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls may spoil the recording: previews and loading go on in others.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = net(**place.inputs, return_dict=False)
        graph.replay()
        for ours, theirs in zip(_flat(outputs), _flat(expected), strict=True):
            finite = torch.isfinite(theirs)
            difference = (ours - theirs).abs()[finite].max() if finite.any() else ours.new_zeros(())
            if not difference <= _TOLERANCE * theirs[finite].abs().max().clamp(min=1e-3):
                raise RuntimeError(f"a replay differs by {float(difference):.3g}")
        return Recording(graph, outputs)


def _flat(outputs: Any) -> list[Any]:
    """Returns the tensors of a network's output, (sample,) or (down residuals, mid residual)."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for part in outputs for tensor in _flat(part)]


def _copies(outputs: Any) -> Any:
    if isinstance(outputs, torch.Tensor):
        return outputs.clone()
    return tuple(_copies(part) for part in outputs)
