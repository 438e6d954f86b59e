"""Model folders without weights, for an engine that only reads what they say (`--by-settings`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def model_folder(folder: Path, family: str = "sd15", *, broken: bool = False, **card: Any) -> Path:
    """Makes a folder that reads as a model of the family; a broken one cannot be loaded."""
    widths = {"sd15": 768, "sd2": 1024, "pocket": 128, "sdxl": 2048}
    unet: dict[str, Any] = {
        "in_channels": 4,
        "sample_size": 8,
        "block_out_channels": [8, 8],
        "cross_attention_dim": widths[family],
    }
    index: dict[str, Any] = {"scheduler": ["diffusers", "DDIMScheduler"]}
    if family == "sdxl":
        unet["addition_embed_type"] = "text_time"
        index |= {"text_encoder": ["transformers", "A"], "text_encoder_2": ["transformers", "B"]}
    for part, config in (("unet", unet), ("vae", {"block_out_channels": [8, 8, 8, 8]})):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(config))
    (folder / "model_index.json").write_text(json.dumps(index))
    card = {"default_steps": 4, "max_side": 1024, "size_multiple": 8, "native_size": 64} | card
    (folder / "easel.json").write_text(json.dumps(card))
    if broken:
        (folder / "broken").touch()
    return folder
