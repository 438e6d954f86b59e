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
from engine.words import N_

log = logging.getLogger(__name__)

MAX_SCALE = 100.0  # alpha / rank
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
        text_2: Pairs by the name of the second text encoder's module; empty in models without one.
    """

    sha256: str
    unet: Mapping[str, Pair]
    text: Mapping[str, Pair]
    text_2: Mapping[str, Pair]

    @property
    def size_bytes(self) -> int:
        """Bytes of all pairs."""
        pairs = [*self.unet.values(), *self.text.values(), *self.text_2.values()]
        return sum(pair.down.nbytes + pair.up.nbytes for pair in pairs)


def load(
    path: Path, sha256: str, unet: Any, text_encoder: Any, text_encoder_2: Any = None
) -> Adapter:
    """Reads a LoRA file for the given model; runs beside the loop's steps.

    Args:
        path: A .safetensors file.
        sha256: What its bytes must hash to.
        unet: The U-Net, for names, shapes, device and dtype.
        text_encoder: The text encoder, for the same.
        text_encoder_2: The second one of models that have two.

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
        raise _refused(N_("it is no sound .safetensors file ({error})"), error=error) from error
    models = {"unet": unet, "text_encoder": text_encoder}
    if text_encoder_2 is not None:
        models["text_encoder_2"] = text_encoder_2
    fitted = {
        part: {name: _fit(name, pair, models[part]) for name, pair in pairs.items()}
        for part, pairs in _pairs(tensors, metadata, tuple(models), unet.config).items()
    }
    if not any(fitted.values()):
        raise _refused(N_("it changes nothing in this model"))
    adapter = Adapter(
        sha256, fitted["unet"], fitted["text_encoder"], fitted.get("text_encoder_2", {})
    )
    return adapter


def _read(path: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Returns the tensors, and what diffusers wrote of the adapter's configuration."""
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        for name in names:
            if not _NAME.fullmatch(name):
                raise _refused(N_("it has a tensor of the odd name {name!r}"), name=name[:40])
            for mark, kind in _OTHER_KINDS.items():
                if mark in name:
                    raise _refused(
                        N_("it is of the kind {kind}, which is not supported"), kind=kind
                    )
        tensors = {name: file.get_tensor(name) for name in names}
        text = (file.metadata() or {}).get("lora_adapter_metadata", "{}")
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise _refused(N_("its lora_adapter_metadata is no JSON")) from error
    if not isinstance(metadata, dict) or any(
        value for key, value in metadata.items() if key.endswith(("use_rslora", "use_dora"))
    ):
        raise _refused(N_("it is of a kind that is not supported (rsLoRA or DoRA)"))
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() and not name.endswith(".alpha"):
            raise _refused(N_("{name} does not hold floating-point numbers"), name=name)
        if not torch.isfinite(tensor).all():
            raise _refused(N_("{name} holds numbers that are not finite"), name=name)
    return tensors, metadata


def _pairs(
    tensors: dict[str, Any], metadata: Mapping[str, Any], parts: tuple[str, ...], unet_config: Any
) -> dict[str, dict[str, Pair]]:
    """Returns the pairs of each part of the model by module."""
    try:
        state, network_alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
            dict(tensors), unet_config=unet_config
        )
    except (ValueError, KeyError, IndexError, RuntimeError, AttributeError) as error:
        log.warning("A LoRA file cannot be converted: %s", error)
        raise _refused(N_("its tensors are not named as a LoRA's for Stable Diffusion")) from error
    is_kohya = network_alphas is not None
    alphas = {k: float(v) for k, v in (network_alphas or {}).items()}
    alphas |= {k: float(v) for k, v in state.items() if k.endswith(".alpha")}
    found: dict[str, dict[str, Pair]] = {}
    for part in parts:
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
            raise _refused(N_("{name} has only one of its two matrices"), name=odd)
        if lonely := min(own_alphas.keys() - halves["A"].keys(), default=None):
            raise _refused(N_("{name} has an alpha and no matrices"), name=lonely)
        found[part] = {}
        for module, down in halves["A"].items():
            rank = down.shape[0]
            alpha = own_alphas.get(module)
            if alpha is None and (is_kohya or alphas):
                raise _refused(N_("{name} has no alpha"), name=module)
            if alpha is None:
                alpha = _alpha_of_metadata(part, module, metadata, rank)
            if not (math.isfinite(alpha) and 0 < alpha / rank <= MAX_SCALE):
                raise _refused(
                    N_("{name} has the alpha {alpha:g} at rank {rank}"),
                    name=module,
                    alpha=alpha,
                    rank=rank,
                )
            found[part][module] = Pair(down, halves["B"][module], alpha / rank)
    known = sum(2 * len(pairs) for pairs in found.values()) + sum(
        k.endswith(".alpha") for k in state
    )
    if known != len(state):
        others = [key for key in state if not key.startswith(tuple(f"{part}." for part in parts))]
        what = f", such as {others[0][:60]!r}" if others else ""
        raise _refused(
            N_("it holds more than LoRA matrices of this family of models{what}"), what=what
        )
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
    if part == "unet":
        return module
    # transformers 5 keeps `text_model` in encoders with a projection only; files may differ.
    module = module.removeprefix("text_model.")
    has_projection = part == "text_encoder_2" and module != "text_projection"
    return f"text_model.{module}" if has_projection else module


