"""Makes LoRA files tensor by tensor, sound and hostile ones, without torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = dict[str, Any]
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
TEXT = {"pocket": 128, "sd15": 768, "sd2": 1024, "sdxl": 2048}


def encoded(values: Any, dtype: str) -> bytes:
    values = np.asarray(values, dtype=np.float32)
    if dtype == "BF16":
        return (values.view("<u4") >> 16).astype("<u2").tobytes()
    return values.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def written(
    tensors: Mapping[str, Any],
    *,
    dtype: str = "F16",
    metadata: Mapping[str, str] | None = None,
    change: Any = None,
    after: bytes = b"",
) -> bytes:
    """A file with these arrays; `change` may spoil its header."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    data = b""
    for name, values in tensors.items():
        body = encoded(values, dtype)
        shape = list(np.shape(values))
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(body)],
        }
        data += body
    if change is not None:
        change(header)
    return with_header(json.dumps(header).encode(), data + after)


def with_header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def layer(
    name: str, inputs: int, outputs: int = 8, rank: int = 2, alpha: float | None = 1.0
) -> Arrays:
    """One layer in kohya's layout."""
    made: Arrays = {
        f"{name}.lora_down.weight": np.full((rank, inputs), 0.01),
        f"{name}.lora_up.weight": np.full((outputs, rank), 0.02),
    }
    return made if alpha is None else made | {f"{name}.alpha": np.float32(alpha)}


CROSS = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
SELF = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
ENCODER = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def kohya(family: str = "sd15", **options: Any) -> Arrays:
    return layer(CROSS, TEXT[family], **options) | layer(SELF, 320, **options)


def conv(name: str = "lora_unet_down_blocks_0_resnets_0_conv1", kernel: int = 3) -> Arrays:
    return {
        f"{name}.lora_down.weight": np.full((2, 32, kernel, kernel), 0.01),
        f"{name}.lora_up.weight": np.full((32, 2, 1, 1), 0.01),
        f"{name}.alpha": np.float32(2),
    }


def renamed(arrays: Arrays, **words: str) -> Arrays:
    """The arrays with words of their names replaced; `_` in a word stands for itself."""
    found = {}
    for name, values in arrays.items():
        for old, new in words.items():
            name = name.replace(old, new)
        found[name] = values
    return found


def paired(path: str, inputs: int, down: str, up: str) -> Arrays:
    """One layer with its own words for its halves."""
    return {f"{path}{down}": np.full((2, inputs), 0.01), f"{path}{up}": np.full((8, 2), 0.02)}
