"""Trains the pose detector, a small ViTPose: `python -m engine.pocket.pose_detector --work DIR --out DIR`.

It reads pictures of 128x128 at 96x96 and answers with heatmaps of COCO's 17 points. It is what the public
detectors are, so the same code of the engine runs both. The command may be killed and given again.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation
from transformers.models.vitpose.image_processing_pil_vitpose import (
    VitPoseImageProcessorPil,
    box_to_center_and_scale,
)

from engine.pocket import MODEL_DIR
from engine.pocket.loop import Plan, State, Worker, train
from engine.pocket.pose_pictures import (
    COCO,
    Box,
    Example,
    draw_example,
    person_box,
    plain_share,
    training_example,
)

CHECKPOINT = "pose.safetensors"
SOFT = "pose-soft.safetensors"


@dataclass(frozen=True)
class PoseSizes:
    """Sizes of the network; the defaults make the committed one.

    Attributes:
        side: Of the network's square input, in pixels.
        upsampling: Cells of the heatmap along one side of a patch.
    """

    side: int = 96
    patch: int = 8
    upsampling: int = 3
    width: int = 96
    layers: int = 4
    heads: int = 4

    @property
    def heatmap_side(self) -> int:
        """Cells along one side of a heatmap."""
        return self.side // self.patch * self.upsampling


TINY = PoseSizes(side=32, upsampling=2, width=16, layers=1, heads=2)
"""Small enough to try everything within seconds."""

SIGMA = 1.5
"""Deviation of a heatmap's peak, in cells."""

SHARPNESS = 12.0
"""A heatmap times this are the logarithms of a joint's chances to be in its cells."""


def build_detector(sizes: PoseSizes) -> VitPoseForPoseEstimation:
    """The network, untrained."""
    backbone = VitPoseBackboneConfig(
        image_size=[sizes.side, sizes.side],
        patch_size=[sizes.patch, sizes.patch],
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        out_indices=[sizes.layers],
        initializer_range=0.06,  # the usual 0.02 is meant for eight times the width
    )
    config = VitPoseConfig(
        backbone_config=backbone,
        scale_factor=sizes.upsampling,
        use_simple_decoder=True,
        id2label=dict(enumerate(COCO)),
        label2id={name: i for i, name in enumerate(COCO)},
        attn_implementation="eager",  # SDPA's backward is slow on the CPU
    )
    model = VitPoseForPoseEstimation(config)
    with torch.no_grad():
        model.backbone.embeddings.position_embeddings[0, 1:] = _waves(sizes)
    return model


def _waves(sizes: PoseSizes) -> torch.Tensor:
    """Sines and cosines of the patches' rows and columns, (patches, width).

    From these attention finds neighbours at once; from noise it has to learn first what lies beside what.
    """
    side, count = sizes.side // sizes.patch, sizes.width // 4
    frequencies = math.pi / side * 2 ** torch.linspace(0, math.log2(side), count)
    angles = torch.arange(side)[:, None] * frequencies  # (side, width / 4)
    half = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    rows, columns = half.repeat_interleave(side, 0), half.repeat(side, 1)
    return 0.5 * torch.cat([rows, columns], dim=1)


def build_processor(sizes: PoseSizes) -> VitPoseImageProcessorPil:
    """Cuts a person's box out and brings it to the network's size."""
    return VitPoseImageProcessorPil(size={"height": sizes.side, "width": sizes.side})


def heatmap_targets(
    examples: Sequence[Example], boxes: Sequence[Box], sizes: PoseSizes
) -> NDArray[np.float32]:
    """What the heatmaps (B, 17, H, W) should be: a peak of 1 at each point seen, nothing elsewhere.

    A point outside the picture gets an empty heatmap, so its score tells that it is not there.
    """
    side = sizes.heatmap_side
    cells = np.arange(side, dtype=np.float32)
    targets = np.zeros((len(examples), len(COCO), side, side), np.float32)
    for target, example, box in zip(targets, examples, boxes, strict=True):
        center, scale = box_to_center_and_scale(box, sizes.side, sizes.side)
        span = scale * 200.0  # pixels; the inverse of `transform_preds` in transformers
        places = (example.points - center + span / 2) * (side - 1) / span
        dx = np.exp(-((cells - places[:, :1]) ** 2) / (2 * SIGMA**2))  # (17, W)
        dy = np.exp(-((cells - places[:, 1:]) ** 2) / (2 * SIGMA**2))  # (17, H)
        inside = example.seen & (places >= -0.5).all(axis=1) & (places <= side - 0.5).all(axis=1)
        target[:] = dy[:, :, None] * dx[:, None, :] * inside[:, None, None]
    return targets


