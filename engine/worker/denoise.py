"""The one U-Net call of a step, and what happens when it fails."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from engine.worker import controls, lora_rows
from engine.worker.controls import ControlRun
from engine.worker.lora_rows import Combination

log = logging.getLogger(__name__)

PLAN_AGE = 8  # calls: a step may be several, and sizes take turns


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
class Rows:
    """What one U-Net call reads; a row may be one of any picture's, of any kind.

    Attributes:
        sample: (rows, C, h, w).
        timesteps: (rows,), float32.
        prompt_embeds: Of each row (1, tokens, width), where tokens may differ.
        controls: Of each row the ControlNets that guide it in this step.
        adapters: Of each row its LoRAs, or None.
    """

    sample: Any
    timesteps: Any
    prompt_embeds: Sequence[Any]
    controls: Sequence[Sequence[ControlRun]]
    adapters: Sequence[Combination | None]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.prompt_embeds)

    def part(self, start: int, end: int) -> Rows:
        """Returns the rows from `start` to before `end`."""
        return Rows(
            self.sample[start:end],
            self.timesteps[start:end],
            self.prompt_embeds[start:end],
            self.controls[start:end],
            self.adapters[start:end],
        )

    def pick(self, places: Sequence[int]) -> Rows:
        """Returns the rows at the given places."""
        return Rows(
            torch.cat([self.sample[place : place + 1] for place in places]),
            torch.cat([self.timesteps[place : place + 1] for place in places]),
            [self.prompt_embeds[place] for place in places],
            [self.controls[place] for place in places],
            [self.adapters[place] for place in places],
        )


@dataclass(frozen=True, slots=True)
class Call:
    """The U-Net call that a row ran in.

    Attributes:
        rows: Its rows.
        tokens: Of each row's text.
        controls: Rows of the ControlNet calls that were made for it, by kind.
    """

    rows: int
    tokens: int
    controls: Mapping[str, int] = field(default_factory=dict)


class Predictor:
    """Calls the U-Net, in smaller parts where one call does not fit into memory."""

    def __init__(self, unet: Any, way: lora_rows.Way = "seg") -> None:
        """Keeps the U-Net, the way of adding LoRAs to rows and, per latent size, the rows that are known to fit."""
        self._unet = unet
        self._way = way
        self._calls = 0
        # Of LoRAs by row: the hooks, and the number of the call that used them last.
        self._plans: dict[tuple[Combination | None, ...], tuple[lora_rows.Hooks, int]] = {}
        self._fits: dict[tuple[int, ...], int] = {}
        # Attention does not see that all its keys are there twice. The pooling of such a U-Net does:
        # it adds their mean as one more key, which would count for less.
        self._can_repeat_text = unet.config.addition_embed_type != "text"

    def predict(self, rows: Rows) -> tuple[Any, list[Call]]:
        """Returns the U-Net's output for all rows, and for each row the call it ran in.

        Nothing outside is changed before the output is complete, so a failed step can be taken
        again.

        Raises:
            RowError: One row fails even alone.
            RuntimeError: The device is lost, see `is_device_lost`.
        """
        lengths = [embeds.shape[1] for embeds in rows.prompt_embeds]
        if self._can_repeat_text or len(set(lengths)) == 1:
            return self._predict(rows)
        outputs: dict[int, Any] = {}
        calls: dict[int, Call] = {}
        for length in dict.fromkeys(lengths):
            places = [place for place, own in enumerate(lengths) if own == length]
            try:
                output, own_calls = self._predict(rows.pick(places))
            except RowError as error:
                error.row = places[error.row]
                raise
            outputs.update(zip(places, output.split(1), strict=True))
            calls.update(zip(places, own_calls, strict=True))
        order = range(len(lengths))
        return torch.cat([outputs[row] for row in order]), [calls[row] for row in order]

    def _predict(self, rows: Rows) -> tuple[Any, list[Call]]:
        """One call. If it fails it is halved until it fits, or until the row at fault is alone."""
        count, *shape = rows.sample.shape
        if count <= self._fits.get(tuple(shape), count):
            try:
                return self._call(rows)
            except Exception as error:
                if is_device_lost(error):
                    raise
                if count == 1:
                    raise RowError(0, error) from error
                log.warning("A U-Net call of %d rows failed, halving it: %s", count, error)
                if is_out_of_memory(error):
                    self._fits[tuple(shape)] = -(-count // 2)
                # Leave this block before freeing: the exception holds the frames that hold memory.
            if rows.sample.device.type == "cuda":
                torch.cuda.empty_cache()
        half = -(-count // 2)
        first, first_calls = self._predict(rows.part(0, half))
        try:
            second, second_calls = self._predict(rows.part(half, count))
        except RowError as error:
            error.row += half
            raise
        return torch.cat([first, second]), first_calls + second_calls

    def _call(self, rows: Rows) -> tuple[Any, list[Call]]:
        """The ControlNets over the rows that they guide, then the U-Net over all rows."""
        text = _stack(rows.prompt_embeds)
        residuals, counts = controls.add_residuals(rows.controls, rows.sample, rows.timesteps, text)
        with lora_rows.applied(self._hooks(rows.adapters)):
            output = self._unet(
                rows.sample,
                rows.timesteps,
                encoder_hidden_states=text,
                return_dict=False,
                **residuals,
            )[0]
        return output, [
            Call(
                len(rows),
                text.shape[1],
                {run.control.kind: counts[run.control.kind] for run in own},
            )
            for own in rows.controls
        ]

    def _hooks(self, adapters: Sequence[Combination | None]) -> lora_rows.Hooks:
        """Returns the hooks of these rows' LoRAs, most often those of the step before."""
        self._calls += 1
        hooks: lora_rows.Hooks = ()
        if any(adapters):
            key = tuple(adapters)
            if key in self._plans:
                hooks, _ = self._plans[key]
            else:
                pairs = [own.unet if own else None for own in adapters]
                hooks = lora_rows.plan(self._unet, pairs, self._way)
            self._plans[key] = hooks, self._calls
        self._plans = {
            key: plan for key, plan in self._plans.items() if plan[1] > self._calls - PLAN_AGE
        }
        return hooks


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
