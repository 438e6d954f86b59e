"""The training loop that all stages share: averaging over processes, EMA, checkpoints that resume."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file

EMA_DECAY = 0.999
WARM_UP_STEPS = 400
COOL_DOWN = 0.2  # share of the samples over which the learning rate falls


@dataclass(frozen=True)
class Worker:
    """One of `world` processes that train together."""

    rank: int
    world: int
    work: Path
    device: torch.device
    seed: int

    def say(self, text: str) -> None:
        """Prints a line of progress, once for all processes."""
        if self.rank == 0:
            print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def generator(self, stage: str, step: int) -> torch.Generator:
        """Random numbers that depend on the seed, stage, step and process alone, so runs resume exactly."""
        key = (self.seed * 1_000_003 + step * self.world + self.rank) * 31 + len(stage)
        return torch.Generator().manual_seed(key % (1 << 62))


@dataclass(frozen=True)
class Plan:
    """How long and how fast a stage learns."""

    stage: str
    samples: int
    batch: int  # of one process
    learning_rate: float
    checkpoint_every: int  # samples
    warm_up: int = WARM_UP_STEPS


class TrainingBusyError(RuntimeError):
    """Another process writes the checkpoint that this one would write."""


@contextmanager
def claimed(checkpoint: Path) -> Iterator[None]:
    """Keeps other runs from writing this checkpoint.

    Raises:
        TrainingBusyError: When one does already.
    """
    with checkpoint.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingBusyError(
                f"Another run is training {checkpoint}; wait for it or stop it."
            ) from error
        yield


class State:
    """Weights, their running average and the optimisers' moments, kept in one safetensors file."""

    def __init__(
        self,
        module: torch.nn.Module,
        path: Path,
        *,
        has_muon: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Takes every parameter of the module.

        Args:
            module: What is trained.
            path: Its checkpoint.
            has_muon: Train matrices and convolutions by Muon (Jordan et al. 2024), the rest by AdamW. It asks
                for about 0.15 s a step on one core, shared by the processes, and so for batches that take
                longer than that.
            rank: The number of this process.
            world: How many train together.
        """
        self.module, self.path = module, path
        self.samples, self.step = 0, 0
        self.names = [name for name, _ in module.named_parameters()]
        self.parameters = list(module.parameters())
        self.ema = [p.detach().clone() for p in self.parameters]
        self._rank, self._world = rank, world
        self._momentum: dict[str, torch.Tensor] = {}  # of all processes, see `collect`
        # Muon takes matrices only: a convolution is one of (out, in x height x width), in the same memory
        self._matrices = {
            name: torch.nn.Parameter(p.data.view(len(p), -1))
            for name, p in zip(self.names, self.parameters, strict=True)
            if has_muon and p.ndim >= 2 and "embedding" not in name
        }
        others = [
            p for n, p in zip(self.names, self.parameters, strict=True) if n not in self._matrices
        ]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        ]
        self._owners = shared_out(self._matrices, world)
        own = [p for name, p in self._matrices.items() if self._owners[name] == rank]
        if own:
            self.optimizers.append(
                torch.optim.Muon(
                    own,
                    lr=0.0,
                    weight_decay=0.01,
                    adjust_lr_fn="match_rms_adamw",  # so that one learning rate fits both
                )
            )

    def update(self, learning_rate: float) -> None:
        """One step of the optimisers on the gradients that are there, the same in all processes."""
        for name, p in zip(self.names, self.parameters, strict=True):
            if name in self._matrices and p.grad is not None:
                self._matrices[name].grad = p.grad.view(len(p), -1)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        self._from_owners({name: matrix.data for name, matrix in self._matrices.items()})

    def _from_owners(self, tensors: dict[str, torch.Tensor]) -> None:
        """Overwrites each matrix's tensor by the one of the process that owns the matrix."""
        if self._world == 1:
            return
        for owner in range(self._world):
            owned = [t for name, t in tensors.items() if self._owners[name] == owner]
            flat = torch.cat([t.reshape(-1) for t in owned])
            dist.broadcast(flat, owner)
            for tensor, fresh in zip(owned, flat.split([t.numel() for t in owned]), strict=True):
                tensor.copy_(fresh.view_as(tensor))

    def collect(self) -> None:
        """Brings the moments that other processes keep to this one; all of them must call it before a `save`."""
        if self._world > 1 and self._matrices and self.step:
            moments = self._moments()
            self._momentum = {
                name: moments[name].get("momentum_buffer", torch.zeros_like(matrix))
                for name, matrix in self._matrices.items()
            }
            self._from_owners(self._momentum)

    def _moments(self) -> dict[str, dict[str, torch.Tensor]]:
        """This process's optimisers' state by parameter and key; nothing of a parameter never updated here."""
        known = {id(p): moments for o in self.optimizers for p, moments in o.state.items()}
        return {
            name: known.get(id(self._matrices.get(name, p)), {})
            for name, p in zip(self.names, self.parameters, strict=True)
        }

    def load(self) -> bool:
        """Takes up the checkpoint, if there is one; moments of another optimiser are left behind."""
        if not self.path.exists():
            return False
        with safe_open(self.path, "pt") as file, torch.no_grad():
            meta = json.loads(file.metadata()["state"])
            self.samples, self.step = meta["samples"], meta["step"]
            kept = set(file.keys())
            for name, p, ema in zip(self.names, self.parameters, self.ema, strict=True):
                p.copy_(file.get_tensor(f"model.{name}"))
                ema.copy_(file.get_tensor(f"ema.{name}"))
                matrix = self._matrices.get(name)
                keys = ("exp_avg", "exp_avg_sq") if matrix is None else ("momentum_buffer",)
                if not {f"{key}.{name}" for key in keys} <= kept:
                    continue
                moments = {key: file.get_tensor(f"{key}.{name}").to(p.device) for key in keys}
                if matrix is None:
                    moments["step"] = torch.tensor(float(self.step), device=p.device)
                if matrix is None:
                    self.optimizers[0].state[p] = moments
                elif self._owners[name] == self._rank:
                    self.optimizers[1].state[matrix] = moments
        return True

    def save(self) -> None:
        """Writes the checkpoint; a kill at any point leaves the old one or the new one."""
        tensors = {}
        moments = self._moments()
        for name, momentum in self._momentum.items():
            moments[name] = {"momentum_buffer": momentum}
        for name, p, ema in zip(self.names, self.parameters, self.ema, strict=True):
            tensors[f"model.{name}"], tensors[f"ema.{name}"] = p.detach().contiguous(), ema
            for key, value in moments[name].items():
                if key != "step":
                    tensors[f"{key}.{name}"] = value
        meta = {"state": json.dumps({"samples": self.samples, "step": self.step})}
        fresh = self.path.with_suffix(".new")
        save_file(tensors, fresh, meta)
        fresh.replace(self.path)

    @torch.no_grad()
    def average(self) -> None:
        """Moves the running average towards the weights."""
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def swap_average(self) -> None:
        """Exchanges the weights and their running average."""
        for p, ema in zip(self.parameters, self.ema, strict=True):
            weights = p.detach().clone()
            p.copy_(ema)
            ema.copy_(weights)


def shared_out(matrices: dict[str, torch.nn.Parameter], world: int) -> dict[str, int]:
    """Which process updates which matrix, so that all have about the same work.

    An orthogonalisation costs as much as the longer side times the square of the shorter.
    """
    costs = {name: max(m.shape) * min(m.shape) ** 2 for name, m in matrices.items()}
    loads = [0] * world
    owners = {}
    for name in sorted(costs, key=costs.__getitem__, reverse=True):
        owners[name] = loads.index(min(loads))
        loads[owners[name]] += costs[name]
    return owners


def learning_rate(plan: Plan, step: int, samples: int) -> float:
    """Linear warm-up, constant, and a linear fall to 2 % over the last of the planned samples.

    Unlike a cosine, the constant part does not depend on the plan's length: a run can be made longer or
    shorter on the way.
    """
    warm = min(1.0, (step + 1) / plan.warm_up)
    left = max(0.0, 1 - samples / plan.samples)
    return plan.learning_rate * warm * min(1.0, 0.02 + 0.98 * left / COOL_DOWN)


def average_gradients(parameters: list[torch.nn.Parameter], world: int) -> None:
    """Replaces each gradient by its mean over all processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.view(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def train(
    worker: Worker,
    plan: Plan,
    state: State,
    loss_of: Callable[[int, int], tuple[torch.Tensor, int]],
    on_checkpoint: Callable[[int], None] | None = None,
) -> None:
    """Trains until the planned number of samples was seen.

    Args:
        worker: This process.
        plan: Length and learning rate.
        state: What is trained; resumed from its file.
        loss_of: Takes (step, samples so far), gives the loss of a batch and the samples in it.
        on_checkpoint: Called in the first process with the averaged weights in place.
    """
    with claimed(state.path) if worker.rank == 0 else nullcontext():
        _train(worker, plan, state, loss_of, on_checkpoint)


def _train(
    worker: Worker,
    plan: Plan,
    state: State,
    loss_of: Callable[[int, int], tuple[torch.Tensor, int]],
    on_checkpoint: Callable[[int], None] | None,
) -> None:
    if state.load():
        worker.say(f"{plan.stage}: goes on at {state.samples:,} samples")
    if worker.world > 1:  # all start from the first one's weights
        for p in (*state.parameters, *state.ema):
            dist.broadcast(p.data, 0)
    last_save, started, losses = state.samples, time.monotonic(), []
    first = state.samples
    while state.samples < plan.samples:
        for p in state.parameters:
            p.grad = None
        loss, count = loss_of(state.step, state.samples)
        loss.backward()
        if worker.world > 1:
            average_gradients(state.parameters, worker.world)
        torch.nn.utils.clip_grad_norm_(state.parameters, 1.0)
        state.update(learning_rate(plan, state.step, state.samples))
        state.step += 1
        state.samples += count * worker.world
        state.average()
        losses.append(float(loss.detach()))
        if state.step % 100 == 0:
            speed = (state.samples - first) / (time.monotonic() - started)
            mean = sum(losses) / len(losses)
            losses.clear()
            worker.say(
                f"{plan.stage}: {state.samples:,} of {plan.samples:,}, loss {mean:.4f}, {speed:.0f}/s"
            )
        done = state.samples >= plan.samples
        if done or state.samples - last_save >= plan.checkpoint_every:
            last_save = state.samples
            state.collect()
            if worker.rank == 0:
                state.save()
                if on_checkpoint:
                    state.swap_average()
                    on_checkpoint(state.samples)
                    state.swap_average()
    if worker.world > 1:
        dist.barrier()
