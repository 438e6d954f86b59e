"""The one U-Net call of a step, and what happens when it fails."""

from __future__ import annotations

import logging
from typing import Any

import torch

log = logging.getLogger(__name__)


class RowError(Exception):
    """The U-Net failed on one row alone.

    Attributes:
        row: Its place in the call.
        cause: What the U-Net raised.
    """

    def __init__(self, row: int, cause: Exception) -> None:
        """Keeps the row and what happened to it."""
        super().__init__(f"row {row}: {type(cause).__name__}: {cause}")
        self.row = row
        self.cause = cause


class Predictor:
    """Calls the U-Net, in smaller parts where one call does not fit into memory."""

    def __init__(self, unet: Any) -> None:
        """Keeps the U-Net and, per latent size, the rows that are known to fit."""
        self._unet = unet
        self._fits: dict[tuple[int, ...], int] = {}

    def predict(self, sample: Any, timesteps: Any, prompt_embeds: Any) -> tuple[Any, list[int]]:
        """Returns the U-Net's output for all rows, and for each row how many shared its call.

        A call that fails is halved until it fits, or until the row at fault is alone. Nothing
        outside is changed before the output is complete, so a failed step can be taken again.

        Args:
            sample: (rows, C, h, w).
            timesteps: (rows,), float32.
            prompt_embeds: (rows, tokens, width).

        Raises:
            RowError: One row fails even alone.
            RuntimeError: The device is lost, see `is_device_lost`.
        """
        rows, *shape = sample.shape
        if rows <= self._fits.get(tuple(shape), rows):
            try:
                output = self._unet(
                    sample, timesteps, encoder_hidden_states=prompt_embeds, return_dict=False
                )[0]
                return output, [rows] * rows
            except Exception as error:
                if is_device_lost(error):
                    raise
                if rows == 1:
                    raise RowError(0, error) from error
                log.warning("A U-Net call of %d rows failed, halving it: %s", rows, error)
                if is_out_of_memory(error):
                    self._fits[tuple(shape)] = -(-rows // 2)
                # Leave this block before freeing: the exception holds the frames that hold memory.
            if sample.device.type == "cuda":
                torch.cuda.empty_cache()
        half = -(-rows // 2)
        first, first_counts = self.predict(sample[:half], timesteps[:half], prompt_embeds[:half])
        try:
            second, second_counts = self.predict(
                sample[half:], timesteps[half:], prompt_embeds[half:]
            )
        except RowError as error:
            error.row += half
            raise
        return torch.cat([first, second]), first_counts + second_counts


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
