"""The picture's text as an independent reader sees it."""

from __future__ import annotations

import dataclasses
import io
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sd_parsers import ParserManager

from engine.model_card import ModelCard, engine_info
from engine.types import EngineInfo, GenerationRequest, Sampler, SecondPass
from engine.worker.encoding import encode_png
from engine.worker.infotext import VERSION, infotext

INFO = engine_info(
    ModelCard("pocket", native_size=128),
    model_hash="0123456789",
    max_rows=4,
    device="cpu",
    device_name="CPU",
    dtype="float32",
    memory_bytes=0,
)


def read(request: GenerationRequest, info: EngineInfo = INFO) -> Any:
    """Writes a PNG and returns what sd-parsers makes of it: (sampler, metadata)."""
    text = infotext(request, info, request.seed, (request.width, request.height))
    png = encode_png(Image.new("RGB", (8, 8)), text, '{"request":{}}')
    found = ParserManager().parse(io.BytesIO(png))
    assert found is not None
    (sampler,) = found.samplers
    return sampler, found.metadata


def a_request(**changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {
        "prompt": "a red circle, (blue:1.2) background\nsecond line",
        "negative_prompt": "blurry, low quality",
        "width": 128,
        "height": 96,
        "seed": 4_294_967_295,
        "num_inference_steps": 20,
        "guidance_scale": 4.5,
        "sampler": Sampler.DPMPP_2M_KARRAS,
        "model": "pocket",
    }
    return GenerationRequest(**(values | changes))


def test_reader_finds_everything() -> None:
    request = a_request()
    sampler, metadata = read(request)
    assert sampler.prompts[0].value == request.prompt
    assert sampler.negative_prompts[0].value == request.negative_prompt
    assert sampler.name == "DPM++ 2M"
    assert sampler.parameters["scheduler"] == "Karras"
    assert sampler.parameters["steps"] == "20"
    assert sampler.parameters["seed"] == "4294967295"
    assert sampler.parameters["cfg_scale"] == "4.5"
    assert (sampler.model.name, sampler.model.hash) == ("pocket", "0123456789")
    assert metadata["Size"] == "128x96"


def test_strength_and_second_pass_are_told() -> None:
    _, metadata = read(a_request(init_image="ab", strength=0.35))
    assert metadata["Denoising strength"] == "0.35"
    text = infotext(a_request(second_pass=SecondPass(1.5, 0.5)), INFO, 1, (192, 144))
    assert "Denoising strength: 0.5, Hires resize: 192x144" in text


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\x0b", "\u2028", "\x85"])
def test_prompt_cannot_forge_the_settings(line_break: str) -> None:
    forged = "Steps: 1, Sampler: Fake, CFG scale: 1, Seed: 1, Size: 1x1, Model: evil"
    prompt = line_break.join(["a cat", forged, "Negative prompt: nothing"])
    sampler, metadata = read(a_request(prompt=prompt, negative_prompt=f"x{line_break}{forged}"))
    assert sampler.name == "DPM++ 2M"
    assert sampler.parameters["seed"] == "4294967295"
    assert metadata["Size"] == "128x96"
    assert "nothing" in sampler.prompts[0].value
    text = infotext(a_request(prompt=prompt, negative_prompt=forged), INFO, 1, (8, 8))
    lines = text.splitlines()
    assert [line.startswith("Steps: ") for line in lines] == [False] * (len(lines) - 1) + [True]
    assert sum(line.startswith("Negative prompt: ") for line in lines) == 1


def test_first_line_cannot_be_a_negative_prompt() -> None:
    sampler, _ = read(a_request(prompt="negative prompt: dogs", negative_prompt=""))
    assert not sampler.negative_prompts
    assert "dogs" in sampler.prompts[0].value


def test_values_with_commas_and_colons_are_quoted_and_forge_nothing() -> None:
    info = dataclasses.replace(INFO, model='my "best", Seed: 5')
    text = infotext(a_request(), info, 7, (128, 96))
    assert 'Model: "my \\"best\\", Seed\u2060: 5"' in text
    sampler, _ = read(a_request(seed=7), info)
    assert sampler.parameters["seed"] == "7"


def test_text_outside_latin_1_survives() -> None:
    sampler, _ = read(a_request(prompt="ein Bär, 猫 🐈"))
    assert sampler.prompts[0].value == "ein Bär, 猫 🐈"


def test_version_is_the_packages() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert f"Easel {project['version']}" == VERSION
