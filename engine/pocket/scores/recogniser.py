"""A small classifier of the renderer's pictures, the evaluation's judge of what a picture shows.

`python -m engine.pocket.scores.recogniser` trains it anew, in five to eight minutes on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from engine.pocket import MODEL_DIR
from engine.pocket.drawing import COLOURS
from engine.pocket.scenes import Scene
from engine.pocket.scores.examples import (
    BACKDROPS,
    CLASSES,
    SIDE,
    UNTOLD,
    Example,
    example,
    sample_picture,
    through_autoencoder,
)

Picture = tuple[Scene | None, Image.Image]

WEIGHTS = Path(__file__).with_name("recogniser.safetensors")
HEADS = (len(CLASSES), len(COLOURS), len(COLOURS), len(BACKDROPS))
WIDTHS = (20, 36, 48, 72, 56)
STRIDES = (2, 2, 1, 2, 1)
CELLS, CELL_WIDTH = (SIDE // 8) ** 2, 12  # where something is: trousers are below a shirt
BORDER = 3  # pixels


@dataclass(frozen=True)
class Seen:
    """What the recogniser sees; `colour` is that of the object or the shirt, `sure` the kind's probability."""

    kind: str  # one of the kinds, person, or none
    colour: str
    trousers: str  # means nothing unless `kind` is person
    background: str  # a colour or a setting
    sure: float


class Recogniser(nn.Module):
    """Five convolutions over SIDE x SIDE pixels and a head each for kind, colour, trousers and background.

    A fourth channel tells how far each pixel is from the border's colour: an outline is then the same picture
    in all colours, without which kinds take ten times as many examples.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 4
        for width, stride in zip(WIDTHS, STRIDES, strict=True):
            layers += [
                nn.Conv2d(before, width, 3, stride, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            before = width
        self.body = nn.Sequential(*layers)
        self.cells = nn.Conv2d(before, CELL_WIDTH, 1)
        self.heads = nn.Linear(CELL_WIDTH * CELLS + 2 * before, sum(HEADS))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits of the four heads for pixels (B, 3, SIDE, SIDE) in [-1, 1]."""
        edges = torch.cat([pixels[..., :BORDER, :], pixels[..., -BORDER:, :]], dim=2)
        sides = torch.cat([pixels[..., :BORDER], pixels[..., -BORDER:]], dim=3)
        border = torch.cat([edges.flatten(2), sides.flatten(2)], dim=2)
        base = border.median(dim=2).values[..., None, None]
        away = (pixels - base).square().sum(dim=1, keepdim=True).sqrt()
        found = self.body(torch.cat([pixels, away.clamp(max=1.0)], dim=1))
        pooled = torch.cat([found.mean(dim=(2, 3)), found.amax(dim=(2, 3))], dim=1)
        cells = self.cells(found).relu().flatten(1)
        return tuple(self.heads(torch.cat([cells, pooled], dim=1)).split(HEADS, dim=1))


def _tensor(pixels: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


@lru_cache(maxsize=1)
def load_recogniser(path: Path = WEIGHTS) -> Recogniser:
    """The committed recogniser.

    Raises:
        FileNotFoundError: There are no weights; the message says how to make them.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path.name}: python -m engine.pocket.scores.recogniser trains it."
        )
    recogniser = Recogniser()
    recogniser.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    recogniser.eval()
    return recogniser


@torch.no_grad()
def recognise(images: Sequence[Image.Image], recogniser: Recogniser | None = None) -> list[Seen]:
    """What each picture shows: an object crop, see `crop_of`, or a whole picture."""
    recogniser = recogniser or load_recogniser()
    seen: list[Seen] = []
    for start in range(0, len(images), 64):
        small = [
            image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
            for image in images[start : start + 64]
        ]
        logits = recogniser(_tensor([np.asarray(each) for each in small]))
        best = [head.argmax(dim=1).tolist() for head in logits]
        sure = logits[0].softmax(dim=1).amax(dim=1).tolist()
        names = tuple(COLOURS)
        seen += [
            Seen(CLASSES[k], names[c], names[t], BACKDROPS[b], p)
            for k, c, t, b, p in zip(*best, sure, strict=True)
        ]
    return seen


def _loss(recogniser: Recogniser, batch: Sequence[Example]) -> torch.Tensor:
    pixels = _tensor([each.pixels for each in batch])
    one = (len(batch), 1, 1, 1)
    pixels = pixels * torch.empty(len(batch), 3, 1, 1).uniform_(0.95, 1.05)
    pixels += torch.empty(len(batch), 3, 1, 1).uniform_(-0.05, 0.05)
    pixels += torch.randn_like(pixels) * torch.empty(one).uniform_(-0.1, 0.1).clamp_(min=0)
    logits = recogniser(pixels.clamp_(-1, 1))
    labels = torch.tensor([(e.kind, e.colour, e.trousers, e.backdrop) for e in batch]).unbind(1)
    losses = [
        functional.cross_entropy(found, truth, ignore_index=UNTOLD)
        for found, truth in zip(logits, labels, strict=True)
        if bool((truth != UNTOLD).any())
    ]
    return losses[0] + 0.5 * torch.stack(losses[1:]).sum()


def _through(model: Path, pictures: Sequence[Picture]) -> list[Picture]:
    """The same as the model's autoencoder gives them back, half of them with noise on the latents."""
    half = len(pictures) // 2
    back = through_autoencoder(model, [image for _, image in pictures[:half]])
    back += through_autoencoder(model, [image for _, image in pictures[half:]], noise=0.25)
    return [(scene, image) for (scene, _), image in zip(pictures, back, strict=True)]


def train(
    steps: int, batch: int, model: Path, *, pictures: int = 6000, fresh: int = 8, seed: int = 1
) -> Recogniser:
    """Trains on batches drawn from `pictures` pictures, each time with other noise and tints.

    With every step `fresh` of them are replaced by new ones, for what is seen too often is learned by heart. A third
    as many went through the autoencoder of `model`; these are dear and stay, each spoilt in two ways.
    """
    torch.manual_seed(seed)
    rng = Random(f"recogniser/{seed}")
    soft = _through(model, [sample_picture(rng) for _ in range(pictures // 3)])
    examples = [example(rng, *picture) for picture in (*soft, *soft)]
    lasting = len(examples)
    examples += [example(rng, *sample_picture(rng)) for _ in range(pictures)]
    recogniser = Recogniser()
    optimiser = torch.optim.AdamW(recogniser.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, steps, pct_start=0.15)
    for step in range(steps):
        for _ in range(fresh):
            examples[rng.randrange(lasting, len(examples))] = example(rng, *sample_picture(rng))
        loss = _loss(recogniser, rng.sample(examples, batch))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            print(f"recogniser: {step + 1} of {steps}, loss {loss.item():.3f}", flush=True)
    recogniser.eval()
    return recogniser


def main() -> None:
    """Reads the command line, trains and writes the weights in float16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--model", type=Path, default=MODEL_DIR, help="whose autoencoder spoils")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    recogniser = train(given.steps, given.batch, given.model)
    print(f"recogniser: trained in {time.perf_counter() - started:.0f} s")
    save_file({n: v.half().contiguous() for n, v in recogniser.state_dict().items()}, given.out)
    print(
        "recogniser: how right it is, `python -m engine.pocket.evaluate --categories judges` tells"
    )


if __name__ == "__main__":
    main()