def _alpha_of_metadata(part: str, module: str, metadata: Mapping[str, Any], rank: int) -> float:
    """Returns the alpha that diffusers wrote into the header; without any of it, it is the rank."""
    own = {
        key.removeprefix(f"{part}."): value
        for key, value in metadata.items()
        if key.startswith(f"{part}.")
    }
    if not own:
        return float(rank)
    written = _of_module(own, "rank_pattern", module, own.get("r", rank))
    if written != rank:
        raise _refused(
            N_("{name} has the rank {rank}, and its header says {written}"),
            name=module,
            rank=rank,
            written=f"{written}"[:20],
        )
    # peft's own default, 8, is none that a file without one was trained with.
    alpha = _of_module(own, "alpha_pattern", module, own.get("lora_alpha"))
    if alpha is None:
        raise _refused(N_("{name} has no alpha"), name=module)
    is_number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    return float(alpha) if is_number else math.nan


def _of_module(own: Mapping[str, Any], patterns: str, module: str, other: Any) -> Any:
    """Returns what a peft configuration says of one module; `other` where it says nothing special.

    The keys are the ends of modules' names, or whole names after a "^". peft would take them for
    regular expressions, which a file could make as slow as it likes.
    """
    by_end = own.get(patterns) or {}
    ends = (
        {key: key.removeprefix("^") for key in by_end} if isinstance(by_end, Mapping) else {"": ""}
    )
    if not all(map(_NAME.fullmatch, ends.values())):
        raise _refused(N_("its {what} is no list of layers"), what=patterns)
    name = _bare(module)
    for key, end in ends.items():
        is_whole = key.startswith("^")
        if name == _bare(end) or (not is_whole and name.endswith(f".{end}")):
            return by_end[key]
    return other


def _bare(name: str) -> str:
    """Returns a module's name as an encoder without a projection has it; files have either."""
    return name.removeprefix("text_model.")


def _fit(name: str, pair: Pair, model: Any) -> Pair:
    """Returns the pair in the shapes of the model's module, on its device.

    1x1 convolutions and linear layers are the same thing, and files have one for the other.
    """
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise _refused(N_("it is for another model: there is no {name} here"), name=name) from None
    rank = pair.down.shape[0]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    if isinstance(module, torch.nn.Linear):
        shapes = (rank, module.in_features), (module.out_features, rank)
    elif isinstance(module, torch.nn.Conv2d) and module.groups == 1:
        shapes = (rank, *module.weight.shape[1:]), (module.out_channels, rank, 1, 1)
    else:
        raise _refused(N_("{name} of this model takes no LoRA"), name=name)
    weight = module.weight
    if rank < 1 or any(
        _squeezed(matrix.shape) != _squeezed(shape)
        for matrix, shape in zip((pair.down, pair.up), shapes, strict=True)
    ):
        raise _refused(
            N_(
                "it is for another model: {name} is {shape} here, and its matrices are {down} "
                "and {up}"
            ),
            name=name,
            shape=tuple(weight.shape),
            down=tuple(pair.down.shape),
            up=tuple(pair.up.shape),
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


def _refused(why: str, **values: object) -> InvalidRequestError:
    reason = why.format(**values)
    return InvalidRequestError("This LoRA cannot be used: {why}.", why=reason)
