"""Samplers as tables do what diffusers' scheduler objects do, for every picture of a batch at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from engine.types import Sampler
from engine.worker import steps
from engine.worker.jobs import PictureRun
from engine.worker.samplers import make_scheduler, remaining_timesteps
from engine.worker.tables import Table, Tables
from tests.engine.worker.local import LocalEngine

# diffusers makes numpy arrays from tensors in a way that numpy 2 will stop supporting.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (1, 4, 3, 5)
CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
TABLES = {kind: Tables(CONFIG | {"prediction_type": kind}) for kind in ("epsilon", "v_prediction")}


def first_of(num_inference_steps: int, strength: float | None) -> int | None:
    if strength is None:
        return None
    return num_inference_steps - min(int(num_inference_steps * strength), num_inference_steps)


def a_run(sampler: Sampler, kind: str, count: int, first: int | None, *, by_table: bool) -> Any:
    """Returns a picture at its first step; both ways start from the same latents and generator."""
    table = TABLES[kind].find(sampler, count, first) if by_table else None
    scheduler = make_scheduler(sampler, CONFIG | {"prediction_type": kind}, count, first)
    generator = torch.Generator().manual_seed(3)
    run = PictureRun(
        job=None,  # type: ignore[arg-type]
        index=0,
        seed=3,
        size=(40, 24),
        generator=generator,
        scheduler=scheduler,
        timesteps=remaining_timesteps(scheduler, first),
        table=table,
    )
    noise = torch.randn(SHAPE, generator=generator)
    if first is None:
        run.latents = noise * scheduler.init_noise_sigma
    else:
        run.latents = run.add_noise(torch.randn(SHAPE, generator=generator), noise)
    return run


def distance(ours: Any, theirs: Any) -> float:
    """Returns the largest difference, in parts of the values' size where that is above 1."""
    return float((ours - theirs).abs().max() / max(1.0, float(theirs.abs().max())))


def assert_equal_runs(kind: str, count: int, strength: float | None, seed: int = 0) -> None:
    """Steps pictures of all samplers, in one batch by tables and beside it by their schedulers."""
    first = first_of(count, strength)
    samplers = [s for s in Sampler if not (s.is_distilled and count > 50)]
    ours = [a_run(sampler, kind, count, first, by_table=True) for sampler in samplers]
    theirs = [a_run(sampler, kind, count, first, by_table=False) for sampler in samplers]
    assert all(run.table is not None for run in ours)
    # In float32 diffusers' Heun loses 1e-5 by itself at two steps: it divides a small difference of
    # large latents by a small sigma.
    heun = theirs[samplers.index(Sampler.HEUN)]
    heun.latents = heun.latents.double()
    outputs = torch.Generator().manual_seed(seed)
    while batch := [k for k, run in enumerate(ours) if not run.is_denoised]:
        inputs = [
            steps.model_inputs([runs[k] for k in batch], torch.float32) for runs in (ours, theirs)
        ]
        given_outputs = [torch.randn(SHAPE, generator=outputs) for _ in batch]
        for runs in (ours, theirs):
            pictures = [runs[k] for k in batch]
            read = [
                output.to(run.latents.dtype)
                for run, output in zip(pictures, given_outputs, strict=True)
            ]
            steps.advance(pictures, dict(zip(pictures, read, strict=True)))
        for k in batch:
            name = f"{samplers[k]}, step {ours[k].step} of {len(ours[k].timesteps)}"
            assert distance(inputs[0][ours[k]], inputs[1][theirs[k]]) <= 1e-5, name
            assert distance(ours[k].latents, theirs[k].latents) <= 1e-5, name
            assert ours[k].step == theirs[k].step
    for sampler, a, b in zip(samplers, ours, theirs, strict=True):
        assert b.is_denoised, sampler
        assert torch.equal(a.generator.get_state(), b.generator.get_state()), (
            f"{sampler} draws the same noise"
        )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("count", "strength"),
    [(count, strength) for count in (1, 2, 3, 7, 20, 50) for strength in (None, 1.0)]
    + [(2, 0.5), (3, 0.4), (7, 0.2), (7, 0.75), (20, 0.05), (20, 0.6), (50, 0.3)],
)
def test_tables_equal_the_schedulers(kind: str, count: int, strength: float | None) -> None:
    assert_equal_runs(kind, count, strength)


@given(
    kind=st.sampled_from(["epsilon", "v_prediction"]),
    count=st.integers(1, 60),
    share=st.none() | st.floats(0.02, 1.0),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=8, deadline=None)
