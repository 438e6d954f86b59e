"""A LoRA file as pairs of matrices by module, read without touching a model.

Three layouts are in use: kohya's, diffusers' (old and new) and peft's. diffusers' converters bring the
names together; what they or peft would take silently and wrongly is refused here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.utils.state_dict_utils import (
    StateDictType,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from safetensors import SafetensorError, safe_open

from engine.errors import InvalidRequestError, UnknownAdapterError

log = logging.getLogger(__name__)

MAX_SCALE = 100.0  # alpha / rank
_PARTS = ("unet", "text_encoder")
# A name may end up in a regular expression of a library; no tool writes any other.
_NAME = re.compile(r"[A-Za-z0-9_.]{1,300}")
_OTHER_KINDS = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "CP-decomposed",
    "oft_": "OFT",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """What a LoRA adds to one Linear or Conv: `scale * up(down(x))`.

    Attributes:
        down: (rank, in) or (rank, in, kh, kw).
        up: (out, rank) or (out, rank, 1, 1).
        scale: alpha / rank.
    """

    down: Any
    up: Any
    scale: float


@dataclass(frozen=True, slots=True)
class Adapter:
    """One LoRA in memory.

    Attributes:
        unet: Pairs by the name of the U-Net's module.
        text: Pairs by the name of the text encoder's module.
    """

    sha256: str
    unet: Mapping[str, Pair]
    text: Mapping[str, Pair]

    @property
    def size_bytes(self) -> int:
        """Bytes of all pairs."""
        pairs = [*self.unet.values(), *self.text.values()]
        return sum(pair.down.nbytes + pair.up.nbytes for pair in pairs)


def load(path: Path, sha256: str, unet: Any, text_encoder: Any) -> Adapter:
    """Reads a LoRA file for the given model; runs beside the loop's steps.

    Args:
        path: A .safetensors file.
        sha256: What its bytes must hash to.
        unet: The U-Net, for names, shapes, device and dtype.
        text_encoder: The text encoder, for the same.

    Raises:
        UnknownAdapterError: The file is gone, or is another one.
        InvalidRequestError: It is no LoRA for this model; one sentence that says why.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise UnknownAdapterError("The style's file is not what it was. Add it again.")
        tensors, metadata = _read(path)
    except OSError as error:
        raise UnknownAdapterError(
            "The style's file is not there any more. Add it again."
        ) from error
    except SafetensorError as error:
        raise _refused(f"it is no sound .safetensors file ({error})") from error
    pairs = _pairs(tensors, metadata, unet.config)
    adapter = Adapter(
        sha256,
        {name: _fit(name, pair, unet) for name, pair in pairs["unet"].items()},
        {name: _fit(name, pair, text_encoder) for name, pair in pairs["text_encoder"].items()},
    )
    if not adapter.unet and not adapter.text:
        raise _refused("it changes nothing in this model")
    return adapter


def _read(path: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Returns the tensors, and what diffusers wrote of the adapter's configuration."""
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        for name in names:
            if not _NAME.fullmatch(name):
                raise _refused(f"it has a tensor of the odd name {name[:40]!r}")
            for mark, kind in _OTHER_KINDS.items():
                if mark in name:
                    raise _refused(f"it is of the kind {kind}, which is not supported")
        tensors = {name: file.get_tensor(name) for name in names}
        text = (file.metadata() or {}).get("lora_adapter_metadata", "{}")
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise _refused("its lora_adapter_metadata is no JSON") from error
    if not isinstance(metadata, dict) or any(
        value for key, value in metadata.items() if key.endswith(("use_rslora", "use_dora"))
    ):
        raise _refused("it is of a kind that is not supported (rsLoRA or DoRA)")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and not name.endswith(".alpha"):
            raise _refused(f"{name} does not hold floating-point numbers")
        if not torch.isfinite(tensor).all():
            raise _refused(f"{name} holds numbers that are not finite")
    return tensors, metadata


def _pairs(
    tensors: dict[str, Any], metadata: Mapping[str, Any], unet_config: Any
) -> dict[str, dict[str, Pair]]:
    """Returns the pairs of each part of the model by module."""
    try:
        state, network_alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
            dict(tensors), unet_config=unet_config
        )
    except (ValueError, KeyError, IndexError, RuntimeError, AttributeError) as error:
        log.warning("A LoRA file cannot be converted: %s", error)
        raise _refused("its tensors are not named as a LoRA's for Stable Diffusion") from error
    is_kohya = network_alphas is not None
    alphas = {k: float(v) for k, v in (network_alphas or {}).items()}
    alphas |= {k: float(v) for k, v in state.items() if k.endswith(".alpha")}
    found: dict[str, dict[str, Pair]] = {}
    for part in _PARTS:
        halves: dict[str, dict[str, Any]] = {"A": {}, "B": {}}
        for module, half, tensor in _halves(part, state):
            halves[half][module] = tensor
        own_alphas = {
            _module(part, key.removeprefix(f"{part}.").removesuffix(".alpha")): alpha
            for key, alpha in alphas.items()
            if key.startswith(f"{part}.")
        }
        if halves["A"].keys() != halves["B"].keys():
            odd = min(halves["A"].keys() ^ halves["B"].keys())
            raise _refused(f"{odd} has only one of its two matrices")
        found[part] = {}
        for module, down in halves["A"].items():
            rank = down.shape[0]
            alpha = own_alphas.get(module)
            if alpha is None and (is_kohya or own_alphas):
                raise _refused(f"{module} has no alpha")
            if alpha is None:
                alpha = _alpha_of_metadata(part, module, metadata, rank)
            if not (math.isfinite(alpha) and 0 < alpha / rank <= MAX_SCALE):
                raise _refused(f"{module} has the alpha {alpha:g} at rank {rank}")
            found[part][module] = Pair(down, halves["B"][module], alpha / rank)
    known = sum(2 * len(pairs) for pairs in found.values()) + sum(
        k.endswith(".alpha") for k in state
    )
    if known != len(state):
        others = [key for key in state if not key.startswith(tuple(f"{part}." for part in _PARTS))]
        what = f", such as {others[0][:60]!r}" if others else ""
        raise _refused(f"it holds more than LoRA matrices of this family of models{what}")
    return found


