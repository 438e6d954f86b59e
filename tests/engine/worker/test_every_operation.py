"""Memory that runs out at any operation of torch, not only in a network's call; and none waits for the GPU."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from engine.types import Sampler, SecondPass
from engine.worker.models import Model
from tests.engine.worker import loras
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.test_equality import a_picture
from tests.engine.worker.test_inpaint import a_mask
from tests.engine.worker.test_memory import POSE

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
)

TRIES = 12  # operations that fail, of several thousand; a hundred others were tried by hand
JOBS = ("text", "pose", "lora", "mask", "second")


class Operations(TorchDispatchMode):
    """Counts this thread's operations and lets one of them find no memory."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.count = 0
        self._fails_at = fails_at

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        if self.count == self._fails_at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def model(tiny_sd15: Path) -> Model:
    """Returns a model of this module's own, which engines of the tests share."""
    return LocalEngine(tiny_sd15).model


@pytest.fixture(scope="module")
def style(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    every = loras.pairs(model.unet.unet, loras.LINEAR + loras.CONV, 4, seed=1)
    words = loras.pairs(model.text_encoder, loras.TEXT, 2, seed=3)
    return loras.kohya(tmp_path_factory.mktemp("style") / "a.safetensors", every, words)


def pictures_of(
    engine: LocalEngine, style: Path, fails_at: int | None = None
) -> tuple[dict[str, Any], int]:
    """Runs five jobs of different kinds, and returns their pictures and the number of operations."""
    with Operations(fails_at) as operations:
        one: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 1.0}
        engine.send("text", prompt="(cat:1.2)", sampler=Sampler.EULER_A, num_inference_steps=2)
        engine.send("pose", controls=POSE, **one)
        engine.send("lora", styles=[(style, 0.7)], **one)
        engine.send(
            "mask", a_picture(), mask=a_mask(), strength=0.7, **(one | {"num_inference_steps": 3})
        )
        engine.send("second", second_pass=SecondPass(1.5, 0.5), **one)
        engine.finish()
    for job in JOBS:
        assert engine.last(job).kind == "done", (fails_at, engine.last(job).fields)
    made = {job: [np.asarray(p, dtype=int) for p in engine.pictures(job)] for job in JOBS}
    return made, operations.count


@pytest.mark.parametrize("buckets", [(), (1, 2, 4, 8)])
@pytest.mark.parametrize("has_tables", [True, False])
def test_memory_that_runs_out_at_any_operation_changes_no_picture(
    tiny_sd15: Path, model: Model, style: Path, buckets: tuple[int, ...], has_tables: bool
) -> None:
    def an_engine() -> LocalEngine:
        options: dict[str, Any] = {"buckets": buckets, "has_tables": has_tables}
        return LocalEngine(tiny_sd15, model=model, preview_interval_s=1e-9, **options)

    whole, operations = pictures_of(an_engine(), style)
    for fails_at in Random(f"{buckets} {has_tables}").sample(range(1, operations), TRIES):
        made, _ = pictures_of(an_engine(), style, fails_at)
        for job in JOBS:
            for ours, theirs in zip(made[job], whole[job], strict=True):
                assert np.abs(ours - theirs).max() <= 1, (job, fails_at)


@pytest.mark.parametrize("part", ["inputs", "step"])
def test_step_without_memory_fails_the_youngest_job_alone(
    tiny_sd15: Path, model: Model, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Both tries fail as long as both jobs are there."""
    engine = LocalEngine(tiny_sd15, model=model)
    for name in ("first", "second"):
        engine.join(name, guidance_scale=1.0, num_inference_steps=3)
    name, together = {"inputs": ("stack", 2), "step": ("bmm", 2)}[part]
    work = getattr(torch, name)

    def crowded(values: Any, *others: Any, **options: Any) -> Any:
        is_step = name == "stack" or values.shape[1:] == (5, 7)
        if is_step and len(values) == together and len(engine.loop.jobs()) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return work(values, *others, **options)

    monkeypatch.setattr(torch, name, crowded)
    engine.finish()
    assert engine.last("first").kind == "done"
    assert engine.last("second").fields["error"] == "EngineOutOfMemoryError"


class Readings(TorchDispatchMode):
    """Notes where a number of what the networks have made is read, for which a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._made = WeakIdKeyDictionary()  # what comes of a network's output

    def mark(self, module: Any, args: Any, output: Any) -> None:
        for tensor in _tensors(output):
            self._made[tensor] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if any(tensor in self._made for tensor in _tensors([args, kwargs])):
            if func is torch.ops.aten._local_scalar_dense.default:
                self.found.append(str(func))
            for tensor in _tensors(output):
                self._made[tensor] = True
        return output


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return _tensors(list(value.values()))
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in _tensors(part)]
    return []


def test_no_step_and_no_decoding_reads_what_the_gpu_has_still_to_make(
    tiny_sd15: Path, model: Model, style: Path
) -> None:
    engine = LocalEngine(tiny_sd15, model=model, preview_interval_s=1e-9, buckets=(1, 2, 4, 8))
    for number, sampler in enumerate(Sampler):
        engine.join(f"s{number}", sampler=sampler, num_inference_steps=3)
    engine.join("pose", controls=POSE, styles=[(style, 0.7)], num_inference_steps=3)
    engine.join("mask", a_picture(), mask=a_mask(), strength=0.7)
    with Readings() as readings:
        for part in (engine.unet.unet, engine.model.vae.decoder):
            part.register_forward_hook(readings.mark)
        probe = torch.zeros(1)
        readings.mark(None, (), probe)
        assert float(probe + 1) == 1.0
        assert len(readings.found) == 1, "this test can fail"
        while engine.loop.has_work:
            engine.loop.tick()
    engine.finish()
    assert len(readings.found) == 1
    assert engine.last("s0").kind == engine.last("mask").kind == engine.last("pose").kind == "done"
