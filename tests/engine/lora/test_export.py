"""A written LoRA loads in the stock pipeline and draws what the trained adapter draws."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("torch")
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from safetensors import safe_open
from safetensors.torch import load_file

from engine.lora.export import export_lora
from engine.lora.metadata import LoraCard, read_lora_info
from engine.pocket.parts import TINY, build_scheduler, build_text_encoder, build_unet, build_vae
from engine.pocket.tokenizer import build_tokenizer

CARD = LoraCard(
    title="Test",
    architecture="stable-diffusion-v1",
    base_version="sd_v1",
    resolution=(64, 64),
    prediction_type="v_prediction",
    trigger_phrase="test style",
    date=datetime(2026, 1, 1, tzinfo=UTC),
)
UNET_LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "time_emb_proj", "proj_in",
               "proj_out", "ff.net.0.proj", "ff.net.2", "conv_shortcut"]  # fmt: skip
TEXT_LAYERS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def make_pipe(tokenizer) -> StableDiffusionPipeline:
    """The same random tiny model at every call."""
    torch.manual_seed(3)
    pipe = StableDiffusionPipeline(
        build_vae(TINY), build_text_encoder(TINY, tokenizer), tokenizer, build_unet(TINY),
        build_scheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def add_adapter(module, layers: list[str], rank: int, alpha: float, **options) -> None:
    """An adapter with random weights, as if it had been trained."""
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers, **options)
    module.add_adapter(config, "trained")
    generator = torch.Generator().manual_seed(rank)
    for name, parameter in module.named_parameters():
        if "lora_" in name:
            # values that float16 holds exactly, so that only the layout is compared
            drawn = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.data = drawn.half().float()


def picture(pipe: StableDiffusionPipeline) -> np.ndarray:
    return pipe(
        "a red circle",
        num_inference_steps=2,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
    ).images


@pytest.mark.parametrize("with_text", [False, True])
def test_stock_loader_draws_what_was_trained(tokenizer, tmp_path: Path, with_text: bool) -> None:
    trained = make_pipe(tokenizer)
    plain = picture(trained)
    add_adapter(trained.unet, UNET_LAYERS, rank=4, alpha=2)
    without_text = picture(trained)
    if with_text:
        add_adapter(trained.text_encoder, TEXT_LAYERS, rank=4, alpha=2)
    wanted = picture(trained)
    assert np.abs(wanted - plain).max() > 0.01
    assert with_text == (np.abs(wanted - without_text).max() > 1e-4)
    path = tmp_path / "test.safetensors"
    text_encoder = trained.text_encoder if with_text else None
    export_lora(path, CARD, unet=trained.unet, text_encoder=text_encoder, adapter_name="trained")
    stock = make_pipe(tokenizer)
    stock.load_lora_weights(path)
    assert np.abs(picture(stock) - wanted).max() < 1e-5


def test_names_and_alphas_are_those_of_kohya(tokenizer, tmp_path: Path) -> None:
    pipe = make_pipe(tokenizer)
    add_adapter(pipe.unet, ["to_q", "conv1"], rank=4, alpha=2)
    add_adapter(pipe.text_encoder, ["q_proj", "out_proj"], rank=4, alpha=2)
    path = tmp_path / "test.safetensors"
    parts = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
    export_lora(path, CARD, **parts, adapter_name="trained")
    tensors = load_file(path)
    assert "lora_unet_mid_block_resnets_0_conv1.lora_down.weight" in tensors
    assert "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight" in tensors
    assert {name.split(".")[1] for name in tensors} == {"lora_down", "lora_up", "alpha"}
    assert {float(t) for name, t in tensors.items() if name.endswith(".alpha")} == {2.0}
    assert {t.dtype for name, t in tensors.items() if name.endswith(".weight")} == {torch.float16}
    info = read_lora_info(path)
    assert (info.rank, info.alpha, info.family) == (4, 2.0, "sd15")
    assert info.triggers == ("test style",)


def test_same_weights_give_the_same_bytes_and_their_hash(tokenizer, tmp_path: Path) -> None:
    pipe = make_pipe(tokenizer)
    add_adapter(pipe.unet, ["to_q"], rank=2, alpha=2)
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path in (first, second):
        export_lora(path, CARD, unet=pipe.unet, adapter_name="trained")
    data = first.read_bytes()
    assert data == second.read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    with safe_open(first, "pt") as file:
        metadata = file.metadata()
    assert metadata["modelspec.hash_sha256"] == f"0x{hashlib.sha256(body).hexdigest()}"
    assert sorted(tmp_path.iterdir()) == [first, second]  # no half-written file is left


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        (["to_q"], {"use_rslora": True}, "use_rslora"),
        (["to_q"], {"alpha_pattern": {"attn1.to_q": 7}}, "alpha_pattern"),
    ],
)
def test_adapters_that_the_file_cannot_hold_are_refused(
    tokenizer, tmp_path: Path, layers: list[str], options: dict, message: str
) -> None:
    pipe = make_pipe(tokenizer)
    add_adapter(pipe.unet, layers, rank=2, alpha=2, **options)
    with pytest.raises(ValueError, match=message):
        export_lora(tmp_path / "x.safetensors", CARD, unet=pipe.unet, adapter_name="trained")
    assert not list(tmp_path.iterdir())


def test_diverged_or_missing_adapters_are_refused(tokenizer, tmp_path: Path) -> None:
    pipe = make_pipe(tokenizer)
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match="no adapter 'trained'"):
        export_lora(path, CARD, unet=pipe.unet, adapter_name="trained")
    add_adapter(pipe.unet, ["to_q"], rank=2, alpha=2)
    next(p for n, p in pipe.unet.named_parameters() if "lora_A" in n).data[0, 0] = 1e6
    with pytest.raises(ValueError, match="not finite"):
        export_lora(path, CARD, unet=pipe.unet, adapter_name="trained")
    add_adapter(pipe.text_encoder, ["q_proj"], rank=2, alpha=2)
    with pytest.raises(ValueError, match="out_proj"):
        export_lora(path, CARD, text_encoder=pipe.text_encoder, adapter_name="trained")
    assert not path.exists()
