"""What the benchmark runs on: a model folder, a ControlNet, LoRA files and pictures, all seeded.

Speed does not depend on what weights mean, so all but the pocket model's are random; nothing is
downloaded. The tokenizer is always the pocket model's.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from PIL import Image
from safetensors.torch import save_file
from transformers.models.clip import CLIPTextConfig, CLIPTextModel

from engine.pocket import MODEL_DIR

CONTROL = "openpose"
_PICTURES = 6
# Layers that kohya's trainer adds a LoRA to, in the U-Net and in the text encoder.
_UNET_LAYERS = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "ff.net.0.proj",
    "ff.net.2",
    "proj_in",
    "proj_out",
)
_TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
_LORA_SHARE = 0.2  # of a LoRA's weights beside those that it is added to
_CONTRAST = 0.5  # standard deviation of a random decoder's pixels on [-1, 1]


@dataclass(frozen=True, slots=True)
class Size:
    """One size of model.

    Attributes:
        unet: Its configuration; empty for the pocket model, which is there already.
        vae: The same of the autoencoder.
        text: The same of the text encoder.
        native: Pixels a side.
        lora_rank: Of the LoRA files.
        step_share: The trace's steps times this, so that a run on a CPU takes minutes.
        words: What it is, for the report.
        loras: How many LoRA files there are.
    """

    name: str
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text: Mapping[str, Any]
    native: int
    lora_rank: int
    step_share: float
    words: str
    loras: int = 8


_SD15_BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 2,
}
SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        Size(
            "tiny",
            # Every layer of an SD 1.5, each as narrow as may be: what a call costs is its layers.
            {**_SD15_BLOCKS, "block_out_channels": (16, 16, 32, 32), "norm_num_groups": 4,
             "attention_head_dim": 2, "cross_attention_dim": 16, "sample_size": 8},
            {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4,
             "sample_size": 64},
            {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2},
            native=64, lora_rank=4, step_share=0.5,
            words="random, every layer of an SD 1.5 but narrow, 8x8 latents",
        ),
        Size("pocket", {}, {}, {}, native=128, lora_rank=8, step_share=0.5,
             words="the embedded pocket model, 16x16 latents"),
        Size(
            "full",
            {**_SD15_BLOCKS, "block_out_channels": (320, 640, 1280, 1280), "norm_num_groups": 32,
             "attention_head_dim": 8, "cross_attention_dim": 768, "sample_size": 64},
            {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
             "norm_num_groups": 32, "sample_size": 512},
            {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
             "num_attention_heads": 12},
            native=512, lora_rank=16, step_share=1.0,
            words="random, SD 1.5 at full size, 64x64 latents",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Studio:
    """Everything on disk that jobs refer to.

    Attributes:
        model: The model's folder.
        controlnets: A folder with one folder for each kind.
        loras: LoRA files by sha256.
        pictures: Pictures to start from, and control maps, as PNG bytes by sha256.
    """

    size: Size
    model: Path
    controlnets: Path
    loras: Mapping[str, Path]
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    def picture(self, sha256: str) -> Image.Image:
        """Returns one of the pictures, RGB."""
        return Image.open(io.BytesIO(self.pictures[sha256])).convert("RGB")


def write_studio(folder: Path, size: Size, device: Any, dtype: Any) -> Studio:
    """Writes all files of one size below `folder`; `device` only makes the numbers faster."""
    torch.manual_seed(0)
    model = MODEL_DIR if not size.unet else _write_model(folder / "model", size, device, dtype)
    unet = UNet2DConditionModel.from_pretrained(model / "unet", dtype=dtype).to(device)
    text = CLIPTextModel.from_pretrained(model / "text_encoder", dtype=dtype).to(device)
    controlnets = folder / "controlnets"
    _write_controlnet(controlnets / CONTROL, unet, size)
    loras = [
        _write_lora(folder / f"lora-{number}.safetensors", unet, text if number % 2 else None, size)
        for number in range(size.loras)
    ]
    files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in loras}
    pictures = [_png(_picture(number, size.native)) for number in range(_PICTURES)]
    named = {hashlib.sha256(data).hexdigest(): data for data in pictures}
    return Studio(size, model, controlnets, files, named)


def _write_model(folder: Path, size: Size, device: Any, dtype: Any) -> Path:
    blocks = len(size.vae["block_out_channels"])
    with torch.device(device):
        unet = UNet2DConditionModel(**size.unet)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            latent_channels=4,
            **size.vae,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=1026, max_position_embeddings=77, bos_token_id=1024, eos_token_id=1025,
                pad_token_id=1025, **size.text,
            )
        )  # fmt: skip
        # An untrained decoder gives nearly one flat colour, which the engine takes for a failure.
        side = min(size.native // 8, 16)
        pixels = vae.decode(torch.randn(1, 4, side, side) * 5, return_dict=False)[0]
        vae.decoder.conv_out.weight.data *= _CONTRAST / pixels.std()
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True,
        set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    for name, part in (("unet", unet), ("vae", vae), ("text_encoder", text_encoder)):
        part.to(dtype=dtype, device="cpu").save_pretrained(folder / name)
    scheduler.save_pretrained(folder / "scheduler")
    shutil.copytree(MODEL_DIR / "tokenizer", folder / "tokenizer")
    index = json.loads((MODEL_DIR / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", type(scheduler).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _write_controlnet(folder: Path, unet: Any, size: Size) -> None:
    channels = (16, 32, 96, 256) if size.native >= 512 else (4, 8, 8, 8)
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=channels)
    for name, parameter in net.named_parameters():
        if name.startswith(("controlnet_down", "controlnet_mid")):  # zeros in an untrained one
            parameter.data.normal_(std=0.1 / parameter[0].numel() ** 0.5)
    net.to("cpu", unet.dtype).save_pretrained(folder)


def _write_lora(path: Path, unet: Any, text: Any, size: Size) -> Path:
    """Writes random LoRA weights in kohya's layout, for the text encoder too when it is given."""
    parts: list[tuple[str, Any, tuple[str, ...]]] = [("lora_unet", unet, _UNET_LAYERS)]
    if text is not None:
        parts.append(("lora_te_text_model", text, _TEXT_LAYERS))
    rank = size.lora_rank
    tensors: dict[str, Any] = {}
    for prefix, model, layers in parts:
        for name, module in model.named_modules():
            is_layer = isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
            if not is_layer or not name.endswith(layers):
                continue
            weight = module.weight
            down = torch.randn(rank, *weight.shape[1:]) / weight[0].numel() ** 0.5
            up = torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2))
            up *= _LORA_SHARE * weight.float().std().item() / rank**0.5 * weight[0].numel() ** 0.5
            stem = f"{prefix}_{name.removeprefix('text_model.').replace('.', '_')}"
            tensors[f"{stem}.lora_down.weight"] = down.to(weight.dtype)
            tensors[f"{stem}.lora_up.weight"] = up.to(weight.dtype)
            tensors[f"{stem}.alpha"] = torch.tensor(float(rank))
    save_file(tensors, path)
    return path


def _picture(number: int, side: int) -> Image.Image:
    """Returns a colourful gradient with a square somewhere."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    values = np.stack([x, y, 1 - x * y], axis=-1)
    values = np.roll(values, number, axis=-1)
    first = side // 8 * (number % 4)
    values[first : first + side // 4, side // 4 : side // 2] = (1, 1, 0)
    return Image.fromarray((values * 255).astype("uint8"))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
