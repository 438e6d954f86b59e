"""Trains a ControlNet against the finished U-Net: `python -m engine.pocket.controlnets --work DIR --kind KIND`.

The U-Net, the text encoder and the autoencoder stay as they are; what is learned is a copy of the U-Net's
encoder that reads the control picture. The command may be killed and given again.
"""

from __future__ import annotations

import argparse
import inspect
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional

from engine.pocket import export
from engine.pocket.captions import canonical_caption, caption
from engine.pocket.data import scene_of
from engine.pocket.diffusion import length_at, noise_and_times, noisy_batch, tokens_of
from engine.pocket.hints import MIXES, hint_of
from engine.pocket.loop import Plan, State, Worker, train
from engine.pocket.parts import Sizes
from engine.pocket.processes import run_processes
from engine.pocket.scenes import SIZE, sample_scene

HINT_CHANNELS = (8, 16, 32, 48)
HINT_STD = 0.05
EMPTY_CAPTIONS = 0.3  # so that the control alone decides the layout
NOISY = 0.6  # exponent of the time: more of the noisy times, where the layout is decided
LEARNING_RATE = 1e-3
WARM_UP_STEPS = 100
CHECKPOINT_EVERY = 8_000
PREVIEW_STEPS = 12
SAMPLES = {"openpose": 60_000, "canny": 32_000, "depth": 24_000, "segmentation": 24_000}


