"""The loaded model, and loading it from this machine or the hub."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

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
from engine.words import N_
from engine.worker import hub
from engine.worker.conditions import Conditioner, OneEncoder, TwoEncoders
from engine.worker.hub import Report
from engine.worker.model_files import load_checkpoint, load_folder


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded Stable Diffusion: its parts on their device, and its card.

    Attributes:
        scheduler_config: The model's own; samplers are made from it.
        dtype: Of the U-Net and the text encoders. The VAE may have another, see `engine.worker.model_files`.
        tokenizer_2: SDXL's second tokenizer; None in families with one text encoder.
        text_encoder_2: SDXL's second text encoder.
        zeroes_empty_negative: No negative prompt is zeros instead of the empty text.
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
    tokenizer_2: Any = None
    text_encoder_2: Any = None
    zeroes_empty_negative: bool = False

    @property
    def conditioner(self) -> Conditioner:
        """What makes of prompts what guides the rows."""
        if self.text_encoder_2 is None:
            return OneEncoder(self.tokenizer, self.text_encoder)
        return TwoEncoders(
            self.tokenizer,
            self.tokenizer_2,
            self.text_encoder,
            self.text_encoder_2,
            self.zeroes_empty_negative,
        )

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
                parts = load_folder(path, card, dtype, report)
            else:
                parts = load_checkpoint(path, card, dtype, report)
            report(N_("moving the model to its device"), 0.9)
            for part in (parts.text_encoder, parts.text_encoder_2, parts.unet, parts.vae):
                if part is None:
                    continue
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
            tokenizer_2=parts.tokenizer_2,
            text_encoder_2=parts.text_encoder_2,
            zeroes_empty_negative=parts.zeroes_empty_negative,
        )


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
