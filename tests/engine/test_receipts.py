"""Receipts as they travel: compact, complete, and refused when they are damaged."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from engine import protocol
from engine.errors import InvalidRequestError
from engine.receipts import (
    Call,
    CallLog,
    PictureReceipt,
    Receipt,
    machine_of,
    png_text,
    read_recipe,
)
from engine.types import AdapterWeight, Control, GenerationRequest, Sampler, SecondPass
from tests.engine.scripted import info

SPOTS = st.integers(1, 64).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))
CALLS = st.builds(
    lambda spot, tokens, controls, adapters: Call(*spot, tokens, controls, adapters),
    SPOTS,
    st.sampled_from([77, 154, 308]),
    st.dictionaries(st.sampled_from(["openpose", "canny"]), SPOTS, max_size=2),
    st.just(()) | SPOTS | st.tuples(st.sampled_from([8, 32])),
)


def a_request(**changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {
        "prompt": "a red cat, 猫",
        "width": 512,
        "height": 512,
        "seed": 7,
        "num_inference_steps": 25,
        "guidance_scale": 7.0,
        "sampler": Sampler.EULER_A,
        "model": "sd15",
    }
    return GenerationRequest(**(values | changes))


def a_log(*runs: tuple[int, Call]) -> CallLog:
    log = CallLog()
    for steps, call in runs:
        log.add(call, steps)
    return log


def a_receipt(*pictures: PictureReceipt) -> Receipt:
    return Receipt(
        "sd15", "0123456789", "89abcdef", pictures, {"canny": "aa"},
        {"torch": "2.13.0"}, "float32", "cpu", "CPU (2 threads)",
    )  # fmt: skip


@given(st.lists(CALLS, max_size=20))
@settings(deadline=None, max_examples=50)
def test_every_step_comes_back_as_it_was(calls: list[Call]) -> None:
    log = CallLog()
    for call in calls:
        log.add(call)
    again = CallLog.unpack(json.loads(json.dumps(log.packed())))
    assert list(again) == calls
    assert len(again) == len(calls)


def test_equal_steps_are_counted_together() -> None:
    log = a_log((1, Call(4, 2, 77)), (2, Call(4, 2, 77)), (1, Call(6, 3, 77, {"canny": (2, 1)})))
    log.add(Call(6, 3, 77, {"canny": (2, 1)}))
    log.add(Call(4, 2, 77, adapters=(2, 0)))
    assert log.packed() == [
        [3, 4, 2, 77],
        [2, 6, 3, 77, {"canny": (2, 1)}],
        [1, 4, 2, 77, {}, [2, 0]],
    ]


def test_receipt_travels_as_json() -> None:
    picture = PictureReceipt(
        7, a_log((25, Call(8, 4, 77))), a_log((25, Call(8, 0, 77))), [0, 64], "table"
    )
    receipt = a_receipt(picture, PictureReceipt(8))
    again = Receipt.unpack(json.loads(json.dumps(receipt.packed())))
    assert again.packed() == json.loads(json.dumps(receipt.packed()))
    assert list(again.pictures[0].calls) == [Call(8, 4, 77)] * 25
    assert dataclasses.replace(again, pictures=()) == dataclasses.replace(receipt, pictures=())


@pytest.mark.parametrize(
    "damage",
    [
        {"pictures": [{"seed": 1, "calls": [[0, 4, 2, 77]]}]},
        {"pictures": [{"seed": 1, "calls": [[2, 4, 4, 77]]}]},
        {"pictures": [{"seed": 1, "calls": [[2, 10**9, 4, 77]]}]},
        {"pictures": [{"seed": 1, "calls": [[10**9, 4, 2, 77]]}]},
        {"pictures": [{"seed": 1, "calls": [[2, 4, 2, 77, {"canny": [1, 1]}]]}]},
        {"pictures": [{"seed": 1, "calls": [[2, 4]]}]},
        {"pictures": [{"seed": "x"}]},
        {"pictures": 5},
        {"pictures": None},
        {"versions": "x"},
    ],
)
def test_damaged_receipt_is_refused_in_one_sentence(damage: dict[str, Any]) -> None:
    data = a_receipt(PictureReceipt(7)).packed() | damage
    with pytest.raises(InvalidRequestError, match="damaged"):
        Receipt.unpack(data)


def test_picture_file_tells_how_it_was_made_and_not_on_what_machine() -> None:
    request = a_request(
        num_images=2,
        controls=(Control("canny", "ab" * 32, 0.5, end=0.8),),
        adapters=(AdapterWeight("cd" * 32, 0.7, "flat paper"),),
        second_pass=SecondPass(1.5, 0.4),
    )
    second = PictureReceipt(8, a_log((25, Call(8, 5, 77))), a_log((25, Call(8, 1, 77))), [0])
    text = png_text(request, a_receipt(PictureReceipt(7), second), 1)
    assert text.isascii()
    for private in ("CPU", "2.13.0", "threads"):
        assert private not in text
    own, receipt = read_recipe(text)
    assert own == dataclasses.replace(request, seed=8, num_images=1)
    assert receipt.pictures[0].packed() == json.loads(json.dumps(second.packed()))
    assert (receipt.machine, receipt.controlnets) == ("89abcdef", {"canny": "aa"})


def test_export_of_the_history_is_read() -> None:
    request = a_request()
    receipt = a_receipt(PictureReceipt(7, a_log((25, Call(2, 1, 77)))))
    entry = {"id": "abc", "seeds": [7], **dataclasses.asdict(request), "receipt": receipt.packed()}
    own, again = read_recipe(json.dumps(entry))
    assert own == request
    assert again.packed() == receipt.packed()


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"receipt": {}}', "{", '"x"'])
def test_other_json_is_no_receipt(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="no receipt"):
        read_recipe(text)


def test_number_of_pictures_must_agree() -> None:
    data = {"request": protocol.pack(a_request(num_images=2)), "receipt": a_receipt().packed()}
    with pytest.raises(InvalidRequestError):
        read_recipe(json.dumps(data))


def test_machine_is_told_apart_by_what_changes_bits() -> None:
    one = info(device_name="CPU (2 threads)", versions={"torch": "1", "diffusers": "2"})
    same = info(device_name="CPU (2 threads)", versions={"diffusers": "2", "torch": "1"})
    assert machine_of(one) == machine_of(same)
    assert len(machine_of(one)) == 8
    for change in ({"device_name": "CPU (1 thread)"}, {"dtype": "float16"}, {"versions": {}}):
        assert machine_of(dataclasses.replace(one, **change)) != machine_of(one)


def test_receipt_of_a_busy_hour_is_small() -> None:
    """Somebody joins or leaves at every second step of a job of 50 with two rows."""
    calls = [Call(8 + n % 5, n % 7, 77) for n in range(25) for _ in range(2)]
    picture = PictureReceipt(7)
    for call in calls:
        picture.calls.add(call)
        picture.unconditional.add(call)
    assert len(png_text(a_request(), a_receipt(picture), 0)) < 1300
