"""The one U-Net call of a step, and what happens when it fails."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from engine.errors import InvalidRequestError
from engine.receipts import Call
from engine.worker import controls, lora_rows
from engine.worker.buckets import Caller, Direct, Placed
from engine.worker.conditions import Condition
from engine.worker.controls import ControlRun
from engine.worker.faults import TooLarge, is_device_lost, is_out_of_memory, retried
from engine.worker.lora_rows import Combination
from engine.worker.lora_slots import Slots

log = logging.getLogger(__name__)

PLAN_AGE = 8  # calls: a step may be several, and sizes take turns


class RowError(Exception):
    """The U-Net failed on one row alone.

    Attributes:
        row: Its place in the call.
        cause: What the U-Net raised.
        job: Whose it is, told by who knows.
    """

    job: Any = None

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
        conditions: Of each row what guides it; the lengths of texts may differ.
        controls: Of each row the ControlNets that guide it in this step.
        adapters: Of each row its LoRAs, or None.
    """

    sample: Any
    timesteps: Any
    conditions: Sequence[Condition]
    controls: Sequence[Sequence[ControlRun]]
    adapters: Sequence[Combination | None]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.conditions)

    def part(self, start: int, end: int) -> Rows:
        """Returns the rows from `start` to before `end`."""
        return Rows(
            self.sample[start:end],
            self.timesteps[start:end],
            self.conditions[start:end],
            self.controls[start:end],
            self.adapters[start:end],
        )

    def pick(self, places: Sequence[int]) -> Rows:
        """Returns the rows at the given places."""
        return Rows(
            torch.cat([self.sample[place : place + 1] for place in places]),
            torch.cat([self.timesteps[place : place + 1] for place in places]),
            [self.conditions[place] for place in places],
            [self.controls[place] for place in places],
            [self.adapters[place] for place in places],
        )


