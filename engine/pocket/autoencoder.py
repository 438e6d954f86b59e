"""Stage one: the autoencoder, trained on crops and then on whole pictures, and the latents it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn import functional

from engine.pocket.data import CATEGORIES, RECOLOURED, recoloured_scene_of, scene_of
from engine.pocket.filters import STYLES
from engine.pocket.loop import Plan, State, Worker, train
from engine.pocket.scenes import SIZE, Scene, render, sample_scene

CROP = 64
WHOLE_FROM = 0.8  # of the samples; from here on whole pictures, a quarter as many
KL_WEIGHT = 1e-3
LATENT_NOISE = 0.06  # of latents whose standard deviation is 1
STYLED = 0.3  # share of the decoder's pictures that a style's filter went over


def to_tensor(pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Stacks RGB pictures (H, W, 3) of bytes to (B, 3, H, W) in [-1, 1]."""
    stack = torch.from_numpy(np.stack(pictures))
    return stack.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _crops(rng: Random, batch: int) -> torch.Tensor:
    pictures: list[NDArray[np.uint8]] = []
    while len(pictures) < batch:
        category = rng.choices(CATEGORIES, (1, 2, 2, 1, 4))[0]
        picture = np.asarray(render(sample_scene(rng, category)).image)
        for _ in range(2):
            y, x = rng.randrange(SIZE - CROP + 1), rng.randrange(SIZE - CROP + 1)
            crop = picture[y : y + CROP, x : x + CROP]
            if crop.std() > 6:  # a plain crop teaches nothing
                pictures.append(crop)
                break
    return to_tensor(pictures)


def _whole(rng: Random, batch: int) -> torch.Tensor:
    categories = rng.choices(CATEGORIES, (2, 2, 2, 1, 3), k=batch)
    return to_tensor([np.asarray(render(sample_scene(rng, c)).image) for c in categories])


def picture_loss(error: torch.Tensor) -> torch.Tensor:
    """L1 + MSE + half the L1 of the gradients: outlines weigh more than areas."""
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + error.square().mean() + 0.5 * slopes


def reconstruction_loss(
    vae: AutoencoderKL, pixels: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """The loss of a picture that went through the latents, and a little KL."""
    with torch.autocast(pixels.device.type, dtype=torch.bfloat16):
        posterior = vae.encode(pixels).latent_dist
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
    decoded = decoded.float()
    mean, log_var = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).mean()
    return picture_loss(decoded - pixels) + KL_WEIGHT * kl


