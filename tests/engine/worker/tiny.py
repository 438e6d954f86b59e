"""Tiny random Stable Diffusions in the standard folder layout: real classes, a few hundred kB."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

NATIVE = 64  # pixels; latents are 8x8
MERGES = ["r e", "re d</w>", "c a", "ca t</w>"]


def write_model(
    folder: Path, *, family: str = "sd15", seed: int = 0, pools_text: bool = False
) -> Path:
    """Writes an SD 1.5 (eps) or SD 2 (v-prediction) shaped model and returns its folder.

    `pools_text`: the U-Net also reads the pooled text, as the pocket model's does.
    """
    is_sd2 = family == "sd2"
    width = 24 if is_sd2 else 16  # of the text encoder
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=(2, 4) if is_sd2 else 2,
        use_linear_projection=is_sd2,
        norm_num_groups=4,
        addition_embed_type="text" if pools_text else None,
        addition_embed_type_num_heads=2,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=NATIVE,
    )
    vae.decoder.conv_out.weight.data *= 8  # enough contrast to count as a picture
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=600,
            hidden_size=width,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=598,
            eos_token_id=599,
            pad_token_id=599,
        )
    )
    torch.set_rng_state(generator_state)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    schedule |= {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    if is_sd2:
        scheduler = DDIMScheduler(prediction_type="v_prediction", **schedule)
    else:
        schedule.pop("clip_sample")
        scheduler = PNDMScheduler(skip_prk_steps=True, **schedule)
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    text_encoder.save_pretrained(folder / "text_encoder")
    scheduler.save_pretrained(folder / "scheduler")
    write_tokenizer(folder / "tokenizer")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", type(scheduler).__name__],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_controlnet(model: Path, kind: str, *, seed: int) -> Path:
    """Writes a random ControlNet for the model beside its weights and returns its folder."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 8))
    for name, parameter in net.named_parameters():
        if name.startswith(("controlnet_down", "controlnet_mid", "controlnet_cond")):
            parameter.data.normal_(std=0.3)  # trained ones begin at zero
    torch.set_rng_state(generator_state)
    net.save_pretrained(model / "controlnets" / kind)
    return model / "controlnets" / kind


def write_tokenizer(folder: Path) -> None:
    """Writes a CLIP tokenizer of bytes and two words, as vocab.json and merges.txt."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += [merge.replace(" ", "") for merge in MERGES]
    words += [f"<unused{i}>" for i in range(598 - len(words))]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]))
    config = {
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    CLIPTokenizer.from_pretrained(folder)  # fails here rather than in a test
