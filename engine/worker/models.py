"""Loading a model: a diffusers folder, a single .safetensors checkpoint or a hub id, and its hash."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip import CLIPTextModel, CLIPTokenizer

from engine.errors import ModelLoadError
from engine.model_card import ModelCard, local_path, read_card, resolve_source
from engine.settings import EngineSettings

log = logging.getLogger(__name__)

Report = Callable[[str, float | None], None]  # stage, fraction


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
    source = resolve_source(settings)
    device, dtype = choose_device(settings)
    path = local_path(source)
    if path is None:
        raise ModelLoadError(f"The model {source!r} is not here.")
    card = read_card(path)
    with ThreadPoolExecutor(1, "hash") as pool:
        hashing = pool.submit(hash_weights, path)
        parts = _load_folder(path, dtype, report)
        report("moving the model to its device", None)
        for part in (parts.text_encoder, parts.unet, parts.vae):
            # Weights keep requires_grad: without it torch multiplies in another order (see
            # `should_fold` in ATen), and pictures differ from the stock pipelines' in the last bits.
            part.to(device).eval()
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
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    def load(cls: Any, subfolder: str, fraction: float, **options: Any) -> Any:
        report(f"loading {subfolder}", fraction)
        return cls.from_pretrained(
            folder, subfolder=subfolder, use_safetensors=True, local_files_only=True, **options
        )

    return _Parts(
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        text_encoder=load(CLIPTextModel, "text_encoder", 0.0, dtype=dtype),
        vae=load(AutoencoderKL, "vae", 0.2, torch_dtype=dtype),
        unet=load(UNet2DConditionModel, "unet", 0.3, torch_dtype=dtype),
        scheduler_config=DDIMScheduler.load_config(folder / "scheduler", local_files_only=True),
    )


def hash_weights(path: Path) -> str:
    """Returns A1111's "Model hash": the first 10 hex digits of the weights' sha256.

    Of a checkpoint it is the whole file, as A1111 does; of a folder the U-Net's files.
    """
    files = sorted((path / "unet").glob("*.safetensors")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:10]