def train_autoencoder(worker: Worker, vae: AutoencoderKL, plan: Plan) -> None:
    """Trains the autoencoder and leaves its averaged, normalised weights in `vae`."""
    state = State(vae, worker.work / "vae.safetensors")

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        rng = Random(f"{worker.seed}/vae/{step}/{worker.rank}")
        whole = samples >= WHOLE_FROM * plan.samples
        pixels = _whole(rng, max(plan.batch // 4, 1)) if whole else _crops(rng, plan.batch)
        side = pixels.shape[-1] // 8
        noise = torch.randn(
            (len(pixels), 4, side, side), generator=worker.generator(plan.stage, step)
        )
        count = plan.batch  # a whole picture counts as four crops
        return reconstruction_loss(vae, pixels.to(worker.device), noise.to(worker.device)), count

    def report(samples: int) -> None:
        worker.say(f"vae: {psnr(vae, worker.device):.1f} dB on new pictures")

    train(worker, plan, state, loss_of, report)
    state.swap_average()
    normalise(vae, worker.device)


def train_decoder(
    worker: Worker, vae: AutoencoderKL, plan: Plan, latents: dict[str, torch.Tensor]
) -> None:
    """Goes on with the decoder alone: outlines get sharper while the U-Net's latents stay what they are.

    The latents get a little noise, so that the decoder forgives the small errors of generated ones. Some
    pictures are in the styles: of twelve flat colours alone it learns to paint sepia as pink and green.
    """
    looks = [style.look for style in STYLES.values()]
    decoder = torch.nn.ModuleDict({"decoder": vae.decoder, "post": vae.post_quant_conv})
    state = State(decoder, worker.work / "decoder.safetensors")

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        rng = Random(f"{worker.seed}/decoder/{step}/{worker.rank}")
        chosen, pictures = [], []
        for category in rng.choices(CATEGORIES, (2, 2, 2, 1, 3), k=plan.batch):
            place = rng.randrange(len(latents[category]))
            scene = scene_of(worker.seed, category, worker.rank + place * worker.world)
            latent, picture = latents[category][place].float(), render(scene).image
            if rng.random() < STYLED:
                picture = rng.choice(looks)(picture)
                with torch.no_grad():
                    pixels = to_tensor([np.asarray(picture)]).to(worker.device)
                    latent = vae.encode(pixels).latent_dist.mean[0].cpu()
            chosen.append(latent)
            pictures.append(np.asarray(picture))
        z = torch.stack(chosen)
        z += LATENT_NOISE * torch.randn(z.shape, generator=worker.generator(plan.stage, step))
        pixels = to_tensor(pictures).to(worker.device)
        with torch.autocast(worker.device.type, dtype=torch.bfloat16):
            decoded = decoder["decoder"](decoder["post"](z.to(worker.device)))
        return picture_loss(decoded.float() - pixels), plan.batch

    def report(samples: int) -> None:
        worker.say(f"decoder: {psnr(vae, worker.device):.1f} dB on new pictures")

    train(worker, plan, state, loss_of, report)
    state.swap_average()


@torch.no_grad()
def psnr(vae: AutoencoderKL, device: torch.device, count: int = 16) -> float:
    """Peak signal-to-noise ratio of decoded pictures that were not trained on, in decibels."""
    pixels = _whole(Random("psnr"), count).to(device)
    decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    error = functional.mse_loss(decoded, pixels, reduction="none").mean(dim=(1, 2, 3)) / 4
    return float((-10 * error.log10()).mean())


@torch.no_grad()
def normalise(vae: AutoencoderKL, device: torch.device) -> None:
    """Folds a shift and scale into the 1x1 convolutions: each latent channel gets mean 0 and variance 1.

    The stock pipelines know one scaling factor only; a channel whose mean is not 0 would keep it
    through the noise and bias the colours.
    """
    latents = torch.cat([
        vae.encode(_whole(Random(f"normalise/{i}"), 32).to(device)).latent_dist.mean
        for i in range(8)
    ])  # fmt: skip
    mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(dim=1)
    post.weight *= std[None, :, None, None]
    quant.weight[:4] /= std[:, None, None, None]
    quant.bias[:4] = (quant.bias[:4] - mean) / std
    quant.bias[4:] -= 2 * std.log()


@torch.no_grad()
def encode_latents(worker: Worker, vae: AutoencoderKL, counts: dict[str, int]) -> None:
    """Encodes this process's share of each category's pictures, and some of them in other colours."""
    for category, count in counts.items():
        _encode(worker, vae, latents_file(worker, category), category, count, scene_of)
        other = latents_file(worker, category, recoloured=True)
        _encode(worker, vae, other, category, count // RECOLOURED, recoloured_scene_of)


def _encode(
    worker: Worker,
    vae: AutoencoderKL,
    path: Path,
    category: str,
    count: int,
    scene: Callable[[int, str, int], Scene],
) -> None:
    if path.exists():
        return
    parts = []
    for start in range(worker.rank, count, worker.world * 64):
        indices = range(start, min(start + worker.world * 64, count), worker.world)
        drawings = [render(scene(worker.seed, category, i)) for i in indices]
        pixels = to_tensor([np.asarray(d.image) for d in drawings]).to(worker.device)
        with torch.autocast(worker.device.type, dtype=torch.bfloat16):
            parts.append(vae.encode(pixels).latent_dist.mean.half().cpu().contiguous())
    fresh = path.with_suffix(".new")
    save_file({"latents": torch.cat(parts).contiguous()}, fresh)
    fresh.replace(path)
    worker.say(f"latents: {count:,} for {path.stem}")


def latents_file(worker: Worker, category: str, *, recoloured: bool = False) -> Path:
    """Where a process keeps its share of a category's latents."""
    name = "recoloured" if recoloured else "latents"
    return worker.work / f"{name}-{category}-{worker.rank}.safetensors"


def load_latents(
    worker: Worker, counts: dict[str, int], *, recoloured: bool = False
) -> dict[str, torch.Tensor]:
    """This process's latents by category, float16 (N, 4, 16, 16); the i-th is scene `rank + i * world`."""
    return {
        category: load_file(latents_file(worker, category, recoloured=recoloured))["latents"]
        for category in counts
    }