def test_tables_equal_the_schedulers_at_any_number_of_steps(
    kind: str, count: int, share: float | None, seed: int
) -> None:
    strength = None if share is None else max(share, 1.001 / count)
    assert_equal_runs(kind, count, strength, seed)


def test_a_pictures_bits_do_not_depend_on_its_neighbours() -> None:
    def runs() -> list[Any]:
        return [a_run(sampler, "epsilon", 6, None, by_table=True) for sampler in Sampler]

    together, alone = runs(), runs()
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        outputs = [torch.randn(SHAPE, generator=generator) for _ in together]
        steps.advance(together, dict(zip(together, outputs, strict=True)))
        for run, output in zip(alone, outputs, strict=True):
            steps.advance([run], {run: output})
    for sampler, a, b in zip(Sampler, together, alone, strict=True):
        assert torch.equal(a.latents, b.latents), sampler


def test_a_picture_alone_is_stepped_as_beside_others_by_several_threads_too() -> None:
    torch.set_num_threads(2)  # which split a product of one in another way than one of several
    try:
        test_a_pictures_bits_do_not_depend_on_its_neighbours()
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("sampler", Sampler)
@pytest.mark.parametrize("strength", [None, 0.6])
def test_noise_of_each_step_is_that_of_the_scheduler(
    sampler: Sampler, strength: float | None
) -> None:
    first = first_of(7, strength)
    ours, theirs = (a_run(sampler, "epsilon", 7, first, by_table=x) for x in (True, False))
    clean, noise = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5))
    while True:
        assert distance(ours.add_noise(clean, noise), theirs.add_noise(clean, noise)) <= 1e-6
        steps.model_inputs([ours, theirs], torch.float32)
        steps.advance([ours, theirs], {ours: noise, theirs: noise})
        if ours.is_denoised:
            break


@pytest.mark.parametrize(
    ("sampler", "option"),
    [(Sampler.UNIPC, "thresholding"), (Sampler.DEIS, "thresholding"), (Sampler.DDIM, None)],
)
def test_what_is_not_affine_keeps_its_scheduler(sampler: Sampler, option: str | None) -> None:
    tables = Tables(CONFIG if option is None else CONFIG | {option: True})
    assert (tables.find(sampler, 5, None) is None) == (option is not None)


def test_thresholding_model_is_stepped_by_its_schedulers_beside_the_others(tiny_sd15: Any) -> None:
    engine = LocalEngine(tiny_sd15)
    config = dict(engine.model.scheduler_config) | {"thresholding": True}
    object.__setattr__(engine.model, "scheduler_config", config)
    engine.loop._tables = Tables(config)
    for sampler in (Sampler.UNIPC, Sampler.DDIM):
        engine.join(sampler, sampler=sampler)
    engine.finish()
    ways = {
        sampler: engine.last(sampler).fields["receipt"]["pictures"][0]["stepped_by"]
        for sampler in (Sampler.UNIPC, Sampler.DDIM)
    }
    assert ways == {Sampler.UNIPC: "scheduler", Sampler.DDIM: "table"}


def test_a_step_is_probed_once_and_when_it_is_needed() -> None:
    tables = Tables(CONFIG)
    table = tables.find(Sampler.UNIPC, 20, None)
    assert isinstance(table, Table)
    assert tables.find(Sampler.UNIPC, 20, None) is table
    assert len(table._steps) == 1
    assert table.step(4) is table.step(4)
    assert len(table._steps) == 5


@pytest.mark.parametrize("sampler", Sampler)
def test_samplers_say_how_often_they_call_the_unet(sampler: Sampler) -> None:
    for count in (1, 2, 3, 9, 30):
        for left in range(1, count + 1):
            scheduler = make_scheduler(sampler, CONFIG, count, count - left)
            calls = len(remaining_timesteps(scheduler, count - left))
            assert sampler.unet_calls(left, count) == calls, (count, left)


@pytest.mark.parametrize("sampler", [Sampler.HEUN, Sampler.PNDM])
def test_progress_counts_unet_calls(tiny_sd15: Any, sampler: Sampler) -> None:
    engine = LocalEngine(tiny_sd15)
    engine.join("a", sampler=sampler, num_images=2, num_inference_steps=4)
    engine.finish()
    last = [frame.fields for frame in engine.frames if frame.kind == "progress"][-1]
    assert last["step"] == last["total"] == 2 * sampler.unet_calls(4, 4)
