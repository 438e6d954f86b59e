"""What a person left out keeps to their limits, so that it is never refused; what they gave is as given."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from cogs import _fitting, _options
from cogs._options import ASPECTS, HD, Options
from engine import limits as rules
from engine.types import Bound, EngineInfo, Limits, Submission, Whose
from tests.cogs.test_options import POCKET, SD15
from tests.storage.samples import a_submission


def limited(**bounds: int) -> Limits:
    found = {name: Bound(value, Whose.SERVER) for name, value in bounds.items()}
    return dataclasses.replace(Limits(waiting=3, queue=9), **found)


def check(request: _options.GenerationRequest, info: EngineInfo, limits: Limits) -> None:
    """What the queue does."""
    submission: Submission = dataclasses.replace(a_submission(), request=request)
    rules.check(submission, limits, info.size_multiple)
    info.check(request)


@pytest.mark.parametrize("info", [POCKET, SD15])
@pytest.mark.parametrize("quality", [None, "draft", "standard", "hd"])
def test_whatever_is_left_out_is_never_over_a_limit(info: EngineInfo, quality: str | None) -> None:
    sides, steps = (64, 100, 127, 128, 200, 256, 500, 512, 700, 5000), (1, 2, 9, 20, 90)
    for side, most, aspect in itertools.product(sides, steps, (None, *ASPECTS)):
        limits = limited(side=side, steps=most)
        options = Options("a cat", quality=quality, aspect=aspect)
        request = _options.request_from(options, info, limits=limits)
        check(request, info, limits)
        assert (request.second_pass == HD) is (quality == "hd")
        if aspect == "16:9" and side >= 256:
            assert request.width > request.height


def test_it_is_as_large_and_as_long_as_it_may_be() -> None:
    request = _options.request_from(Options("a cat"), SD15, limits=limited(side=400, steps=20))
    assert (request.width, request.height, request.num_inference_steps) == (400, 400, 20)
    request = _options.request_from(Options("a cat"), SD15, limits=limited(side=1024, steps=60))
    assert (request.width, request.height, request.num_inference_steps) == (512, 512, 25)
    wide = Options("a cat", aspect="16:9")
    request = _options.request_from(wide, SD15, limits=limited(side=512))
    assert (request.width, request.height) == (512, 288)
    tall = Options("a cat", height=640)  # only the other side was left out
    request = _options.request_from(tall, SD15, limits=limited(side=500))
    assert (request.width, request.height) == (496, 640)
    given = Options("a cat", width=640, height=640, steps=40)
    request = _options.request_from(given, SD15, limits=limited(side=512, steps=20))
    assert (request.width, request.height, request.num_inference_steps) == (640, 640, 40)


def test_hd_as_a_default_gives_way_and_hd_that_was_asked_for_is_made_smaller() -> None:
    limits = limited(side=512, steps=20)
    default = Options("a cat", quality="hd", lowers_quality=True)
    request = _options.request_from(default, SD15, limits=limits)
    assert (request.second_pass, request.width, request.num_inference_steps) == (None, 512, 20)
    asked = dataclasses.replace(default, lowers_quality=False)
    request = _options.request_from(asked, SD15, limits=limits)
    assert (request.second_pass, request.width, request.num_inference_steps) == (HD, 336, 13)
    roomy = limited(side=768, steps=60)
    request = _options.request_from(default, SD15, limits=roomy)
    assert (request.second_pass, request.width) == (HD, 512)


@pytest.mark.parametrize("quality", ["standard", "hd"])
@pytest.mark.parametrize("size", [(512, 512), (1024, 512), (208, 904)])
def test_what_was_made_before_keeps_its_shape(quality: str, size: tuple[int, int]) -> None:
    width, height = size
    info = dataclasses.replace(SD15, max_side=2048)
    options = Options("a cat", width=width, height=height, quality=quality, steps=40, count=4)
    made = _options.request_from(options, info)
    assert _fitting.fitted(made, info, None) is made
    assert _fitting.fitted(made, info, limited(side=2048, steps=90, count=4)) == made
    for side, steps in itertools.product((64, 300, 480), (1, 20)):
        limits = limited(side=side, steps=steps, count=2)
        for keeps_quality in (False, True):
            request = _fitting.fitted(made, info, limits, keeps_quality=keeps_quality)
            check(request, info, limits)
            assert (request.second_pass is not None) is (keeps_quality and quality == "hd")
            if side > 64:
                shape = request.width / request.height
                assert shape == pytest.approx(width / height, rel=0.15)


def test_counts() -> None:
    assert _fitting.count_within(4, None) == 4
    assert _fitting.count_within(4, limited(count=3)) == 3
    assert _fitting.count_within(2, limited(count=3)) == 2
    assert _fitting.count_within(4, limited(count=3), times=2) == 1
    assert _fitting.count_within(4, limited(count=3), times=9) == 1
