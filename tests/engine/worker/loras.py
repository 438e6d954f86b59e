"""Random LoRA files for the tiny models, in the layouts that people have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

LINEAR = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
CONV = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def pairs(
    model: torch.nn.Module, ends: tuple[str, ...], rank: int, *, seed: int = 0, size: float = 0.2
) -> dict[str, tuple[Any, Any]]:
    """Returns random (down, up) for each Linear or Conv whose name ends so."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d) or not name.endswith(ends):
            continue
        weight = module.weight
        down = torch.randn(rank, *weight.shape[1:], generator=generator) * size
        up = (
            torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2), generator=generator) * size
        )
        found[name] = (down, up)
    return found


def kohya(
    path: Path,
    unet: Mapping[str, Any],
    text: Mapping[str, Any],
    alpha: float = 2.0,
    *,
    text_2: Mapping[str, Any] | None = None,
) -> Path:
    """Writes kohya's layout: an alpha for each module. With `text_2` it is SDXL's."""
    tensors: dict[str, Any] = {}
    first = "lora_te_text_model" if text_2 is None else "lora_te1_text_model"
    for prefix, own in (("lora_unet", unet), (first, text), ("lora_te2", text_2 or {})):
        for name, (down, up) in own.items():
            stem = f"{prefix}_{name.replace('.', '_')}"
            tensors[f"{stem}.lora_down.weight"] = down.clone()
            tensors[f"{stem}.lora_up.weight"] = up.clone()
            tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)
    return path


def peft(
    path: Path,
    unet: Mapping[str, Any],
    text: Mapping[str, Any] | None = None,
    text_2: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the layout that diffusers saves today."""
    tensors: dict[str, Any] = {}
    parts = {"unet": unet, "text_encoder": text or {}, "text_encoder_2": text_2 or {}}
    for prefix, own in parts.items():
        for name, (down, up) in own.items():
            tensors[f"{prefix}.{name}.lora_A.weight"] = down.clone()
            tensors[f"{prefix}.{name}.lora_B.weight"] = up.clone()
    save_file(tensors, path)
    return path


def old_diffusers(path: Path, unet: Mapping[str, Any]) -> Path:
    """Writes the layout of attention processors; attention layers only."""
    tensors: dict[str, Any] = {}
    for name, (down, up) in unet.items():
        renamed = re.sub(r"(attn[12])\.(to_[qkv]|to_out)(\.0)?$", r"\1.processor.\2_lora", name)
        tensors[f"unet.{renamed}.down.weight"] = down.clone()
        tensors[f"unet.{renamed}.up.weight"] = up.clone()
    save_file(tensors, path)
    return path
