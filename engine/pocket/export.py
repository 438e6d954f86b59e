"""Writes a trained model as diffusers saves it: `python -m engine.pocket.export --work DIR --out DIR`."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from engine.pocket.parts import (
    Sizes,
    build_scheduler,
    build_text_encoder,
    build_unet,
    build_vae,
)
from engine.pocket.tokenizer import tokenizer_of

VAE, SHARP_VAE = "vae-final.safetensors", "vae-sharp.safetensors"
DIFFUSION = "diffusion.safetensors"
START = "start"  # folder of a finished model that a training begins with

SETTINGS: dict[str, str | int | float] = {
    "name": "pocket",
    "default_steps": 20,
    "default_guidance_scale": 5.5,
    "native_size": 128,
    "size_multiple": 32,
    "default_sampler": "dpmpp_2m",
    "default_negative_prompt": "",  # it never saw words such as "blurry": they would tint its colours
}
"""What the engine must know beside the weights; written to `easel.json`."""


def save_part(module: torch.nn.Module, path: Path) -> None:
    """Writes a module's weights; a kill leaves no half-written file under this name."""
    fresh = path.with_suffix(".new")
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, fresh)
    fresh.replace(path)


def load_part(module: torch.nn.Module, path: Path) -> None:
    """Reads what `save_part` wrote."""
    module.load_state_dict(load_file(path))


def load_vae(vae: torch.nn.Module, work: Path) -> None:
    """Reads the autoencoder, with its sharpened decoder once there is one."""
    sharp = work / SHARP_VAE
    load_part(vae, sharp if sharp.exists() else work / VAE)


def begin_with(model: Path, work: Path) -> None:
    """Lets a new work folder begin with a finished model's weights, and with fresh optimisers.

    A folder in which a training is under way is left alone.
    """
    if (work / VAE).exists() or (work / START).exists():
        return
    shutil.copytree(model / "tokenizer", work / "tokenizer", dirs_exist_ok=True)
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae", dtype=torch.float32)
    shutil.copytree(model, work / START)
    save_part(vae, work / VAE)


def build_diffusion(
    sizes: Sizes, tokenizer: CLIPTokenizer, work: Path | None = None
) -> torch.nn.ModuleDict:
    """Text encoder and U-Net, untrained, or with the weights that `begin_with` left in the work folder."""
    text_encoder, unet = build_text_encoder(sizes, tokenizer), build_unet(sizes)
    start = work and work / START
    if start and start.exists():
        for part, folder in ((text_encoder, "text_encoder"), (unet, "unet")):
            (file,) = (start / folder).glob("*.safetensors")
            part.load_state_dict({k: v.float() for k, v in load_file(file).items()})
    return torch.nn.ModuleDict({"text_encoder": text_encoder, "unet": unet})


def load_pipeline(work: Path, sizes: Sizes) -> StableDiffusionPipeline:
    """The model of the last checkpoint, with its averaged weights, in float32."""
    tokenizer = tokenizer_of(work)
    vae = build_vae(sizes)
    load_vae(vae, work)
    model = build_diffusion(sizes, tokenizer)
    text_encoder, unet = model["text_encoder"], model["unet"]
    with safe_open(work / DIFFUSION, "pt") as file, torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(file.get_tensor(f"ema.{name}"))
    return StableDiffusionPipeline(
        vae, text_encoder.eval(), tokenizer, unet.eval(), build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def export_model(work: Path, out: Path, sizes: Sizes) -> None:
    """Writes the model of the last checkpoint to `out` as float16 safetensors."""
    pipe = load_pipeline(work, sizes)
    pipe.to(torch.float16)
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    pipe.save_pretrained(fresh, safe_serialization=True)
    # transformers would load the text encoder in the precision of the file, diffusers the rest in float32
    config = fresh / "text_encoder" / "config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n"
    )
    (fresh / "easel.json").write_text(json.dumps(SETTINGS, indent=2) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


@torch.no_grad()
def contact_sheet(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    *,
    steps: int,
    columns: int,
    seed: int = 0,
) -> Image.Image:
    """One picture for each prompt, side by side."""
    pipe.set_progress_bar_config(disable=True)
    sheet = Image.new("RGB", (columns * 132, -(-len(prompts) // columns) * 132), (255, 255, 255))
    for i, prompt in enumerate(prompts):
        picture = pipe(
            prompt,
            num_inference_steps=steps,
            guidance_scale=float(SETTINGS["default_guidance_scale"]),
            generator=torch.Generator().manual_seed(seed + i),
        ).images[0]
        sheet.paste(picture, (i % columns * 132 + 2, i // columns * 132 + 2))
    return sheet


def main() -> None:
    """Reads the command line and exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    export_model(given.work, given.out, Sizes())


if __name__ == "__main__":
    main()
