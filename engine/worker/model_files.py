"""The parts of a model, read from a diffusers folder or a single .safetensors checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import (
    create_diffusers_clip_model_from_ldm,
    load_single_file_checkpoint,
)
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from transformers.models.clip import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from engine.model_card import SDXL, ModelCard, read_json
from engine.words import N_
from engine.worker import hub
from engine.worker.hub import Report


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a model, not on their device yet; see `engine.worker.models.Model`."""

    tokenizer: Any
    text_encoder: Any
    unet: Any
    vae: Any
    scheduler_config: Any
    tokenizer_2: Any = None
    text_encoder_2: Any = None
    zeroes_empty_negative: bool = False


def load_folder(folder: Path, card: ModelCard, dtype: Any, report: Report) -> Parts:
    """Loads a diffusers folder."""
    names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*")]
    files = hub.choose_weights(names, prefer_fp16=dtype != torch.float32)

    def load(cls: Any, part: str, fraction: float, **options: Any) -> Any:
        report(N_("loading the {part}").format(part=part.replace("_", " ")), fraction)
        is_fp16 = any(name.startswith(f"{part}/") and ".fp16" in name for name in files)
        return cls.from_pretrained(
            folder,
            subfolder=part,
            variant="fp16" if is_fp16 else None,
            use_safetensors=True,
            local_files_only=True,
            **options,
        )

    def load_text(cls: Any, part: str, fraction: float) -> Any:
        return load(cls, part, fraction, dtype=dtype)

    return Parts(
        text_encoder=load_text(CLIPTextModel, "text_encoder", 0.0),
        vae=load(AutoencoderKL, "vae", 0.1, torch_dtype=_vae_dtype(folder, card, dtype)),
        **_load_second_encoder(folder, card, load_text),
        unet=load(UNet2DConditionModel, "unet", 0.25, torch_dtype=dtype),
        tokenizer=_load_tokenizer(folder, "tokenizer"),
        scheduler_config=_load_scheduler_config(folder),
    )


def load_checkpoint(path: Path, card: ModelCard, dtype: Any, report: Report) -> Parts:
    """Loads a single file; what it lacks (configuration, tokenizer) comes from beside it or the hub."""
    configs = path.with_suffix("")
    if not (configs / "model_index.json").is_file():
        configs = hub.download_configs(card.family, report)
    report(N_("reading {name}").format(name=path.name), 0.0)
    tensors = load_single_file_checkpoint(str(path), local_files_only=True)
    options = {"config": str(configs), "local_files_only": True}

    def load_text(cls: Any, part: str, fraction: float) -> Any:
        report(N_("loading the {part}").format(part=part.replace("_", " ")), fraction)
        return create_diffusers_clip_model_from_ldm(
            cls, checkpoint=tensors, subfolder=part, torch_dtype=dtype, **options
        )

    def load(cls: Any, part: str, fraction: float, part_dtype: Any) -> Any:
        report(N_("loading the {part}").format(part=part), fraction)
        return cls.from_single_file(tensors, subfolder=part, torch_dtype=part_dtype, **options)

    return Parts(
        text_encoder=load_text(CLIPTextModel, "text_encoder", 0.1),
        **_load_second_encoder(configs, card, load_text),
        vae=load(AutoencoderKL, "vae", 0.2, _vae_dtype(configs, card, dtype)),
        unet=load(UNet2DConditionModel, "unet", 0.3, dtype),
        tokenizer=_load_tokenizer(configs, "tokenizer"),
        scheduler_config=_load_scheduler_config(configs) | _marked_schedule(tensors),
    )


def _load_second_encoder(
    configs: Path, card: ModelCard, load_text: Callable[[Any, str, float], Any]
) -> dict[str, Any]:
    """Returns what SDXL has more than the others; `configs` has its tokenizer and model_index.json.

    Raises:
        ValueError: The two tokenizers do not split a text alike.
    """
    if card.family != SDXL:
        return {}
    first, second = (_load_tokenizer(configs, name) for name in ("tokenizer", "tokenizer_2"))
    if first.get_vocab() != second.get_vocab() or first.model_max_length != second.model_max_length:
        raise ValueError("its two tokenizers have different words")
    index = read_json(configs / "model_index.json")
    return {
        "tokenizer_2": second,
        "text_encoder_2": load_text(CLIPTextModelWithProjection, "text_encoder_2", 0.15),
        "zeroes_empty_negative": bool(index.get("force_zeros_for_empty_prompt", True)),
    }


def _vae_dtype(configs: Path, card: ModelCard, dtype: Any) -> Any:
    """Returns the VAE's dtype: float32 where half precision overflows.

    SDXL's own VAE says `force_upcast`, and stock pipelines move it to float32 for each picture; here it
    stays there. The VAEs of the other families have the same value in their configuration, by default,
    and nobody minds it.
    """
    if card.family != SDXL:
        return dtype
    config = read_json(configs / "vae" / "config.json")
    return torch.float32 if config.get("force_upcast", True) else dtype


def _marked_schedule(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what empty tensors in a checkpoint say of its noise schedule, a custom among trainers.

    `v_pred`: the U-Net predicts v. `ztsnr`: it was trained down to a signal-to-noise ratio of zero.
    """
    schedule: dict[str, Any] = {}
    if "v_pred" in tensors:
        schedule["prediction_type"] = "v_prediction"
    if "ztsnr" in tensors:
        schedule |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return schedule


def _load_tokenizer(folder: Path, name: str) -> Any:
    return CLIPTokenizer.from_pretrained(folder / name, local_files_only=True)


def _load_scheduler_config(folder: Path) -> dict[str, Any]:
    return dict(DDIMScheduler.load_config(folder / "scheduler", local_files_only=True))