def _halves(part: str, state: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yields module, "A" or "B", and the matrix, of each matrix of a part."""
    for key, tensor in state.items():
        if not key.startswith(f"{part}.") or key.endswith(".alpha"):
            continue
        name = _peft_name(part, key.removeprefix(f"{part}."))
        for half in ("A", "B"):
            if name.endswith(f".lora_{half}.weight"):
                yield _module(part, name), half, tensor


def _peft_name(part: str, name: str) -> str:
    """Returns one name as peft spells it; the converters go by single names."""
    if part == "unet":
        return str(next(iter(convert_unet_state_dict_to_peft({name: None}))))
    old = "_lora." in name
    kind = StateDictType.DIFFUSERS_OLD if old else StateDictType.DIFFUSERS
    return str(next(iter(convert_state_dict_to_peft({name: None}, original_type=kind))))


def _module(part: str, name: str) -> str:
    """Returns the module that a matrix or an alpha belongs to; alphas come in three spellings.

    `x.to_q_lora.down.weight`, `x.fc1.lora_linear_layer.down.weight` and plainly `x.proj`, each with
    ".alpha" (taken off before).
    """
    module = _peft_name(part, name).partition(".lora_")[0]
    return module.removeprefix("text_model.") if part == "text_encoder" else module


def _alpha_of_metadata(part: str, module: str, metadata: Mapping[str, Any], rank: int) -> float:
    """Returns the alpha that diffusers wrote into the header; without one it is the rank."""
    patterns = metadata.get(f"{part}.alpha_pattern")
    if isinstance(patterns, dict):
        for name, alpha in patterns.items():
            if f".{module}".endswith(f".{name}") and isinstance(alpha, int | float):
                return float(alpha)
    alpha = metadata.get(f"{part}.lora_alpha", rank)
    return float(alpha) if isinstance(alpha, int | float) else math.nan


def _fit(name: str, pair: Pair, model: Any) -> Pair:
    """Returns the pair in the shapes of the model's module, on its device.

    1x1 convolutions and linear layers are the same thing, and files have one for the other.
    """
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise _refused(f"it is for another model: there is no {name} here") from None
    rank = pair.down.shape[0]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    if isinstance(module, torch.nn.Linear):
        shapes = (rank, module.in_features), (module.out_features, rank)
    elif isinstance(module, torch.nn.Conv2d) and module.groups == 1:
        shapes = (rank, *module.weight.shape[1:]), (module.out_channels, rank, 1, 1)
    else:
        raise _refused(f"{name} of this model takes no LoRA")
    weight = module.weight
    if rank < 1 or any(
        _squeezed(matrix.shape) != _squeezed(shape)
        for matrix, shape in zip((pair.down, pair.up), shapes, strict=True)
    ):
        raise _refused(
            f"it is for another model: {name} is {tuple(weight.shape)} here, and its matrices are "
            f"{tuple(pair.down.shape)} and {tuple(pair.up.shape)}"
        )
    down, up = (
        matrix.reshape(shape).to(weight.device, weight.dtype)
        for matrix, shape in zip((pair.down, pair.up), shapes, strict=True)
    )
    if down.is_meta or up.is_meta:
        raise RuntimeError(f"{name} is on the meta device")
    return Pair(down, up, pair.scale)


def _squeezed(shape: Any) -> tuple[int, ...]:
    """Returns a shape without the ones behind the first two numbers."""
    return (*shape[:2], *(side for side in shape[2:] if side != 1))


def _refused(why: str) -> InvalidRequestError:
    return InvalidRequestError(f"This LoRA cannot be used: {why}.")
