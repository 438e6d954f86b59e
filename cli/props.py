"""What the people of the demo send: a drawn picture of somebody who jumps, and a style mixed of two others."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from engine.lora.metadata import LoraCard, build_metadata
from engine.pocket import LORAS_DIR
from engine.pocket.people import Person, sample_joints
from engine.pocket.scenes import Scene, render

_DOWN, _UP, _ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"


def jumper() -> bytes:
    """Returns a PNG of a woman in red and blue who jumps on a meadow; no model had a part in it."""
    height = 0.74
    joints = sample_joints("jumping", 0.5, 0.56, height, Random(2))
    woman = Person("woman", "red", "blue", "brown", True, 1, "jumping", height, joints)
    file = io.BytesIO()
    render(Scene("meadow", person=woman, decor=3), 384).image.save(file, "PNG")
    return file.getvalue()


def chalk() -> bytes | None:
    """Returns a LoRA file: neon's outlines in noir's black and white; None where these two are not there."""
    styles = [LORAS_DIR / f"{name}.safetensors" for name in ("neon", "noir")]
    if not all(style.is_file() for style in styles):
        return None
    card = LoraCard(
        title="Chalk",
        architecture="easel-pocket-v1",
        base_version="easel_pocket_v1",
        resolution=(128, 128),
        prediction_type="v_prediction",
        trigger_phrase="neon style",
        author="Easel's demo",
        description="White outlines on black: neon and noir, mixed.",
        output_name="chalk",
    )
    return mixed([(style, 0.6) for style in styles], card)


def mixed(parts: Iterable[tuple[Path, float]], card: LoraCard) -> bytes:
    """Returns one LoRA file that does what several in kohya's layout do at these weights.

    Their ranks are put side by side: W + a b + c d is W + (a c) (b over d).
    """
    layers: dict[str, list[tuple[Any, Any]]] = {}
    for path, weight in parts:
        tensors = load_file(path)
        for name in (one.removesuffix(_DOWN) for one in tensors if one.endswith(_DOWN)):
            down, up = (tensors[name + half].astype(np.float32) for half in (_DOWN, _UP))
            scale = weight * float(tensors[name + _ALPHA]) / down.shape[0]
            layers.setdefault(name, []).append((down, scale * up))
    both: dict[str, Any] = {}
    for name, pairs in sorted(layers.items()):
        down = np.concatenate([down for down, _ in pairs])
        both[name + _DOWN] = down.astype(np.float16)
        both[name + _UP] = np.concatenate([up for _, up in pairs], axis=1).astype(np.float16)
        both[name + _ALPHA] = np.float32(down.shape[0])
    rank = max(int(alpha) for name, alpha in both.items() if name.endswith(_ALPHA))
    both = {name: np.asarray(values) for name, values in both.items()}
    data = save(both)
    digest = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    has_convolutions = any(one.ndim == 4 and one.shape[-1] > 1 for one in both.values())
    metadata = build_metadata(
        card, rank=rank, alpha=rank, data_sha256=digest, conv=has_convolutions
    )
    file: bytes = save(both, metadata)
    return file
