"""Whose limit counts, and what one picture or command may be."""

from __future__ import annotations

import itertools

import pytest

from engine.errors import OverLimitError
from engine.limits import EVERYWHERE, Kind, Rule, Target, check, limits_of
from engine.types import (
    Bound,
    Destination,
    GenerationRequest,
    Limits,
    Sampler,
    SecondPass,
    ServerLimits,
    Submission,
    Upscaler,
    Whose,
)

CONFIGURED = Limits(waiting=4, queue=500, daily=50.0, per_minute=10)
SERVER, OTHER, ANN, BEN = 20, 21, 1, 2
GOLD, SILVER = 100, 101
HERE = Target(SERVER)
FOR_GOLD = Target(SERVER, Kind.ROLE, GOLD)
FOR_SILVER = Target(SERVER, Kind.ROLE, SILVER)
FOR_ANN = Target(SERVER, Kind.PERSON, ANN)
ALL = Target(EVERYWHERE)
ANN_EVERYWHERE = Target(EVERYWHERE, Kind.PERSON, ANN)


def submission(pictures: int = 0, **changes: object) -> Submission:
    fields: dict[str, object] = {
        "prompt": "a cat",
        "width": 512,
        "height": 512,
        "seed": 1,
        "num_inference_steps": 20,
        "guidance_scale": 7.0,
        "sampler": Sampler.EULER,
        "model": "m",
    }
    request = GenerationRequest(**(fields | changes))  # type: ignore[arg-type]
    return Submission("x", ANN, "Ann", Destination(1, SERVER), request, batch_pictures=pictures)


def test_without_rules_the_settings_hold_everywhere() -> None:
    assert limits_of({}, CONFIGURED, ANN) == CONFIGURED
    here = limits_of({}, CONFIGURED, ANN, SERVER, [GOLD])
    assert here.here == ServerLimits(SERVER)
    assert (here.waiting, here.per_minute, here.daily) == (4, 10, 50.0)


def test_person_beats_roles_and_these_beat_the_server_and_the_most_generous_role_counts() -> None:
    rules = {
        HERE: Rule(steps=10),
        FOR_GOLD: Rule(steps=40),
        FOR_SILVER: Rule(steps=20),
        FOR_ANN: Rule(steps=15),
    }

    def steps(person: int, *roles: int) -> Bound | None:
        return limits_of(rules, CONFIGURED, person, SERVER, roles).steps

    assert steps(BEN) == Bound(10, Whose.SERVER)
    assert steps(BEN, SILVER) == Bound(20, Whose.ROLE)
    assert steps(BEN, SILVER, GOLD) == steps(BEN, GOLD, SILVER) == Bound(40, Whose.ROLE)
    assert steps(ANN, SILVER, GOLD) == Bound(15, Whose.PERSON)  # also where it is the strictest
    assert limits_of(rules, CONFIGURED, ANN, OTHER, [GOLD]).steps is None
    assert limits_of(rules, CONFIGURED, ANN).steps is None


def test_each_limit_goes_by_itself() -> None:
    rules = {
        HERE: Rule(steps=10, side=512, per_minute=3),
        FOR_GOLD: Rule(side=768),
        FOR_ANN: Rule(per_minute=1),
    }
    limits = limits_of(rules, CONFIGURED, ANN, SERVER, [GOLD])
    assert limits.steps == Bound(10, Whose.SERVER)
    assert limits.side == Bound(768, Whose.ROLE)
    assert limits.here == ServerLimits(SERVER, per_minute=Bound(1, Whose.PERSON))


