"""The one U-Net call of a step, and what happens when it fails."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Call:
    """The U-Net call that a row ran in: its rows, and the tokens of each row's text."""

    rows: int
    tokens: int


class Predictor:
    """Calls the U-Net, in smaller parts where one call does not fit into memory."""

    def __init__(self, unet: Any) -> None:
        """Keeps the U-Net and, per latent size, the rows that are known to fit."""
        self._unet = unet
        self._fits: dict[tuple[int, ...], int] = {}
        # Attention does not see that all its keys are there twice. The pooling of such a U-Net does:
        # it adds their mean as one more key, which would count for less.
        self._can_repeat_text = unet.config.addition_embed_type != "text"

    def predict(
        self, sample: Any, timesteps: Any, prompt_embeds: Sequence[Any]
    ) -> tuple[Any, list[Call]]:
        """Returns the U-Net's output for all rows, and for each row the call it ran in.

        Nothing outside is changed before the output is complete, so a failed step can be taken
        again.

        Args:
            sample: (rows, C, h, w).
            timesteps: (rows,), float32.
            prompt_embeds: Of each row (1, tokens, width), where tokens may differ.

        Raises:
            RowError: One row fails even alone.
            RuntimeError: The device is lost, see `is_device_lost`.
        """
        lengths = [embeds.shape[1] for embeds in prompt_embeds]
        if self._can_repeat_text or len(set(lengths)) == 1:
            return self._predict(sample, timesteps, prompt_embeds)
        outputs: dict[int, Any] = {}
        calls: dict[int, Call] = {}
        for length in dict.fromkeys(lengths):
            rows = [row for row, own in enumerate(lengths) if own == length]
            try:
                output, own_calls = self._predict(
                    torch.cat([sample[row : row + 1] for row in rows]),
                    torch.cat([timesteps[row : row + 1] for row in rows]),
                    [prompt_embeds[row] for row in rows],
                )
            except RowError as error:
                error.row = rows[error.row]
                raise
            outputs.update(zip(rows, output.split(1), strict=True))
            calls.update(zip(rows, own_calls, strict=True))
        order = range(len(lengths))
        return torch.cat([outputs[row] for row in order]), [calls[row] for row in order]

    def _predict(
        self, sample: Any, timesteps: Any, prompt_embeds: Sequence[Any]
    ) -> tuple[Any, list[Call]]:
        """One call. If it fails it is halved until it fits, or until the row at fault is alone."""
        rows, *shape = sample.shape
        if rows <= self._fits.get(tuple(shape), rows):
            try:
                text = _stack(prompt_embeds)
                output = self._unet(
                    sample, timesteps, encoder_hidden_states=text, return_dict=False
                )[0]
                return output, [Call(rows, text.shape[1])] * rows
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
        first, first_calls = self._predict(sample[:half], timesteps[:half], prompt_embeds[:half])
        try:
            second, second_calls = self._predict(
                sample[half:], timesteps[half:], prompt_embeds[half:]
            )
        except RowError as error:
            error.row += half
            raise
        return torch.cat([first, second]), first_calls + second_calls


def _stack(prompt_embeds: Sequence[Any]) -> Any:
    """Returns (rows, tokens, width), each row repeated to the least common number of tokens.

    softmax(QK)V with every key and value repeated n times is the same sum: each weight is an nth.
    """
    tokens = math.lcm(*(embeds.shape[1] for embeds in prompt_embeds))
    return torch.cat([embeds.repeat(1, tokens // embeds.shape[1], 1) for embeds in prompt_embeds])


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
