"""Writes a diffusers folder as a single checkpoint in the layout of the original Stable Diffusion."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def write_checkpoint(folder: Path, path: Path) -> Path:
    """Writes the model in `folder` as one .safetensors file and returns its path."""
    unet_config = json.loads((folder / "unet" / "config.json").read_text())
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    tensors: dict[str, Any] = {}
    for name, value in unet.items():
        renamed = unet_name(name, unet_config["layers_per_block"])
        tensors[f"model.diffusion_model.{renamed}"] = value
    for name, value in vae.items():
        is_attention = "mid_block.attentions" in name and "group_norm" not in name
        if is_attention and name.endswith("weight"):
            value = value[:, :, None, None]  # the original has 1x1 convolutions here
        tensors[f"first_stage_model.{vae_name(name)}"] = value.contiguous()
    for name, value in text.items():
        renamed = name if name.startswith("text_model.") else f"text_model.{name}"
        tensors[f"cond_stage_model.transformer.{renamed}"] = value
    save_file(tensors, path)
    return path


def unet_name(name: str, layers: int, with_attention: Collection[int] = ()) -> str:
    """Returns the original name of a U-Net tensor.

    `with_attention`: the up blocks before the last that have attention; their upsampler comes after it.
    """
    for ours, theirs in (
        ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("conv_in", "input_blocks.0.0"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
    ):
        if name.startswith(ours + "."):
            return theirs + name.removeprefix(ours)
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        kind, number, rest = match.groups()
        place = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{place}.{_resnet(rest) if kind == 'resnets' else rest}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", name)
    assert match is not None, name
    direction, block, kind, number, rest = match.groups()
    stem, first = ("input_blocks", 1) if direction == "down" else ("output_blocks", 0)
    place = first + int(block) * (layers + 1) + int(number)
    match kind:
        case "resnets":
            return f"{stem}.{place}.0.{_resnet(rest)}"
        case "attentions":
            return f"{stem}.{place}.1.{rest}"
        case "downsamplers":
            return f"{stem}.{place + layers}.0.op.{rest.removeprefix('conv.')}"
        case _:
            last = 2 if int(block) in with_attention else 1
            return f"{stem}.{place + layers}.{last}.{rest}"


def vae_name(name: str) -> str:
    """Returns the original name of a VAE tensor."""
    name = re.sub(r"encoder\.down_blocks\.(\d)", r"encoder.down.\1", name)
    name = re.sub(r"decoder\.up_blocks\.(\d)", lambda m: f"decoder.up.{3 - int(m[1])}", name)
    name = re.sub(r"(down|up)\.(\d)\.resnets\.(\d)", r"\1.\2.block.\3", name)
    name = re.sub(r"(downsample|upsample)rs\.0", r"\1", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1")
    for ours, theirs in (
        ("group_norm", "norm"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
        ("to_out.0", "proj_out"),
    ):
        name = re.sub(rf"(attn_1)\.{re.escape(ours)}\.", rf"\1.{theirs}.", name)
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def _resnet(rest: str) -> str:
    part, _, suffix = rest.partition(".")
    return f"{_RESNET[part]}.{suffix}"
