"""Tiny random safety checkers: the real class, with thresholds that tell given pictures apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import (
    StableDiffusionSafetyChecker,
    cosine_distance,
)
from PIL import Image
from transformers import CLIPConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SIDE = 32  # pixels that the checker sees
_FAR = 2.0  # a threshold that no cosine reaches


def write_checker(folder: Path, unsafe: Image.Image, safe: Image.Image, *, seed: int = 5) -> Path:
    """Writes a checker that flags the first picture and not the second, and returns its folder."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    vision = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2,
              "num_attention_heads": 4, "image_size": SIDE, "patch_size": 8}  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "vocab_size": 99}  # fmt: skip
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=16)
    checker = StableDiffusionSafetyChecker(config).eval()
    torch.set_rng_state(state)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    with torch.no_grad():
        pixels = processor([unsafe, safe], return_tensors="pt")["pixel_values"]
        embeds = checker.visual_projection(checker.vision_model(pixels)[1])
        near = float(cosine_distance(embeds[1:], embeds[:1]))
        assert near < 0.99, "the pictures are too much alike"
        checker.concept_embeds.copy_(embeds[:1].expand(17, -1))
        checker.concept_embeds_weights.fill_(_FAR)
        checker.concept_embeds_weights[3] = (1 + near) / 2
        checker.special_care_embeds_weights.fill_(_FAR)
    checker.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def found_by_diffusers(folder: Path, image: Image.Image) -> bool:
    """Whether the class itself finds the picture unsafe."""
    checker = StableDiffusionSafetyChecker.from_pretrained(folder).eval()
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    pixels = processor([image], return_tensors="pt")["pixel_values"]
    _, (is_unsafe,) = checker(clip_input=pixels, images=[np.asarray(image) / 255.0])
    return is_unsafe
