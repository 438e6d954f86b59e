"""What the engine's own description accepts and refuses of a request."""

from __future__ import annotations

import pytest

from engine.errors import InvalidRequestError
from engine.types import MAX_LCM_STEPS, Sampler, SecondPass
from tests.engine.scripted import info, request


def test_lcm_takes_no_more_steps_than_its_schedule_has():
    info().check(request(sampler=Sampler.LCM, num_inference_steps=MAX_LCM_STEPS))
    info().check(request(sampler=Sampler.EULER, num_inference_steps=60))
    for changes in ({}, {"second_pass": SecondPass(2.0, 0.5)}):
        asked = request(sampler=Sampler.LCM, num_inference_steps=51, **changes)
        with pytest.raises(InvalidRequestError, match="lcm runs at most 50 steps, not 51"):
            info().check(asked)
