"""Trains the pocket model from scratch: `python -m engine.pocket.train --work DIR`.

Stages: autoencoder, tokenizer, latents, U-Net with text encoder, decoder again. Each resumes from the work folder, so
the command may be killed and given again. Two processes of one thread each are the fastest on two cores.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from engine.pocket import export
from engine.pocket.autoencoder import (
    encode_latents,
    load_latents,
    train_autoencoder,
    train_decoder,
)
from engine.pocket.data import COUNTS
from engine.pocket.diffusion import train_diffusion
from engine.pocket.loop import Plan, Worker
from engine.pocket.parts import Sizes, build_vae
from engine.pocket.processes import run_processes
from engine.pocket.tokenizer import tokenizer_of


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
    start: Path | None = None  # a finished model to begin with


def run(rank: int, options: Options) -> None:
    """All stages, in one of the processes that train together."""
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
    other = load_latents(worker, options.counts, recoloured=True)
    rate = 1e-3 * (options.batch / 32) ** 0.5
    plan = Plan("unet", options.samples, options.batch, rate, checkpoint_every=20_000)
    train_diffusion(worker, plan, options.sizes, latents, other)
    plan = Plan("decoder", options.decoder_samples, 4, 1e-3, checkpoint_every=8_000)
    train_decoder(worker, vae, plan, latents)
    if rank == 0:
        export.save_part(vae, options.work / export.SHARP_VAE)


def train_all(options: Options) -> None:
    """Runs every stage to its end in `options.world` processes."""
    options.work.mkdir(parents=True, exist_ok=True)
    if options.start:
        export.begin_with(options.start, options.work)
    run_processes(options.world, run, options)


def main() -> None:
    """Reads the command line, trains and exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of checkpoints and latents"
    )
    parser.add_argument("--out", type=Path, help="folder for the finished model (default: none)")
    parser.add_argument("--samples", type=int, default=1_300_000, help="for the U-Net")
    parser.add_argument("--decoder-samples", type=int, default=10_000, help="pictures")
    parser.add_argument("--vae-samples", type=int, default=44_000, help="crops for the autoencoder")
    parser.add_argument("--batch", type=int, default=64, help="of one process")
    parser.add_argument("--processes", type=int, default=2, help="one thread each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument(
        "--start", type=Path, help="a finished model to begin with (default: from scratch)"
    )
    given = parser.parse_args()
    options = Options(
        given.work, given.samples, given.vae_samples, given.decoder_samples, given.batch, given.seed,
        given.processes, given.device, COUNTS, Sizes(), given.start,
    )  # fmt: skip
    train_all(options)
    if given.out:
        export.export_model(given.work, given.out, options.sizes)


if __name__ == "__main__":
    main()
