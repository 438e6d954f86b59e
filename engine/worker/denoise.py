"""The one U-Net call of a step, and what happens when it fails."""

from __future__ import annotations

import logging
from typing import Any

import torch

log = logging.getLogger(__name__)


class DeviceLostError(Exception):
    """The CUDA context cannot be trusted any more; only a new process helps."""


class RowError(Exception):
    """The U-Net failed on one row alone.

    Attributes:
        row: Its place in the call.
        is_out_of_memory: True when it did not fit, False when it is something else.
    """

    def __init__(self, row: int, cause: Exception) -> None:
        """Keeps the row and what happened to it."""
        super().__init__(f"row {row}: {type(cause).__name__}: {cause}")
        self.row = row
        self.is_out_of_memory = is_out_of_memory(cause)


def predict(unet: Any, sample: Any, timesteps: Any, prompt_embeds: Any) -> tuple[Any, list[int]]:
    """Calls the U-Net on all rows and returns its output and the number of rows of each row's call.

    A call that fails is halved until it fits, or until the row at fault is alone. Nothing outside is
    changed before the output is complete, so a failed step can be taken again.

    Args:
        unet: The U-Net.
        sample: (rows, C, h, w).
        timesteps: (rows,), float32.
        prompt_embeds: (rows, tokens, width).

    Raises:
        RowError: One row fails even alone.
        DeviceLostError: A CUDA error that is not about memory.
    """
    rows = len(sample)
    try:
        output = unet(sample, timesteps, encoder_hidden_states=prompt_embeds, return_dict=False)[0]
        return output, [rows] * rows
    except Exception as error:
        raise_if_lost(error)
        if rows == 1:
            raise RowError(0, error) from error
        log.warning("A U-Net call of %d rows failed, halving it: %s", rows, error)
        # Fall out of the block: the exception holds the frames that hold the memory.
    if sample.device.type == "cuda":
        torch.cuda.empty_cache()
    half = rows // 2
    first, first_counts = predict(unet, sample[:half], timesteps[:half], prompt_embeds[:half])
    try:
        second, second_counts = predict(unet, sample[half:], timesteps[half:], prompt_embeds[half:])
    except RowError as error:
        error.row += half
        raise
    return torch.cat([first, second]), first_counts + second_counts


def is_out_of_memory(error: BaseException) -> bool:
    """Returns True for the out-of-memory errors of CUDA, the CPU allocator and Python."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def raise_if_lost(error: BaseException) -> None:
    """Raises DeviceLostError when `error` says that the CUDA context is broken."""
    if is_out_of_memory(error):
        return
    text = str(error)
    if isinstance(error, torch.AcceleratorError) or any(
        mark in text for mark in ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")
    ):
        raise DeviceLostError(text.splitlines()[0] if text else "CUDA error") from error
