"""What is known of a model without torch, and before its engine is ready."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import model_card
from engine.errors import ModelLoadError
from engine.model_card import SD15_REPO, SDXL_REPO, provisional_info, read_card, resolve_source
from engine.pocket import MODEL_DIR
from engine.settings import EngineSettings
from engine.types import Sampler

UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
}
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
}
SDXL_INDEX: dict[str, Any] = {
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
}
REFINER_INDEX = SDXL_INDEX | {"text_encoder": [None, None]}
EDM_INDEX = SDXL_INDEX | {"scheduler": ["diffusers", "EDMDPMSolverMultistepScheduler"]}
VAE: dict[str, Any] = {"latent_channels": 4, "block_out_channels": [128, 256, 512, 512]}


def write_folder(
    folder: Path,
    unet: dict[str, Any] | None = None,
    easel: dict[str, Any] | None = None,
    index: dict[str, Any] | None = None,
) -> Path:
    """Writes the configuration files of a model, without weights."""
    for part in ("unet", "vae"):
        (folder / part).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(index or {}))
    (folder / "unet" / "config.json").write_text(json.dumps(UNET | (unet or {})))
    (folder / "vae" / "config.json").write_text(json.dumps(VAE))
    if easel is not None:
        (folder / "easel.json").write_text(json.dumps(easel))
    return folder


def write_checkpoint(path: Path, **shapes: list[int]) -> Path:
    """Writes a safetensors header with these tensors."""
    header: dict[str, Any] = {
        name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]}
        for name, shape in shapes.items()
    }
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def settings(model: Path | str, **changes: Any) -> EngineSettings:
    return EngineSettings(**({"model": str(model), "device": "cpu"} | changes))


def test_sd15_folder(tmp_path: Path) -> None:
    card = read_card(write_folder(tmp_path / "my-sd"))
    assert (card.name, card.family) == ("my-sd", "sd15")
    assert (card.native_size, card.size_multiple, card.max_side) == (512, 64, 1024)
    assert card.default_sampler is Sampler.DPMPP_2M_KARRAS


def test_sd2_folder(tmp_path: Path) -> None:
    unet = {"sample_size": 96, "cross_attention_dim": 1024, "use_linear_projection": True}
    card = read_card(write_folder(tmp_path / "sd2", unet))
    assert (card.family, card.native_size) == ("sd2", 768)


def test_sdxl_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "my-xl", SDXL_UNET, index=SDXL_INDEX)
    card = read_card(folder)
    assert (card.name, card.family, card.default_guidance_scale) == ("my-xl", "sdxl", 6.0)
    assert (card.native_size, card.size_multiple, card.max_side) == (1024, 32, 2048)


def test_small_model_takes_smaller_steps_of_size(tmp_path: Path) -> None:
    unet = {"sample_size": 16, "block_out_channels": [48, 96, 128]}
    card = read_card(write_folder(tmp_path / "small", unet))
    assert (card.native_size, card.size_multiple, card.max_side) == (128, 32, 512)


def test_easel_json_overrides(tmp_path: Path) -> None:
    easel = {
        "name": "pocket",
        "default_steps": 20,
        "default_guidance_scale": 4,
        "native_size": 256,
        "size_multiple": 32,
        "default_sampler": "ddim",
        "default_negative_prompt": "",
    }
    card = read_card(write_folder(tmp_path / "x", easel=easel))
    assert card.name == "pocket"
    assert card.default_guidance_scale == 4.0
    assert isinstance(card.default_guidance_scale, float)
    assert card.default_sampler is Sampler.DDIM
    assert card.default_negative_prompt == ""
    assert (card.native_size, card.size_multiple, card.max_side) == (256, 32, 512)


@pytest.mark.parametrize(
    ("easel", "reason"),
    [
        ({"steps": 20}, "unknown key 'steps'"),
        ({"default_steps": "many"}, "default_steps|invalid literal"),
        ({"default_steps": 0}, "default_steps is 0"),
        ({"default_sampler": "nope"}, "nope"),
    ],
)
def test_wrong_easel_json_is_refused(tmp_path: Path, easel: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        read_card(write_folder(tmp_path / "x", easel=easel))


@pytest.mark.parametrize(
    ("unet", "index", "reason"),
    [
        ({"in_channels": 9}, None, "inpainting"),
        (SDXL_UNET, REFINER_INDEX, "an SDXL refiner"),
        (SDXL_UNET, EDM_INDEX, "EDM noise schedule"),
        (None, SDXL_INDEX, "another model with two text encoders"),
        (SDXL_UNET | {"in_channels": 9}, SDXL_INDEX, "inpainting"),
    ],
)
def test_other_kinds_of_models_are_refused(
    tmp_path: Path, unet: dict[str, Any] | None, index: dict[str, Any] | None, reason: str
) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        read_card(write_folder(tmp_path / "x", unet, index=index))


def test_the_embedded_model_has_a_family_of_its_own() -> None:
    assert read_card(MODEL_DIR).family == "pocket"


def test_checkpoint_header_tells_the_family(tmp_path: Path) -> None:
    first = "model.diffusion_model.input_blocks.0.0.weight"
    card = read_card(write_checkpoint(tmp_path / "a.safetensors", **{first: [320, 4, 3, 3]}))
    assert (card.name, card.family, card.native_size) == ("a", "sd15", 512)
    sd2 = {first: [320, 4, 3, 3], "cond_stage_model.model.ln_final.bias": [1024]}
    assert read_card(write_checkpoint(tmp_path / "b.safetensors", **sd2)).family == "sd2"
    both = {f"conditioner.embedders.{number}.x": [1] for number in range(2)}
    xl = read_card(write_checkpoint(tmp_path / "c.safetensors", **{first: [320, 4, 3, 3]}, **both))
    assert (xl.family, xl.native_size, xl.size_multiple) == ("sdxl", 1024, 32)
    for name, shapes in {
        "inpainting": {first: [320, 9, 3, 3]},
        "refiner": {first: [384, 4, 3, 3], "conditioner.embedders.0.x": [1]},
        "EDM": {first: [320, 4, 3, 3], "edm_mean": [4], **both},
        "LoRA": {"lora_unet_down_blocks_0.lora_down.weight": [4, 320]},
    }.items():
        path = write_checkpoint(tmp_path / f"{name}.safetensors", **shapes)
        with pytest.raises(ModelLoadError, match=name):
            read_card(path)


@pytest.mark.parametrize("data", [b"", b"\xff" * 20, b"\x05" + b"\0" * 7 + b"[1,2]"])
def test_damaged_checkpoint_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelLoadError, match="damaged"):
        read_card(path)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("/nowhere/model", "no model at"),
        ("./here", "no model at"),
        ("some.safetensors", "no model at"),
        ("justaname", "no hub id"),
        ("a/b/c", "no hub id"),
        ("evil.ckpt", "can run code"),
    ],
)
def test_missing_models_are_refused(model: str, reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        provisional_info(settings(model))


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no model_index\.json"):
        provisional_info(settings(tmp_path))


def test_provisional_info_of_a_folder_and_a_hub_id(tmp_path: Path) -> None:
    info = provisional_info(settings(write_folder(tmp_path / "mine"), max_rows=6))
    assert (info.model, info.native_size, info.max_rows) == ("mine", 512, 6)
    assert (info.device, info.dtype) == ("cpu", "float32")
    assert info.samplers == tuple(Sampler)
    hub = provisional_info(settings("someone/dreams", dtype="float16"))
    assert (hub.model, hub.family, hub.dtype) == ("dreams", "sd15", "float16")
    xl = provisional_info(settings(SDXL_REPO))
    assert (xl.family, xl.native_size) == ("sdxl", 1024)
    assert xl.control_kinds == ("openpose", "canny", "depth")


def test_auto_is_sd15_only_on_a_cuda_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_card, "_NVIDIA_FILES", (tmp_path / "driver",))
    assert resolve_source(settings("auto", device="auto")) == "pocket"
    (tmp_path / "driver").touch()
    assert resolve_source(settings("auto", device="auto")) == SD15_REPO
    assert resolve_source(settings("auto", device="cpu")) == "pocket"
    info = provisional_info(settings("auto", device="auto"))
    assert (info.model, info.device, info.dtype) == ("stable-diffusion-v1-5", "cuda:0", "float16")


def test_reading_cards_imports_no_torch() -> None:
    code = "import sys, engine.model_card; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
