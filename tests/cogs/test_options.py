"""Options of a command as a request, and back as a command line."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given, strategies as st

from cogs import _fitting, _options
from cogs._options import ASPECTS, Options
from engine.errors import InvalidRequestError
from engine.types import EngineInfo, Sampler, SecondPass

POCKET = EngineInfo(
    model="pocket",
    model_hash="0123456789",
    family="sd15",
    native_size=128,
    size_multiple=32,
    max_side=256,
    samplers=(Sampler.DDIM, Sampler.EULER, Sampler.DPMPP_2M),
    default_sampler=Sampler.EULER,
    default_steps=15,
    default_guidance_scale=3.0,
    max_rows=8,
    device="cpu",
    device_name="CPU",
    dtype="float32",
    memory_bytes=1,
)
SD15 = dataclasses.replace(
    POCKET, model="sd15", native_size=512, size_multiple=8, max_side=1024, default_steps=25
)


def test_defaults_are_the_models_own() -> None:
    own = dataclasses.replace(POCKET, default_negative_prompt="grey")
    assert _options.request_from(Options("a cat"), own).negative_prompt == "grey"
    request = _options.request_from(Options("a cat"), own, default_negative_prompt="")
    assert request.negative_prompt == ""
    request = _options.request_from(Options("a cat"), own, default_negative_prompt="blurry")
    assert (request.width, request.height) == (128, 128)
    assert (request.num_inference_steps, request.guidance_scale) == (15, 3.0)
    assert (request.sampler, request.model) == (Sampler.EULER, "pocket")
    assert (request.num_images, request.negative_prompt) == (1, "blurry")
    assert request.second_pass is None


@pytest.mark.parametrize(
    ("aspect", "size"),
    [("1:1", (512, 512)), ("16:9", (680, 384)), ("9:16", (384, 680)), ("21:9", (784, 336))],
)
def test_aspect_keeps_the_native_area(aspect: str, size: tuple[int, int]) -> None:
    assert _fitting.size_of(aspect, SD15) == size


@pytest.mark.parametrize("info", [POCKET, SD15])
@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("quality", ["draft", "standard", "hd"])
def test_every_aspect_and_quality_can_be_made(info: EngineInfo, aspect: str, quality: str) -> None:
    request = _options.request_from(Options("a cat", aspect=aspect, quality=quality), info)
    across, down = (int(part) for part in aspect.split(":"))
    assert (request.width > request.height) == (across > down)
    area = request.width * request.height / info.native_size**2
    assert 0.5 < area < 1.6


def test_quality_changes_steps_and_second_pass() -> None:
    draft = _options.request_from(Options("a", quality="draft"), POCKET)
    hd = _options.request_from(Options("a", quality="hd"), POCKET)
    assert (draft.num_inference_steps, draft.second_pass) == (8, None)
    assert (hd.num_inference_steps, hd.second_pass) == (23, SecondPass(1.5, 0.5))
    given_steps = _options.request_from(Options("a", quality="hd", steps=9), POCKET)
    assert given_steps.num_inference_steps == 9


def test_one_side_and_an_aspect_give_the_other_side() -> None:
    request = _options.request_from(Options("a", width=192, aspect="3:2"), POCKET)
    assert (request.width, request.height) == (192, 128)
    request = _options.request_from(Options("a", height=192, aspect="2:3"), POCKET)
    assert (request.width, request.height) == (128, 192)
    request = _options.request_from(Options("a", height=192), POCKET)
    assert (request.width, request.height) == (128, 192)


def test_size_that_the_second_pass_cannot_take_is_refused_with_its_limit() -> None:
    with pytest.raises(InvalidRequestError, match="32 to 160 in steps of 32"):
        _options.request_from(Options("a", width=256, quality="hd"), POCKET)

    with pytest.raises(InvalidRequestError, match=r"since quality:hd makes it 1\.5 times as large"):
        _options.request_from(Options("a", width=256, quality="hd"), POCKET)


@pytest.mark.parametrize(
    ("options", "most"),
    [({"width": 256, "aspect": "9:16"}, 128), ({"height": 224, "aspect": "3:2"}, 160)],
)
def test_side_that_leaves_no_room_for_the_aspect_is_refused(
    options: dict[str, object], most: int
) -> None:
    (side,) = options.keys() - {"aspect"}
    with pytest.raises(InvalidRequestError, match=f"Give a {side} of at most {most}, or another"):
        _options.request_from(Options("a", **options), POCKET)
    request = _options.request_from(Options("a", **{**options, side: most}), POCKET)
    assert max(request.width, request.height) <= POCKET.max_side


@pytest.mark.parametrize("prompt", ["", "  ", "\u200b\u200b", "\u3164", "\u2800 \u200d"])
def test_prompt_without_a_visible_character_is_empty(prompt: str) -> None:
    with pytest.raises(InvalidRequestError, match="The prompt is empty"):
        _options.request_from(Options(prompt), POCKET)


@pytest.mark.parametrize("name", ["DPM++ 2M", "dpmpp_2m", "dpm++-2m", " DPMPP 2M "])
def test_names_may_be_written_as_elsewhere(name: str) -> None:
    request = _options.request_from(Options("a", sampler=name), POCKET)
    assert request.sampler is Sampler.DPMPP_2M


def test_only_choice_is_named_as_such() -> None:
    with pytest.raises(InvalidRequestError, match=r'no model "x"\. The only one here is pocket\.'):
        _options.request_from(Options("a", model="x"), POCKET)


def test_half_a_character_cannot_reach_the_database() -> None:
    request = _options.request_from(Options("a \ud800cat"), POCKET)
    assert request.prompt == "a cat"


OPTION = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(["16:9", "hd", "euler", "pocket", "128", "NaN", "1e999", "٣"]),
)


@given(
    prompt=st.one_of(st.text(max_size=1600), OPTION),
    fields=st.dictionaries(
        st.sampled_from([f.name for f in dataclasses.fields(Options) if f.name != "prompt"]), OPTION
    ),
)
def test_any_options_are_a_request_or_one_sentence(
    prompt: object, fields: dict[str, object]
) -> None:
    refusal = None
    try:
        POCKET.check(_options.request_from(Options(prompt, **fields), POCKET))
    except InvalidRequestError as error:
        refusal = str(error)
    assert refusal is None or (10 < len(refusal) < 400 and "\n" not in refusal)


@given(
    prompt=st.text("abcdef ,.*", min_size=1, max_size=60).filter(lambda text: text.strip()),
    fields=st.fixed_dictionaries(
        {},
        optional={
            "aspect": st.sampled_from(ASPECTS),
            "negative": st.sampled_from(["none", "blue sky"]),
            "count": st.integers(1, 4),
            "seed": st.integers(0, 2**32 - 1),
            "steps": st.integers(1, 60),
            "guidance": st.floats(0, 20),
            "sampler": st.sampled_from(["ddim", "euler", "dpmpp_2m"]),
            "quality": st.sampled_from(["draft", "standard", "hd"]),
        },
    ),
)
def test_command_line_makes_the_same_request_again(prompt: str, fields: dict[str, object]) -> None:
    request = _options.request_from(
        Options(" ".join(prompt.split()), **fields), POCKET, default_negative_prompt="blurry"
    )
    line = _options.command_line(request)
    parts = dict(re.findall(r"(\w+):(.*?)(?= \w+:|$)", line.removeprefix("/imagine ")))
    again = _options.request_from(Options(**parts), POCKET, default_negative_prompt="other")
    assert again == request


def test_rerolled_request_differs_in_the_seed_only() -> None:
    request = _options.request_from(Options("a cat", seed=1), POCKET)
    again = _options.rerolled(request)
    assert again.seed != request.seed
    assert dataclasses.replace(again, seed=1) == request