def heatmap_loss(heatmaps: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How far heatmaps (B, 17, H, W) are from what they should be.

    The squared error alone, as ViTPose is trained, stays long where every heatmap is the mean of all
    poses. The cross entropy of the places, sharpened, leads on from there; both are least where the
    heatmap is the target.
    """
    squares = (heatmaps - targets).square().sum(dim=(2, 3)).mean()
    places = (SHARPNESS * targets).flatten(2).softmax(dim=2)  # (B, 17, H W)
    there = targets.amax(dim=(2, 3)) > 0.5
    entropy = -(places * (SHARPNESS * heatmaps).flatten(2).log_softmax(dim=2)).sum(dim=2)
    return squares + (entropy * there).mean()


@torch.no_grad()
def make_soft(worker: Worker, count: int, model: Path = MODEL_DIR) -> list[Example]:
    """Draws examples as the pocket model's decoder would paint them, from latents with noise.

    They are made once and kept in the work folder. Without the pocket model there are none.
    """
    path = worker.work / SOFT
    if not path.exists():
        if not count or not (model / "vae").is_dir():
            return []
        vae = AutoencoderKL.from_pretrained(model, subfolder="vae", local_files_only=True)
        vae.to(worker.device).eval()
        examples = [draw_example(Random(f"{worker.seed}/soft/{i}")) for i in range(count)]
        pictures = [
            _through(vae, [e.image for e in examples[i : i + 16]], worker, i)
            for i in range(0, count, 16)
        ]
        tensors = {
            "images": torch.cat(pictures),
            "points": torch.from_numpy(np.stack([e.points for e in examples])),
            "seen": torch.from_numpy(np.stack([e.seen for e in examples])),
        }
        save_file(tensors, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    kept = {name: tensor.numpy() for name, tensor in load_file(path).items()}
    return [
        Example(Image.fromarray(image), points, seen)
        for image, points, seen in zip(kept["images"], kept["points"], kept["seen"], strict=True)
    ]


def _through(
    vae: AutoencoderKL, images: Sequence[Image.Image], worker: Worker, index: int
) -> torch.Tensor:
    """Encodes, adds up to 0.45 of the latents' deviation as noise, decodes: (B, H, W, 3), uint8."""
    generator = worker.generator("soft", index)
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    pixels = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 3, H, W)
    latents = vae.encode(pixels.to(worker.device)).latent_dist.mean.cpu()
    strength = 0.45 * torch.rand((len(images), 1, 1, 1), generator=generator)
    latents = latents + strength * latents.std() * torch.randn(latents.shape, generator=generator)
    decoded = vae.decode(latents.to(worker.device)).sample.cpu()
    return ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


def train_detector(
    worker: Worker, plan: Plan, sizes: PoseSizes, soft: Sequence[Example] = ()
) -> VitPoseForPoseEstimation:
    """Trains until the planned number of samples was seen; returns the averaged weights' network."""
    torch.manual_seed(worker.seed)
    model = build_detector(sizes).to(worker.device).train()
    processor = build_processor(sizes)
    state = State(model, worker.work / CHECKPOINT)

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        rng = Random(f"{worker.seed}/{plan.stage}/{step * worker.world + worker.rank}")
        examples = [training_example(rng, soft, plain_share(samples)) for _ in range(plan.batch)]
        boxes = [person_box(example, rng) for example in examples]
        pixels = processor(
            [e.image for e in examples], boxes=[[box] for box in boxes], return_tensors="pt"
        )["pixel_values"]
        targets = torch.from_numpy(heatmap_targets(examples, boxes, sizes)).to(worker.device)
        with torch.autocast(worker.device.type, dtype=torch.bfloat16):
            heatmaps = model(pixels.to(worker.device)).heatmaps
        return heatmap_loss(heatmaps.float(), targets), plan.batch

    train(worker, plan, state, loss_of)
    return load_checkpoint(worker.work, sizes)


def load_checkpoint(work: Path, sizes: PoseSizes) -> VitPoseForPoseEstimation:
    """The network of the last checkpoint, with its averaged weights, in float32."""
    model = build_detector(sizes)
    with safe_open(work / CHECKPOINT, "pt") as file, torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(file.get_tensor(f"ema.{name}"))
    return model.eval()


def export_detector(work: Path, out: Path, sizes: PoseSizes) -> None:
    """Writes the network of the last checkpoint to `out` as transformers does, in float16."""
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    load_checkpoint(work, sizes).half().save_pretrained(fresh)
    # Float16 is for the file; whoever loads it without saying more gets what a CPU computes well.
    config = fresh / "config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n"
    )
    build_processor(sizes).save_pretrained(fresh)
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


def main() -> None:
    """Reads the command line, trains and exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, help="folder for the finished detector (default: none)")
    parser.add_argument("--samples", type=int, default=36_000)
    parser.add_argument("--soft", type=int, default=1_200, help="pictures through the autoencoder")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    torch.set_num_threads(1)  # a second one gains little and loses much beside other work
    torch.set_flush_denormal(True)
    given.work.mkdir(parents=True, exist_ok=True)
    worker = Worker(0, 1, given.work, torch.device(given.device), given.seed)
    soft = make_soft(worker, given.soft)
    plan = Plan("pose", given.samples, given.batch, 2e-3, checkpoint_every=4_000, warm_up=100)
    train_detector(worker, plan, PoseSizes(), soft)
    if given.out:
        export_detector(given.work, given.out, PoseSizes())


if __name__ == "__main__":
    main()
