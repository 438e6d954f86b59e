"""Trains the pocket model from scratch: `python -m engine.pocket.train --work DIR`.

Stages: autoencoder, tokenizer, latents, U-Net with text encoder, decoder again. Each resumes from the work folder, so
the command may be killed and given again. Two processes of one thread each are the fastest on two cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.distributed as dist
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from torch.nn import functional

from engine.pocket import export
from engine.pocket.autoencoder import (
    encode_latents,
    load_latents,
    train_autoencoder,
    train_decoder,
)
from engine.pocket.captions import caption
from engine.pocket.data import (
    CATEGORIES,
    COUNTS,
    is_clear,
    phase_at,
    scene_of,
)
from engine.pocket.loop import Plan, State, Worker, train
from engine.pocket.parts import (
    TRAIN_STEPS,
    Sizes,
    build_scheduler,
    build_text_encoder,
    build_unet,
    build_vae,
)
from engine.pocket.tokenizer import MAX_TOKENS, tokenizer_of

SHORT_TOKENS = 32  # no caption is longer; three steps of four save the time of the padding
EMPTY_CAPTIONS = 0.1
PROBES = (
    "a red circle on a blue background",
    "a yellow star on a black background",
    "a green triangle on a white background",
    "a purple heart on an orange background",
    "a pink house on a cyan background",
    "a blue cat on a yellow background",
    "a red square and a blue ring on a white background",
    "a woman in a red shirt and blue trousers waving on a meadow",
)


@dataclass(frozen=True)
class Options:
    """What the command line decides."""

    work: Path
    samples: int
    vae_samples: int
    decoder_samples: int
    batch: int
    seed: int
    world: int
    device: str
    counts: dict[str, int]
    sizes: Sizes


def train_diffusion(worker: Worker, options: Options, latents: dict[str, torch.Tensor]) -> None:
    """Stage three: the U-Net and the text encoder learn to predict v from noisy latents and captions."""
    tokenizer = tokenizer_of(options.work)
    torch.manual_seed(options.seed)
    model = torch.nn.ModuleDict(
        {
            "text_encoder": build_text_encoder(options.sizes, tokenizer),
            "unet": build_unet(options.sizes),
        }
    ).to(worker.device)
    text_encoder, unet = model["text_encoder"], model["unet"]
    unet.set_attn_processor(AttnProcessor())
    clear = {
        category: [
            place
            for place in range(len(latents[category]))
            if is_clear(scene_of(worker.seed, category, worker.rank + place * worker.world))
        ]
        for category in ("single", "thing")
    }
    alpha_bar = build_scheduler().alphas_cumprod.to(worker.device)
    plan = Plan("unet", options.samples, options.batch, 1.2e-3, checkpoint_every=20_000)

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        rng = Random(f"{worker.seed}/unet/{step}/{worker.rank}")
        phase = phase_at(samples / options.samples)
        chosen, captions = [], []
        for category in rng.choices(CATEGORIES, phase.mix, k=plan.batch):
            if category in clear and rng.random() < phase.clear:
                place = rng.choice(clear[category])
            else:
                place = rng.randrange(len(latents[category]))
            chosen.append(latents[category][place])
            scene = scene_of(worker.seed, category, worker.rank + place * worker.world)
            captions.append("" if rng.random() < EMPTY_CAPTIONS else caption(scene, rng))
        length = MAX_TOKENS if step % 4 == 0 else SHORT_TOKENS
        tokens = tokenizer(
            captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids.to(worker.device)
        x_0 = torch.stack(chosen).float().to(worker.device)
        generator = worker.generator(plan.stage, step)
        noise = torch.randn(x_0.shape, generator=generator).to(worker.device)
        spread = torch.rand(plan.batch, generator=generator)  # stratified: one t in each slice
        share = ((torch.arange(plan.batch) + spread) / plan.batch).pow(phase.noisy)
        t = (share * TRAIN_STEPS).long().clamp_(max=TRAIN_STEPS - 1).to(worker.device)
        alpha = alpha_bar[t].sqrt()[:, None, None, None]
        sigma = (1 - alpha_bar[t]).sqrt()[:, None, None, None]
        with torch.autocast(worker.device.type, dtype=torch.bfloat16):
            context = text_encoder(tokens).last_hidden_state
            v = unet(alpha * x_0 + sigma * noise, t, context).sample
        return functional.mse_loss(v.float(), alpha * noise - sigma * x_0), plan.batch

    def show(samples: int) -> None:
        vae = build_vae(options.sizes)
        export.load_vae(vae, worker.work)
        pipe = StableDiffusionPipeline(
            vae.to(worker.device), text_encoder, tokenizer, unet, build_scheduler(),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        model.eval()
        sheet = export.contact_sheet(pipe, PROBES, steps=12, columns=4)
        model.train()
        sheet.save(worker.work / f"samples-{samples:07}.png")

    train(worker, plan, State(model, worker.work / "diffusion.safetensors"), loss_of, show)


def run(rank: int, options: Options, meeting_place: str) -> None:
    """All stages, in one of the processes that train together."""
    torch.set_num_threads(
        1
    )  # a second thread gains little and loses much beside another busy process
    torch.set_flush_denormal(True)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.world > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting_place}", rank=rank, world_size=options.world
        )
    worker = Worker(rank, options.world, options.work, torch.device(options.device), options.seed)
    final_vae = options.work / export.VAE
    torch.manual_seed(options.seed)
    vae = build_vae(options.sizes).to(worker.device)
    if final_vae.exists():
        export.load_part(vae, final_vae)
    else:
        plan = Plan("vae", options.vae_samples, 10, 1.2e-3, checkpoint_every=10_000)
        train_autoencoder(worker, vae, plan)
        if rank == 0:
            export.save_part(vae, final_vae)
    if rank == 0:
        tokenizer_of(options.work)
    if options.world > 1:
        dist.barrier()
    encode_latents(worker, vae, options.counts)
    latents = load_latents(worker, options.counts)
    train_diffusion(worker, options, latents)
    plan = Plan("decoder", options.decoder_samples, 4, 1e-3, checkpoint_every=8_000)
    train_decoder(worker, vae, plan, latents)
    if rank == 0:
        export.save_part(vae, options.work / export.SHARP_VAE)
    if options.world > 1:
        dist.destroy_process_group()


def train_all(options: Options) -> None:
    """Runs every stage to its end in `options.world` processes."""
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        meeting_place = str(Path(folder) / "meeting")
        if options.world == 1:
            threads = torch.get_num_threads()
            run(0, options, meeting_place)
            torch.set_num_threads(threads)
        else:
            torch.multiprocessing.spawn(run, (options, meeting_place), nprocs=options.world)


def main() -> None:
    """Reads the command line, trains and exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of checkpoints and latents"
    )
    parser.add_argument("--out", type=Path, help="folder for the finished model (default: none)")
    parser.add_argument("--samples", type=int, default=364_000, help="for the U-Net")
    parser.add_argument("--decoder-samples", type=int, default=10_000, help="pictures")
    parser.add_argument("--vae-samples", type=int, default=44_000, help="crops for the autoencoder")
    parser.add_argument("--batch", type=int, default=16, help="of one process")
    parser.add_argument("--processes", type=int, default=2, help="one thread each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    options = Options(
        given.work, given.samples, given.vae_samples, given.decoder_samples, given.batch, given.seed,
        given.processes, given.device, COUNTS, Sizes(),
    )  # fmt: skip
    train_all(options)
    if given.out:
        export.export_model(given.work, given.out, options.sizes)


if __name__ == "__main__":
    main()
