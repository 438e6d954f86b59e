"""What the engine's own description accepts and refuses of a request."""

from __future__ import annotations

import pytest

from engine.errors import InvalidRequestError
from engine.types import MAX_LCM_STEPS, AdapterWeight, Sampler, SecondPass
from tests.engine.scripted import info, request


@pytest.mark.parametrize("sampler", [Sampler.LCM, Sampler.TCD])
def test_distilled_samplers_take_no_more_steps_than_their_schedule_has(sampler: Sampler) -> None:
    info().check(request(sampler=sampler, num_inference_steps=MAX_LCM_STEPS))
    info().check(request(sampler=Sampler.EULER, num_inference_steps=60))
    for changes in ({}, {"second_pass": SecondPass(2.0, 0.5)}):
        asked = request(sampler=sampler, num_inference_steps=51, **changes)
        with pytest.raises(InvalidRequestError, match=f"{sampler} runs at most 50 steps, not 51"):
            info().check(asked)


def test_work_counts_unet_calls() -> None:
    second = SecondPass(2.0, 0.5)
    euler, heun, pndm = (
        request(sampler=sampler, num_inference_steps=10, second_pass=second)
        for sampler in (Sampler.EULER, Sampler.HEUN, Sampler.PNDM)
    )
    assert (euler.steps_to_run, heun.steps_to_run, pndm.steps_to_run) == (15, 28, 17)
    assert heun.work / euler.work == pytest.approx((19 + 4 * 9) / (10 + 4 * 5))


def test_the_model_reads_what_calls_the_styles_and_then_the_prompt() -> None:
    adapters = (
        AdapterWeight("a", 0.8, "neon style"),
        AdapterWeight("b", 1.0, "papercut"),
        AdapterWeight("c", -1.0, "blurry"),  # taken away, so it is not called
        AdapterWeight("d", 1.0),
    )
    asked = request(prompt="a Papercut cat", adapters=adapters)
    assert asked.full_prompt == "neon style, a Papercut cat"
    assert asked.prompt == "a Papercut cat"
    assert request(prompt="a cat").full_prompt == "a cat"