def test_nothing_in_a_server_is_above_what_the_owners_allow() -> None:
    """Every mixture of rules: the sum is never above the owners', nor stricter than it should be."""
    choices = (None, 2, 5, 9)
    for everybody, gold, person, all_, ann in itertools.product(choices, repeat=5):
        rules = {
            HERE: Rule(count=everybody, waiting=everybody),
            FOR_GOLD: Rule(count=gold, waiting=gold),
            FOR_ANN: Rule(count=person, waiting=person),
            ALL: Rule(count=all_, waiting=all_),
            ANN_EVERYWHERE: Rule(count=ann, waiting=ann),
        }
        limits = limits_of(rules, CONFIGURED, ANN, SERVER, [GOLD])
        here = next((value for value in (person, gold, everybody) if value is not None), None)
        owners = next((value for value in (ann, all_) if value is not None), None)
        given = [value for value in (here, owners) if value is not None]
        assert (limits.count.value if limits.count else None) == min(given, default=None)
        assert limits.waiting == (4 if owners is None else owners)
        assert limits.here is not None
        waiting = limits.here.waiting.value if limits.here.waiting else limits.waiting
        assert waiting == min(limits.waiting, here or limits.waiting)


def test_the_owners_rule_for_a_person_beats_theirs_for_everybody_and_the_settings() -> None:
    rules = {ALL: Rule(daily=10.0, steps=30), ANN_EVERYWHERE: Rule(daily=0.0, per_minute=60)}
    ann, ben = limits_of(rules, CONFIGURED, ANN), limits_of(rules, CONFIGURED, BEN)
    assert (ann.daily, ann.per_minute, ann.steps) == (0.0, 60, Bound(30, Whose.OWNERS))
    assert (ben.daily, ben.per_minute) == (10.0, 10)
    rules[ANN_EVERYWHERE] = Rule(steps=50)
    assert limits_of(rules, CONFIGURED, ANN).steps == Bound(50, Whose.OWNERS_PERSON)


def test_a_server_limits_the_minute_also_where_the_owners_do_not() -> None:
    rules = {ALL: Rule(per_minute=0), HERE: Rule(per_minute=5)}
    limits = limits_of(rules, CONFIGURED, ANN, SERVER)
    assert limits.per_minute == 0
    assert limits.here == ServerLimits(SERVER, per_minute=Bound(5, Whose.SERVER))


@pytest.mark.parametrize(
    ("changes", "pictures", "limits", "words"),
    [
        ({"num_inference_steps": 31}, 0, {"steps": 30}, "31 steps and at most 30"),
        ({"second_pass": SecondPass()}, 0, {"steps": 29}, "30 steps and at most 29"),
        ({"height": 576}, 0, {"side": 512}, "576 pixels on its longest side and at most 512"),
        ({"second_pass": SecondPass()}, 0, {"side": 767}, "768 pixels"),
        ({"width": 576, "second_pass": SecondPass()}, 0, {"side": 895}, "896 pixels"),
        ({"num_images": 3}, 0, {"count": 2}, "3 pictures and at most 2"),
        ({"num_images": 1}, 4, {"count": 3}, "4 pictures and at most 3"),
        (
            {
                "width": 1024,
                "init_image": "a",
                "strength": 0.0,
                "upscaler": Upscaler.LANCZOS,
            },
            0,
            {"side": 1000},
            "1024 pixels",
        ),
    ],
)
def test_more_than_allowed_is_refused_in_a_sentence_that_names_limit_and_setter(
    changes: dict[str, object], pictures: int, limits: dict[str, int], words: str
) -> None:
    (name, value) = next(iter(limits.items()))
    asked = submission(pictures, **changes)
    for whose, phrase in ((Whose.ROLE, "set for your roles in"), (Whose.OWNERS, "the owners")):
        strict = Limits(1, 1, **{name: Bound(value, whose)})  # type: ignore[arg-type]
        with pytest.raises(OverLimitError) as caught:
            check(asked, strict, 64)
        assert words in str(caught.value)
        assert phrase in str(caught.value)
        assert ": choose " in str(caught.value) or ": ask for " in str(caught.value)
    check(asked, Limits(1, 1, **{name: Bound(9000, Whose.ROLE)}), 64)  # type: ignore[arg-type]


def test_an_upscaled_picture_takes_no_steps() -> None:
    asked = submission(init_image="a", strength=0.0, upscaler=Upscaler.LANCZOS)
    check(asked, Limits(1, 1, steps=Bound(1, Whose.SERVER)), 64)