class Predictor:
    """Calls the U-Net, in smaller parts where one call does not fit into memory."""

    def __init__(
        self,
        unet: Any,
        way: lora_rows.Way = "seg",
        *,
        caller: Caller | None = None,
        reclaim: Callable[[], int] = lambda: 0,
        too_large: TooLarge[int] | None = None,
    ) -> None:
        """Keeps the U-Net.

        Args:
            unet: The U-Net.
            way: How LoRAs are added to rows, where shapes may change.
            caller: How networks are called; None for calls of just their rows.
            reclaim: Frees what nobody needs now and returns how many bytes that was.
            too_large: Remembers, by the size of the latents, the most rows of a call that may fit.
        """
        self._unet = unet
        self._way = way
        self._caller: Caller = Direct() if caller is None else caller
        self._slots = Slots(unet) if caller is not None else None
        self._reclaim = reclaim
        self._too_large = TooLarge[int]() if too_large is None else too_large
        self._calls = 0
        # Of LoRAs by row: the hooks, and the number of the call that used them last.
        self._plans: dict[tuple[Any, ...], tuple[lora_rows.Hooks, int]] = {}
        # Attention does not see that all its keys are there twice. The pooling of such a U-Net does:
        # it adds their mean as one more key, which would count for less.
        self._can_repeat_text = unet.config.addition_embed_type != "text"

    def forget(self) -> int:
        """Lets go of what is kept between calls and returns how many bytes that was."""
        held = 0 if self._slots is None else self._slots.forget()
        return held + self._caller.forget()

    def predict(self, rows: Rows) -> tuple[Any, list[Call]]:
        """Returns the U-Net's output for all rows, and for each row the call it ran in.

        Nothing outside is changed before the output is complete, so a failed step can be taken
        again.

        Raises:
            RowError: One row fails even alone.
            RuntimeError: The device is lost, see `is_device_lost`.
        """
        lengths = [condition.text.shape[1] for condition in rows.conditions]
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

    def repeat(self, rows: Rows, calls: Sequence[Call]) -> Any:
        """Returns the U-Net's output for rows, each out of a call like the one that it ran in before.

        Each row has a call of its own, since the two of a picture need not have been in the same.

        Raises:
            InvalidRequestError: The calls are not those of such rows.
            RowError: One row fails.
            RuntimeError: The device is lost, see `is_device_lost`.
        """
        outputs = []
        for number, call in enumerate(calls):
            again = partial(self._repeat, rows.part(number, number + 1), call)
            try:
                outputs.append(retried(again, self._reclaim))
            except Exception as error:
                if is_device_lost(error) or isinstance(error, InvalidRequestError):
                    raise
                raise RowError(number, error) from error
        return torch.cat(outputs)

    def _repeat(self, row: Rows, call: Call) -> Any:
        (condition,), (active,), (own,) = row.conditions, row.controls, row.adapters
        tokens = condition.text.shape[1]
        has_loras = own is not None and bool(own.unet)
        kinds = {run.control.kind for run in active}
        if call.tokens % tokens or kinds != set(call.controls) or has_loras != bool(call.adapters):
            raise InvalidRequestError("The receipt is of another picture: its calls do not fit.")
        text = condition.text.repeat(1, call.tokens // tokens, 1)
        spots = {run.net: call.controls[run.control.kind] for run in active}
        rank = call.adapters[0] if len(call.adapters) == 1 else 0
        adapters = _spread(own, call)
        output, _ = self._run(
            row,
            Condition(text, condition.added),
            Placed(self._caller, {**spots, self._unet: (call.rows, call.place)}),
            adapters,
            rank,
        )
        return output

    def _predict(self, rows: Rows) -> tuple[Any, list[Call]]:
        """One call. If it fails it is halved until it fits, or until the row at fault is alone."""
        count, *shape = rows.sample.shape
        size = tuple(shape)
        has_freed = False
        while count <= self._too_large.get(size, count):
            try:
                return self._call(rows)
            except Exception as error:
                if is_device_lost(error):
                    raise
                is_memory_short = is_out_of_memory(error)
                if count == 1 and (has_freed or not is_memory_short):
                    raise RowError(0, error) from error
                log.warning("A U-Net call of %d rows failed: %s", count, error)
                # Leave this block before freeing: the exception holds the frames that hold memory.
            if not is_memory_short:
                break
            freed = self._reclaim()
            if has_freed or (freed == 0 and count > 1):
                self._too_large.note(size, -(-count // 2))
            has_freed = True
        half = -(-count // 2)
        first, first_calls = self._predict(rows.part(0, half))
        try:
            second, second_calls = self._predict(rows.part(half, count))
        except RowError as error:
            error.row += half
            raise
        return torch.cat([first, second]), first_calls + second_calls

    def _call(self, rows: Rows) -> tuple[Any, list[Call]]:
        """One call of all rows; returns its output and of each row where it was."""
        condition = _stack(rows.conditions)
        rank = self._rank_of(rows.adapters)
        output, spots = self._run(rows, condition, self._caller, rows.adapters, rank)
        adapters = lora_rows.groups(rows.adapters)
        if rank:
            adapters = [(rank,) if group else () for group in adapters]
        count, tokens = self._caller.rows_of(len(rows)), condition.text.shape[1]
        return output, [
            Call(count, place, tokens, spots[place], adapters[place]) for place in range(len(rows))
        ]

    def _run(
        self,
        rows: Rows,
        condition: Condition,
        caller: Caller,
        adapters: Sequence[Combination | None],
        rank: int,
    ) -> tuple[Any, list[dict[str, tuple[int, int]]]]:
        """The ControlNets over the rows that they guide, then the U-Net over all rows.

        Args:
            rows: The rows.
            condition: What guides them, with rows in the first dimension.
            caller: How the networks are called.
            adapters: Of each row of the U-Net's call its LoRAs; those of dead ones may be left out at
                the end.
            rank: What the LoRAs are padded to; 0 where they are not.

        Returns:
            The output (rows, C, h, w), and by kind where each row was in the ControlNets' calls.
        """
        residuals, spots = controls.add_residuals(
            caller, rows.controls, rows.sample, rows.timesteps, condition
        )
        rows_of_call = max(caller.rows_of(len(rows)), len(adapters))
        with self._adapted(adapters, rows_of_call, rank) as owner:
            (output,) = caller(
                self._unet,
                {
                    "sample": rows.sample,
                    "timestep": rows.timesteps,
                    "encoder_hidden_states": condition.text,
                    "added_cond_kwargs": condition.added or None,
                    **residuals,
                },
                owner,
            )
        return output, spots

    def _rank_of(self, adapters: Sequence[Combination | None]) -> int:
        """Returns the rank that the rows' LoRAs are padded to; 0 where they are not, or without any."""
        if self._slots is not None:
            return self._slots.rank_of(adapters)
        return lora_rows.rank_of_call(adapters, self._way)

    def _adapted(
        self, adapters: Sequence[Combination | None], rows_of_call: int, rank: int
    ) -> contextlib.AbstractContextManager[Any]:
        """Lets the rows' LoRAs act on the U-Net inside of a block; it gives what the call reads, or None."""
        if self._slots is not None:
            return self._slots.holding(adapters, rows_of_call, max(rank, self._rank_of(adapters)))
        return lora_rows.applied(self._hooks(adapters, rank))

    def _hooks(self, adapters: Sequence[Combination | None], rank: int) -> lora_rows.Hooks:
        """Returns the hooks of these rows' LoRAs, most often those of the step before."""
        self._calls += 1
        hooks: lora_rows.Hooks = ()
        if any(adapters):
            key = (rank, *adapters)
            if key in self._plans:
                hooks, _ = self._plans[key]
            else:
                pairs = [own.unet if own else None for own in adapters]
                hooks = lora_rows.plan(self._unet, pairs, "bmm" if rank else "seg", rank)
            self._plans[key] = hooks, self._calls
        self._plans = {
            key: plan for key, plan in self._plans.items() if plan[1] > self._calls - PLAN_AGE
        }
        return hooks


def _spread(own: Combination | None, call: Call) -> list[Combination | None]:
    """Returns the LoRAs of a call's rows, so that the row is where it was among those with the same."""
    rows, number = call.adapters if len(call.adapters) == 2 else (1, 0)
    before = range(number)
    after = range(call.place, call.place + rows - number)
    if number > call.place or after.stop > call.rows:
        raise InvalidRequestError("The receipt is damaged: a call has no room for its styles.")
    return [own if place in before or place in after else None for place in range(call.rows)]


def _stack(conditions: Sequence[Condition]) -> Condition:
    """Returns all rows' conditions as one, each text repeated to the least common number of tokens.

    softmax(QK)V with every key and value repeated n times is the same sum: each weight is an nth.
    """
    texts = [condition.text for condition in conditions]
    tokens = math.lcm(*(text.shape[1] for text in texts))
    return Condition(
        torch.cat([text.repeat(1, tokens // text.shape[1], 1) for text in texts]),
        {name: torch.cat([c.added[name] for c in conditions]) for name in conditions[0].added},
    )
