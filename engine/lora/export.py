"""Writes what peft trained as one .safetensors file in kohya's layout, which diffusers, A1111 and ComfyUI read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_kohya
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save

from engine.lora.metadata import LoraCard, build_metadata

Tensors = dict[str, torch.Tensor]


def export_lora(
    path: Path,
    card: LoraCard,
    *,
    unet: torch.nn.Module | None = None,
    text_encoder: torch.nn.Module | None = None,
    adapter_name: str = "default",
    dtype: torch.dtype = torch.float16,
) -> None:
    """Writes an adapter of a U-Net, a text encoder or both; the same weights and card give the same bytes.

    Args:
        path: Where the file goes; an older one is replaced only by a complete new one.
        card: What the file says about itself.
        unet: A diffusers U-Net with the adapter, or None.
        text_encoder: A `CLIPTextModel` with the adapter, or None. For models with one text encoder.
        adapter_name: The adapter's name in both.
        dtype: Of the written weights.

    Raises:
        ValueError: There is no such adapter, it is of a kind that a LoRA file cannot hold, or it is not
            finite in `dtype`.
    """
    parts = {"unet": unet, "text_encoder": text_encoder}
    models = {name: model for name, model in parts.items() if model is not None}
    scales = {_scale_of(model, adapter_name) for model in models.values()}
    if len(scales) != 1:
        raise ValueError(f"A LoRA file needs one rank and one alpha for all parts, not {scales}.")
    rank, alpha = scales.pop()
    tensors: Tensors = {}
    for prefix, model in models.items():
        tensors |= _kohya_tensors(model, prefix, adapter_name, alpha, dtype)
    data = save(dict(sorted(tensors.items())))
    header_bytes = 8 + int.from_bytes(data[:8], "little")
    metadata = build_metadata(
        card,
        rank=rank,
        alpha=alpha,
        data_sha256=hashlib.sha256(data[header_bytes:]).hexdigest(),
        conv=any(t.ndim == 4 and t.shape[-1] > 1 for t in tensors.values()),
    )
    _replace(path, _with_metadata(data, metadata))


def _scale_of(model: torch.nn.Module, adapter_name: str) -> tuple[int, float]:
    """Rank and alpha of an adapter, the same in every layer."""
    configs: Mapping[str, Any] = getattr(model, "peft_config", {})
    if adapter_name not in configs:
        raise ValueError(f"There is no adapter {adapter_name!r}, only {sorted(configs)}.")
    config = configs[adapter_name]
    for option in ("rank_pattern", "alpha_pattern", "use_dora", "use_rslora", "lora_bias"):
        if getattr(config, option, None):
            raise ValueError(f"An adapter trained with {option} cannot be written as a LoRA file.")
    return int(config.r), float(config.lora_alpha)


def _kohya_tensors(
    model: torch.nn.Module, prefix: str, adapter_name: str, alpha: float, dtype: torch.dtype
) -> Tensors:
    """The adapter's weights under kohya's names: down, up and alpha of each layer."""
    weights = get_peft_model_state_dict(model, adapter_name=adapter_name)
    named = {f"{_root(prefix, name)}.{name}": tensor for name, tensor in weights.items()}
    attention = [name for name in named if "_proj." in name]
    if prefix == "text_encoder" and attention and not any(".out_proj." in n for n in attention):
        # diffusers tells kohya's text-encoder names from others by this layer alone
        raise ValueError("A text encoder's LoRA on attention must cover out_proj too.")
    converted = convert_state_dict_to_kohya(named)
    tensors = {}
    for name, tensor in converted.items():
        if name.endswith(".alpha"):
            tensor = torch.tensor(alpha)  # the converter writes the rank here, whatever was trained
        else:
            tensor = tensor.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite in {dtype}: the training diverged.")
        # one text encoder is `te` to kohya's tools, `te1` is the first of two
        tensors[name.replace("lora_te1_", "lora_te_", 1)] = tensor
    return tensors


def _root(prefix: str, name: str) -> str:
    """The module that names start at; transformers 5 dropped `text_model`, other tools expect it."""
    dropped = prefix == "text_encoder" and not name.startswith("text_model.")
    return f"{prefix}.text_model" if dropped else prefix


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """The file with this metadata in a fixed order; the library's own changes from run to run."""
    header_bytes = 8 + int.from_bytes(data[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(data[8:header_bytes])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[header_bytes:]


def _replace(path: Path, data: bytes) -> None:
    """Writes a file so that a crash leaves the old one or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
