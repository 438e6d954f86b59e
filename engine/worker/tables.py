"""Samplers as tables: what a diffusers scheduler does at each step, as numbers.

All but clipping ones are affine: the next latents, and what a sampler keeps of the past, are a sum of
the latents, the kept tensors, the U-Net's output and fresh noise, each times a number. The numbers are
found by running the scheduler itself on basis vectors, so no sampler is written a second time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from engine.types import Sampler
from engine.worker.samplers import make_scheduler, remaining_timesteps

HISTORY = 4  # tensors that a sampler may keep beside the latents; PNDM keeps four outputs
STATE = 1 + HISTORY  # the latents and what is kept
INPUTS = STATE + 2  # the state, the U-Net's output, noise
CACHED_TABLES = 256  # of 5 to 30 kB each

# Columns of the basis: one for each input, and two that prove that nothing else happens.
_OUTPUT, _NOISE, _SUM, _NOTHING = STATE, STATE + 1, INPUTS, INPUTS + 1
_SHAPE = (1, 1, 1, INPUTS + 2)  # what the scheduler takes for latents
_LARGE = 1e3  # beyond every clipping range
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Step:
    """What a sampler does before and after one U-Net call.

    Attributes:
        level: A clean picture times the first plus noise times the second has the noise level at which
            this step begins.
        scale: The U-Net's input is the latents times this.
        update: The new state is this times the inputs, (STATE, INPUTS), float32 on the CPU.
        draws: True when the sampler draws noise, whether it uses it or not.
    """

    level: tuple[float, float]
    scale: float
    update: Any
    draws: bool


class Table:
    """One sampler at one number of steps, from one of them on.

    It is filled in as the first picture walks through it: a step is probed when it is first asked for,
    which costs about what the scheduler's own step would. Only the loop's thread uses it.

    Attributes:
        scheduler: One for asking about the noise schedule; nobody may step it.
        timesteps: Of each U-Net call, CPU tensor (calls,).
    """

    def __init__(self, scheduler: Any, first: int | None) -> None:
        """Takes a scheduler that is set to begin at step `first`.

        Raises:
            NotAffineError: There is no table of it.
        """
        self.scheduler = scheduler
        self.timesteps = remaining_timesteps(scheduler, first)
        self._probe: _Probe | None = None
        self._steps: list[Step] = []
        if len(self.timesteps):
            self.step(0)

    def step(self, place: int) -> Step:
        """Returns what happens at the U-Net call number `place`."""
        while len(self._steps) <= place:
            self._steps.append(self._next())
        return self._steps[place]

    def _next(self) -> Step:
        done = len(self._steps)
        probe, self._probe = self._probe, None
        if probe is None:  # the first step, or the last try stopped in the middle of one
            probe = _Probe(copy.deepcopy(self.scheduler))
            for timestep in self.timesteps[:done]:
                probe.step(timestep)
        step = probe.step(self.timesteps[done])
        self._probe = probe
        return step


class NotAffineError(Exception):
    """The scheduler does what no table says: it clips, thresholds, or keeps too much."""


class Tables:
    """The tables of one model's samplers, those used last."""

    find: Callable[[Sampler, int, int | None], Table | None]

    def __init__(self, scheduler_config: Any) -> None:
        """Keeps the model's own scheduler configuration."""
        self._config = scheduler_config
        self.find = lru_cache(CACHED_TABLES)(self._make)

    def _make(self, sampler: Sampler, num_inference_steps: int, first: int | None) -> Table | None:
        """Returns the table from step `first` on, or None where only the scheduler itself will do.

        Raises:
            InvalidRequestError: The sampler cannot run that many steps.
        """
        scheduler = make_scheduler(sampler, self._config, num_inference_steps, first)
        try:
            return Table(scheduler, first)
        except NotAffineError:
            return None


class _Probe:
    """Runs a scheduler on basis vectors.

    Before each step everything that the scheduler keeps is replaced by basis vectors; what it keeps
    afterwards is read off in their numbers. In float64, so that only its own rounding is left.
    """

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        generator = torch.Generator().manual_seed(0)
        self._large = _LARGE * torch.randn(INPUTS, 1, generator=generator).double()
        basis = torch.cat([torch.eye(INPUTS), self._large, torch.zeros(INPUTS, 1)], dim=1)
        self._basis = [vector.view(_SHAPE) for vector in basis]
        self._noise = _NoiseFromBasis(self._basis[_NOISE])

    def step(self, timestep: Any) -> Step:
        """Returns what the scheduler's next step does."""
        x, clean, noise = self._basis[0], self._basis[0], self._basis[1]
        noised = self._scheduler.add_noise(clean, noise, timestep[None])
        for slot, (owner, key) in enumerate(_kept(self._scheduler), start=1):
            owner[key] = self._basis[slot]
        scaled = self._scheduler.scale_model_input(x, timestep)
        with self._noise as draws:
            latents = self._scheduler.step(self._basis[_OUTPUT], timestep, x, return_dict=False)[0]
        kept = [owner[key] for owner, key in _kept(self._scheduler)]
        if len(kept) > HISTORY:
            raise NotAffineError(f"it keeps {len(kept)} tensors")
        numbers = self._numbers([noised, scaled, latents, *kept])
        update = torch.zeros(STATE, INPUTS)
        update[: 1 + len(kept)] = numbers[2:]
        level = (float(numbers[0, 0]), float(numbers[0, 1]))
        return Step(level, float(numbers[1, 0]), update, draws.is_drawn)

    def _numbers(self, tensors: list[Any]) -> Any:
        """Returns how much of each input is in each tensor, (tensors, INPUTS)."""
        values = torch.stack([tensor.double().flatten() for tensor in tensors])
        numbers = values[:, :INPUTS]
        left = (values[:, _SUM] - (numbers @ self._large)[:, 0]).abs() + values[:, _NOTHING].abs()
        if not (left <= _TOLERANCE * (numbers.abs() @ self._large.abs())[:, 0]).all():
            raise NotAffineError(f"{left.max():.3g} is left over")  # or is not finite
        return numbers


class _NoiseFromBasis(TorchFunctionMode):
    """While it is entered, random numbers are a basis vector, and drawing them is noticed."""

    def __init__(self, noise: Any) -> None:
        super().__init__()
        self._noise = noise
        self.is_drawn = False

    def __enter__(self) -> _NoiseFromBasis:
        self.is_drawn = False
        super().__enter__()
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.randn:
            self.is_drawn = True
            return self._noise
        return func(*args, **(kwargs or {}))


def _kept(scheduler: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the places (owner, key) of the tensors that the scheduler keeps of past steps."""
    own = vars(scheduler)
    for name, value in list(own.items()):
        if isinstance(value, list):
            yield from ((value, place) for place, item in enumerate(value) if _is_latents(item))
        elif _is_latents(value):
            yield own, name


def _is_latents(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == _SHAPE
