"""Loading a model from a diffusers folder, a single .safetensors checkpoint or the hub."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
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
from safetensors import SafetensorError
from transformers.models.clip import CLIPTextModel, CLIPTokenizer

from engine.errors import ModelLoadError
from engine.model_card import (
    ModelCard,
    card_of_hub_id,
    local_path,
    read_card,
    read_folder,
    resolve_source,
)
from engine.settings import EngineSettings
from engine.worker import hub
from engine.worker.hub import Report


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded Stable Diffusion: its parts on their device, and its card.

    Attributes:
        scheduler_config: The model's own; samplers are made from it.
        scaling_factor: Latents are the VAE's times this.
        vae_scale_factor: Pixels a side of one latent.
    """

    card: ModelCard
    model_hash: str
    tokenizer: Any
    text_encoder: Any
    unet: Any
    vae: Any
    scheduler_config: Any
    device: Any
    dtype: Any

    @property
    def scaling_factor(self) -> float:
        """Latents are the VAE's times this."""
        return float(self.vae.config.scaling_factor)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels a side of one latent."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.unet.config.in_channels)


def choose_device(settings: EngineSettings) -> tuple[Any, Any]:
    """Returns the torch device and dtype that the settings mean on this machine.

    Raises:
        ModelLoadError: A CUDA device is asked for and there is none.
    """
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelLoadError(
            f"There is no device {name!r}. EASEL_DEVICE is auto, cpu, cuda or cuda:N."
        ) from error
    if device.type == "cuda":
        index = device.index or 0
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise ModelLoadError(
                f"EASEL_DEVICE is {name}, but torch sees {torch.cuda.device_count()} CUDA devices. "
                "Check the driver, or use EASEL_DEVICE=cpu."
            )
        device = torch.device("cuda", index)
    elif device.type != "cpu":
        raise ModelLoadError(f"The device {name!r} is not supported. Use cpu, cuda or cuda:N.")
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "float16" if device.type == "cuda" else "float32"
    return device, getattr(torch, dtype)


def load_model(settings: EngineSettings, report: Report) -> Model:
    """Loads the configured model.

    Raises:
        ModelLoadError: It is missing, damaged, or no model that this engine runs.
    """
    device, dtype = choose_device(settings)
    source = resolve_source(settings)
    path = local_path(source)
    if path is None:
        path = hub.download_model(source, settings.model_revision, report)
        card = read_folder(path, name=card_of_hub_id(source).name)
    else:
        card = read_card(path)
    with ThreadPoolExecutor(1, "hash") as pool:  # beside the loading; hashing needs no interpreter
        hashing = pool.submit(hash_weights, path)
        try:
            if path.is_dir():
                parts = _load_folder(path, dtype, report)
            else:
                parts = _load_checkpoint(path, card, dtype, report)
            report("moving the model to its device", 0.9)
            for part in (parts.text_encoder, parts.unet, parts.vae):
                # Weights keep requires_grad: without it torch multiplies in another order (see
                # `should_fold` in ATen), and pictures differ from the stock pipelines' in the
                # last bits.
                part.to(device).eval()
            if device.type == "cuda":  # tensor cores read convolutions in this order
                parts.unet.to(memory_format=torch.channels_last)
                parts.vae.to(memory_format=torch.channels_last)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelLoadError(
                f"The model {card.name} cannot be loaded: {_first_line(error)}"
            ) from error
        return Model(
            card=card,
            model_hash=hashing.result(),
            tokenizer=parts.tokenizer,
            text_encoder=parts.text_encoder,
            unet=parts.unet,
            vae=parts.vae,
            scheduler_config=parts.scheduler_config,
            device=device,
            dtype=dtype,
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    tokenizer: Any
    text_encoder: Any
    unet: Any
    vae: Any
    scheduler_config: Any


def _load_folder(folder: Path, dtype: Any, report: Report) -> _Parts:
    names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*.safetensors")]
    files = hub.choose_weights(names, prefer_fp16=dtype != torch.float32)

    def load(cls: Any, part: str, fraction: float, **options: Any) -> Any:
        report(f"loading the {part.replace('_', ' ')}", fraction)
        is_fp16 = any(name.startswith(f"{part}/") and ".fp16" in name for name in files)
        return cls.from_pretrained(
            folder,
            subfolder=part,
            variant="fp16" if is_fp16 else None,
            use_safetensors=True,
            local_files_only=True,
            **options,
        )

    return _Parts(
        tokenizer=_load_tokenizer(folder),
        text_encoder=load(CLIPTextModel, "text_encoder", 0.0, dtype=dtype),
        vae=load(AutoencoderKL, "vae", 0.15, torch_dtype=dtype),
        unet=load(UNet2DConditionModel, "unet", 0.25, torch_dtype=dtype),
        scheduler_config=_load_scheduler_config(folder),
    )


def _load_checkpoint(path: Path, card: ModelCard, dtype: Any, report: Report) -> _Parts:
    """Loads a single file; what it lacks (configuration, tokenizer) comes from beside it or the hub."""
    configs = path.with_suffix("")
    if not (configs / "model_index.json").is_file():
        configs = hub.download_configs(card.family, report)
    report(f"reading {path.name}", 0.0)
    tensors = load_single_file_checkpoint(str(path), local_files_only=True)
    options = {"config": str(configs), "torch_dtype": dtype, "local_files_only": True}
    report("loading the text encoder", 0.1)
    text_encoder = create_diffusers_clip_model_from_ldm(
        CLIPTextModel, checkpoint=tensors, subfolder="text_encoder", **options
    )
    report("loading the vae", 0.2)
    vae = AutoencoderKL.from_single_file(tensors, subfolder="vae", **options)
    report("loading the unet", 0.3)
    unet = UNet2DConditionModel.from_single_file(tensors, subfolder="unet", **options)
    return _Parts(
        tokenizer=_load_tokenizer(configs),
        text_encoder=text_encoder,
        vae=vae,
        unet=unet,
        scheduler_config=_load_scheduler_config(configs),
    )


def _load_tokenizer(folder: Path) -> Any:
    return CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)


def _load_scheduler_config(folder: Path) -> Any:
    return DDIMScheduler.load_config(folder / "scheduler", local_files_only=True)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def hash_weights(path: Path) -> str:
    """Returns A1111's "Model hash": the first 10 hex digits of the weights' sha256.

    Of a checkpoint it is the whole file, as in A1111; of a folder the U-Net's files.
    """
    files = sorted((path / "unet").glob("*.safetensors")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:10]
