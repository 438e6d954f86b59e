"""A tiny random SDXL in the standard folder layout, the stock SDXL pipelines, and a checkpoint of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from engine.types import GenerationRequest
from tests.engine.worker import tiny
from tests.engine.worker.checkpoint import unet_name, vae_name
from tests.engine.worker.local import Stock

WIDTHS = (16, 24)  # of the two text encoders
PROJECTION = 12
_OPEN_CLIP = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_OPEN_CLIP_LAYERS = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def write_model(folder: Path, *, seed: int = 5) -> Path:
    """Writes an SDXL shaped model (eps) and returns its folder."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=sum(WIDTHS),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        norm_num_groups=4,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + PROJECTION,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=tiny.NATIVE,
        scaling_factor=0.13025,
        force_upcast=True,
    )
    vae.decoder.conv_out.weight.data *= 8  # enough contrast to count as a picture
    shared = {"vocab_size": 600, "intermediate_size": 32, "num_attention_heads": 2}
    shared |= {"num_hidden_layers": 3, "max_position_embeddings": 77, "bos_token_id": 598}
    first = CLIPTextModel(
        CLIPTextConfig(hidden_size=WIDTHS[0], eos_token_id=599, pad_token_id=599, **shared)
    )
    # 2 is what SDXL's own configuration says: the end is then the largest token.
    second = CLIPTextModelWithProjection(
        CLIPTextConfig(
            hidden_size=WIDTHS[1],
            projection_dim=PROJECTION,
            eos_token_id=2,
            pad_token_id=1,
            **shared,
        )
    )
    torch.set_rng_state(generator_state)
    for name, part in (
        ("unet", unet), ("vae", vae), ("text_encoder", first), ("text_encoder_2", second),
        ("scheduler", scheduler()),
    ):  # fmt: skip
        part.save_pretrained(folder / name)
    tiny.write_tokenizer(folder / "tokenizer")
    tiny.write_tokenizer(folder / "tokenizer_2")
    path = folder / "tokenizer_2" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "!"}))
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": "0.42.1",
        "force_zeros_for_empty_prompt": True,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def scheduler(**changes: Any) -> EulerDiscreteScheduler:
    """Returns SDXL's own scheduler with changes."""
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    options = {"timestep_spacing": "leading", "steps_offset": 1}
    return EulerDiscreteScheduler(**(schedule | options | changes))


def write_checkpoint(folder: Path, path: Path, *marks: str) -> Path:
    """Writes the model as one .safetensors file in the original layout; `marks` are empty tensors."""
    tensors: dict[str, Any] = {mark: torch.zeros(0) for mark in marks}
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    for name, value in unet.items():
        tensors[f"model.diffusion_model.{unet_name(name, 1, with_attention=(0,))}"] = value
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    for name, value in vae.items():
        if "mid_block.attentions" in name and "group_norm" not in name and name.endswith("weight"):
            value = value[:, :, None, None]
        tensors[f"first_stage_model.{vae_name(name)}"] = value.contiguous()
    for name, value in load_file(folder / "text_encoder" / "model.safetensors").items():
        own = name.removeprefix("text_model.")
        tensors[f"conditioner.embedders.0.transformer.text_model.{own}"] = value
    second = load_file(folder / "text_encoder_2" / "model.safetensors")
    for name, value in _open_clip(second).items():
        tensors[f"conditioner.embedders.1.model.{name}"] = value.contiguous()
    save_file(tensors, path)
    return path


def _open_clip(tensors: dict[str, Any]) -> dict[str, Any]:
    """Returns the second text encoder's tensors by OpenCLIP's names."""
    renamed = {"text_projection": tensors["text_projection.weight"].T}
    for name, value in tensors.items():
        if name in _OPEN_CLIP:
            renamed[_OPEN_CLIP[name]] = value
        elif name.startswith("text_model.encoder.layers."):
            number, _, rest = name.removeprefix("text_model.encoder.layers.").partition(".")
            stem = f"transformer.resblocks.{number}"
            part, _, kind = rest.rpartition(".")
            if part in _OPEN_CLIP_LAYERS:
                renamed[f"{stem}.{_OPEN_CLIP_LAYERS[part]}.{kind}"] = value
            elif part == "self_attn.q_proj":
                fused = [tensors[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
                renamed[f"{stem}.attn.in_proj_{kind}"] = torch.cat(fused)
    return renamed


class StockXL(Stock):
    """The stock SDXL pipelines over the same folder."""

    def __init__(self, folder: Path) -> None:
        self.txt2img = StableDiffusionXLPipeline.from_pretrained(folder)
        self.txt2img.vae.enable_slicing()  # the engine decodes pictures one by one
        self.img2img = StableDiffusionXLImg2ImgPipeline(**self.txt2img.components)
        self.inpaint = StableDiffusionXLInpaintPipeline(**self.txt2img.components)
        for pipe in (self.txt2img, self.img2img, self.inpaint):
            pipe.set_progress_bar_config(disable=True)
        self.config = self.txt2img.scheduler.config
        self.nets = {
            path.name: ControlNetModel.from_pretrained(path)
            for path in sorted(folder.glob("controlnets/*"))
        }

    def _run(
        self,
        request: GenerationRequest,
        image: Image.Image | None,
        maps: Sequence[Image.Image] = (),
        mask: Image.Image | None = None,
        **changes: Any,
    ) -> Any:
        # Stock tells no negative prompt from an empty one; people's is never there and empty.
        changes = {"negative_prompt": request.negative_prompt or None} | changes
        changes |= {"clip_skip": request.clip_skip}
        return super()._run(request, image, maps, mask, **changes)

    def _control_pipe(self, request: GenerationRequest, *, is_img2img: bool) -> Any:
        nets = [self.nets[control.kind] for control in request.controls]
        cls = (
            StableDiffusionXLControlNetImg2ImgPipeline
            if is_img2img
            else StableDiffusionXLControlNetPipeline
        )
        pipe = cls(**self.txt2img.components, controlnet=nets[0] if len(nets) == 1 else nets)
        pipe.set_progress_bar_config(disable=True)
        return pipe