@dataclass(frozen=True)
class Options:
    """What the command line decides."""

    work: Path
    kind: str
    samples: int
    batch: int
    seed: int
    world: int
    device: str
    sizes: Sizes


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet with the U-Net's own encoder.

    `ControlNetModel.from_unet` forgets the number of heads that pool the text, so the parts are put
    together here.
    """
    known = inspect.signature(ControlNetModel.__init__).parameters
    shared = {name: value for name, value in unet.config.items() if name in known}
    controlnet = ControlNetModel(**shared, conditioning_embedding_out_channels=HINT_CHANNELS)
    for part in ("conv_in", "time_embedding", "add_embedding", "down_blocks", "mid_block"):
        getattr(controlnet, part).load_state_dict(getattr(unet, part).state_dict())
    # Behind the zero convolutions of the outputs a zero here would hold the hint back for long.
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=HINT_STD)
    return controlnet


class Examples:
    """Draws captions, latents and hints, each by step, process and seed alone, so that a run resumes exactly."""

    def __init__(self, worker: Worker, kind: str) -> None:
        """With all latents of the work folder that this kind is shown, whichever process made them."""
        self._seed, self._kind, self._mix = worker.seed, kind, MIXES[kind]
        self._latents: dict[str, list[torch.Tensor]] = {}
        for category in self._mix:
            paths = sorted(worker.work.glob(f"latents-{category}-*.safetensors"))
            if not paths:
                raise FileNotFoundError(f"{worker.work} has no latents of {category}; train first.")
            self._latents[category] = [load_file(path)["latents"] for path in paths]

    def draw(self, rng: Random, count: int) -> tuple[list[str], torch.Tensor, torch.Tensor]:
        """Captions, latents (B, 4, 16, 16) and hints (B, 3, 128, 128) in [0, 1], as float32."""
        captions, latents, hints = [], [], []
        for category in rng.choices(list(self._mix), list(self._mix.values()), k=count):
            shares = self._latents[category]
            share = rng.randrange(len(shares))
            place = rng.randrange(len(shares[share]))
            scene = scene_of(self._seed, category, share + place * len(shares))
            captions.append("" if rng.random() < EMPTY_CAPTIONS else caption(scene, rng))
            latents.append(shares[share][place])
            hints.append(hint_of(self._kind, scene, rng))
        return captions, torch.stack(latents).float(), hint_tensor(hints)


def hint_tensor(hints: list[Image.Image]) -> torch.Tensor:
    """Stacks RGB control pictures to (B, 3, H, W) in [0, 1], as the pipelines do."""
    stack = torch.from_numpy(np.stack([np.asarray(hint) for hint in hints]))
    return stack.permute(0, 3, 1, 2).float().div_(255)


def checkpoint_of(work: Path, kind: str) -> Path:
    """Where the training of a kind keeps its state."""
    return work / f"control-{kind}.safetensors"


def train_controlnet(worker: Worker, plan: Plan, kind: str, sizes: Sizes) -> None:
    """Trains until the plan's number of samples against the averaged weights of the work folder's U-Net."""
    torch.manual_seed(worker.seed)
    pipe = export.load_pipeline(worker.work, sizes).to(worker.device)
    tokenizer, text_encoder, unet = pipe.tokenizer, pipe.text_encoder, pipe.unet
    for part in (text_encoder, unet, pipe.vae):
        part.requires_grad_(False)
    controlnet = build_controlnet(unet).to(worker.device).train()
    for part in (controlnet, unet):
        part.set_attn_processor(AttnProcessor())  # SDPA's backward is slow on the CPU
    examples = Examples(worker, kind)
    alpha_bar = pipe.scheduler.alphas_cumprod

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        rng = Random(f"{worker.seed}/{plan.stage}/{step}/{worker.rank}")
        captions, x_0, hints = examples.draw(rng, plan.batch)
        tokens = tokens_of(tokenizer, captions, length_at(step)).to(worker.device)
        noise, share = noise_and_times(x_0, NOISY, worker.generator(plan.stage, step))
        unchanged = torch.zeros_like(x_0)
        batch = noisy_batch(x_0, unchanged, noise, share, torch.zeros(plan.batch), alpha_bar)
        x_t, t, v = (each.to(worker.device) for each in batch)
        with torch.autocast(worker.device.type, dtype=torch.bfloat16):
            with torch.no_grad():
                context = text_encoder(tokens).last_hidden_state
            down, mid = controlnet(x_t, t, context, hints.to(worker.device), return_dict=False)
            predicted = unet(
                x_t,
                t,
                context,
                down_block_additional_residuals=down,
                mid_block_additional_residual=mid,
            ).sample
        return functional.mse_loss(predicted.float(), v), plan.batch

    def show(samples: int) -> None:
        controlnet.eval()
        sheet = preview(pipe, controlnet, kind)
        controlnet.train()
        sheet.save(worker.work / f"control-{kind}-{samples:07}.png")

    train(worker, plan, State(controlnet, checkpoint_of(worker.work, kind)), loss_of, show)


@torch.no_grad()
def preview(
    pipe: StableDiffusionPipeline, controlnet: ControlNetModel, kind: str, count: int = 8
) -> Image.Image:
    """Hints above what comes of them, for scenes that are not trained on."""
    categories = list(MIXES[kind])
    scenes = [
        sample_scene(Random(f"preview/{i}"), categories[i % len(categories)], held_out=True)
        for i in range(count)
    ]
    hints = [hint_of(kind, scene) for scene in scenes]
    pictures = with_control(pipe, controlnet)(
        [canonical_caption(scene) for scene in scenes],
        image=hints,
        num_inference_steps=PREVIEW_STEPS,
        guidance_scale=float(export.SETTINGS["default_guidance_scale"]),
        generator=[torch.Generator().manual_seed(i) for i in range(count)],
    ).images
    sheet = Image.new("RGB", (count * (SIZE + 4), 2 * (SIZE + 4)), (255, 255, 255))
    for i, column in enumerate(zip(hints, pictures, strict=True)):
        for row, picture in enumerate(column):
            sheet.paste(picture, (i * (SIZE + 4) + 2, row * (SIZE + 4) + 2))
    return sheet


def with_control(
    pipe: StableDiffusionPipeline, controlnet: ControlNetModel
) -> StableDiffusionControlNetPipeline:
    """The stock pipeline with these parts and this ControlNet."""
    controlled = StableDiffusionControlNetPipeline(
        **pipe.components, controlnet=controlnet, requires_safety_checker=False
    )
    controlled.set_progress_bar_config(disable=True)
    return controlled


def export_controlnet(work: Path, kind: str, sizes: Sizes, out: Path) -> None:
    """Writes the last checkpoint's averaged weights to `out/kind` as float16 safetensors."""
    controlnet = build_controlnet(export.load_pipeline(work, sizes).unet)
    with safe_open(checkpoint_of(work, kind), "pt") as file, torch.no_grad():
        for name, parameter in controlnet.named_parameters():
            parameter.copy_(file.get_tensor(f"ema.{name}"))
    folder, fresh = out / kind, out / f"{kind}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    controlnet.half().save_pretrained(fresh, safe_serialization=True)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def run(rank: int, options: Options) -> None:
    """The training in one of the processes that train together."""
    device = torch.device(options.device)
    worker = Worker(rank, options.world, options.work, device, options.seed)
    plan = Plan(
        f"control-{options.kind}", options.samples, options.batch, LEARNING_RATE,
        checkpoint_every=CHECKPOINT_EVERY, warm_up=WARM_UP_STEPS,
    )  # fmt: skip
    train_controlnet(worker, plan, options.kind, options.sizes)


def main() -> None:
    """Reads the command line, trains and exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="of engine.pocket.train")
    parser.add_argument("--kind", required=True, choices=MIXES)
    parser.add_argument("--out", type=Path, help="folder of the finished ones (default: none)")
    parser.add_argument("--samples", type=int, help=f"default: {SAMPLES}")
    parser.add_argument("--batch", type=int, default=16, help="of one process")
    parser.add_argument("--processes", type=int, default=1, help="one thread each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=2026, help="the one that the U-Net began with")
    given = parser.parse_args()
    options = Options(
        given.work, given.kind, given.samples or SAMPLES[given.kind], given.batch, given.seed,
        given.processes, given.device, Sizes(),
    )  # fmt: skip
    run_processes(options.world, run, options)
    if given.out:
        export_controlnet(options.work, options.kind, options.sizes, given.out)


if __name__ == "__main__":
    main()
