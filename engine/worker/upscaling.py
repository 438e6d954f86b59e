"""Pictures made larger: by Lanczos beside the loop, or by a Swin2SR, tile by tile between two steps.

A tile a tick: the device is the loop's, where graphs are recorded and memory is counted, and a whole picture
would hold everybody's steps up for a second on a GPU and for a minute on a CPU.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.errors import BrokenPictureError, InvalidRequestError, ModelLoadError
from engine.model_card import check_upscaler
from engine.words import N_
from engine.worker import hub, pixels
from engine.worker.faults import is_out_of_memory, retried

if TYPE_CHECKING:
    from engine.worker.encoding import Encoder
    from engine.worker.jobs import JobRun, PictureRun

log = logging.getLogger(__name__)

TILE = 128  # pixels a side of what the network sees at once; its windows divide it
MARGIN = 16  # of these on each side only help: neighbours overlap by two of them

FILES = ("config.json", "model.safetensors")
_UNUSABLE = N_(
    "The upscaler cannot be loaded; the operator of this bot has to look at the log. A creative upscale "
    "works without it."
)

Box = tuple[int, int, int, int]


def load(device: Any, source: str) -> Any:
    """Returns a Swin2SR from a folder as transformers saves it or the hub, in float32.

    It may run beside the loop's steps, and `from_pretrained` may not, see `engine.worker.controls`. Half
    precision would save little of so small a network, and some of its layers overflow in it.

    Raises:
        InvalidRequestError: It cannot be loaded; one sentence for the asker.
        RuntimeError: It does not fit into memory now, see `is_out_of_memory`.
    """
    from transformers.models.swin2sr.configuration_swin2sr import Swin2SRConfig
    from transformers.models.swin2sr.modeling_swin2sr import Swin2SRForImageSuperResolution

    try:
        folder = hub.transformers_folder(source, "Swin2SR", FILES)
        values = json.loads((folder / "config.json").read_text("utf-8"))
        check_upscaler(source, values)
        net = Swin2SRForImageSuperResolution(Swin2SRConfig(**values))
        file = folder / "model.safetensors"
        lacking = net.load_state_dict(load_file(file), strict=False).missing_keys
        if lacking:
            raise ValueError(f"{file} has no {lacking[0]}")
        net.file_hash = _hash(file)
        return net.to(device, torch.float32).eval()
    except ModelLoadError as error:
        log.error("%s", error)
        raise InvalidRequestError(_UNUSABLE) from error
    # What the hub's client and transformers' strict configurations raise has no common base.
    except (SafetensorError, Exception) as error:
        if is_out_of_memory(error):
            raise
        log.exception("The upscaler %s cannot be loaded.", source)
        raise InvalidRequestError(_UNUSABLE) from error


class Enlarging:
    """One picture on its way through the network, as often as its size needs.

    Attributes:
        net: The Swin2SR.
        total: Tiles of all passes.
        done: Tiles that were made.
    """

    def __init__(self, net: Any, picture: Image.Image, size: tuple[int, int]) -> None:
        """Plans the passes.

        Args:
            net: From `load`.
            picture: RGB.
            size: What it becomes, (width, height); what the passes do not meet, Lanczos does.
        """
        self.net = net
        self._size = size
        self._scale = int(net.config.upscale)
        self._values = np.asarray(picture)  # (H, W, 3)
        needed = max(size[0] / picture.width, size[1] / picture.height)
        self._passes = 0
        while self._scale**self._passes < needed:
            self._passes += 1
        self.total = sum(
            len(_tiles(picture.width * self._scale**n, picture.height * self._scale**n))
            for n in range(self._passes)
        )
        self.done = 0
        self._work = self._run()

    @property
    def is_done(self) -> bool:
        """True when no tile is left."""
        return self.done >= self.total

    def step(self) -> None:
        """Makes the next tile.

        Raises:
            BrokenPictureError: The network's numbers are not finite.
            RuntimeError: It does not fit into memory; the same tile may be tried again.
        """
        whole, kept = next(self._work)
        try:
            made = self._enlarge(whole)
        except Exception:
            self._work = _again((whole, kept), self._work)
            raise
        s = self._scale
        (left, top, right, bottom), (x, y) = kept, whole[:2]
        part = made[(top - y) * s : (bottom - y) * s, (left - x) * s : (right - x) * s]
        self._into[top * s : bottom * s, left * s : right * s] = part
        self.done += 1

    def result(self) -> Image.Image:
        """Returns the picture when all tiles are made."""
        for _ in self._work:
            raise RuntimeError("tiles are left")
        return pixels.resize(Image.fromarray(self._values), self._size)

    def _run(self) -> Iterator[tuple[Box, Box]]:
        for _ in range(self._passes):
            height, width = self._values.shape[:2]
            self._into = np.empty((height * self._scale, width * self._scale, 3), np.uint8)
            yield from _tiles(width, height)
            self._values = self._into

    @torch.no_grad()
    def _enlarge(self, box: Box) -> Any:
        """Returns the larger pixels (H, W, 3) of a part, uint8."""
        left, top, right, bottom = box
        part = self._values[top:bottom, left:right]
        height, width = part.shape[:2]
        # To the next window and never none, as the network was trained. By itself it pads too late: its
        # tokens then are more than it expects.
        window = int(self.net.config.window_size)
        pads = ((0, window - height % window), (0, window - width % window), (0, 0))
        padded = np.pad(part, pads, mode="symmetric").astype(np.float32) / 255.0
        values = torch.from_numpy(padded.transpose(2, 0, 1)[None])  # (1, 3, H, W)
        made = self.net(values.to(next(self.net.parameters()).device)).reconstruction
        made = made[0, :, : height * self._scale, : width * self._scale]
        if not torch.isfinite(made).all():
            raise BrokenPictureError("The upscaler gave numbers that are no picture.")
        return pixels.to_levels(made.permute(1, 2, 0) * 2.0 - 1.0).cpu().numpy()


class Upscaling:
    """All pictures that are only made larger; it belongs to the loop's thread."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        fail: Callable[[JobRun, Exception], None],
        reclaim: Callable[[], int],
    ) -> None:
        """Starts with none.

        Args:
            encoder: Takes the finished ones, and resizes beside the loop.
            fail: Ends a job with an error.
            reclaim: Frees memory that nobody needs now.
        """
        self._encoder = encoder
        self._fail = fail
        self._reclaim = reclaim
        self._waiting: deque[PictureRun] = deque()

    @property
    def has_work(self) -> bool:
        """True when a tile is left to make."""
        return bool(self._waiting)

    def jobs(self) -> list[JobRun]:
        """Returns the jobs whose pictures have tiles left."""
        return [picture.job for picture in self._waiting]

    def add(self, picture: PictureRun) -> None:
        """Takes a picture in."""
        if picture.enlarging is None:
            self._encoder.run(self._resize, picture)
        elif picture.enlarging.is_done:
            self._encoder.run(self._finish, picture)
        else:
            self._waiting.append(picture)

    def tick(self) -> None:
        """Makes one tile of the picture whose last one is longest ago."""
        picture = self._waiting.popleft()
        work = picture.enlarging
        if picture.job.has_ended or work is None:
            return
        try:
            retried(work.step, self._reclaim)
        except Exception as error:
            self._fail(picture.job, error)
            return
        self._encoder.progress(picture.job)
        self.add(picture)

    def _resize(self, picture: PictureRun) -> None:
        """Runs beside the loop: Lanczos on the CPU, while others are denoised."""
        try:
            image = pixels.resize(pixels.decode_image(picture.job.source or b""), picture.size)
        except Exception as error:
            self._fail(picture.job, error)
        else:
            self._encoder.add(picture, image)

    def _finish(self, picture: PictureRun) -> None:
        """Runs beside the loop."""
        assert picture.enlarging is not None
        self._encoder.add(picture, picture.enlarging.result())


def _tiles(width: int, height: int) -> list[tuple[Box, Box]]:
    """Returns of each tile what the network sees of the picture, and what is kept of it."""
    return [
        ((left, top, right, bottom), (first, begin, last, end))
        for top, bottom, begin, end in _spans(height)
        for left, right, first, last in _spans(width)
    ]


def _spans(length: int) -> list[tuple[int, int, int, int]]:
    """Returns of each tile along one side its start and end, and those of its kept part."""
    spans = []
    start = 0
    while True:
        end = min(start + TILE, length)
        kept = end if end == length else end - MARGIN
        spans.append((start, end, start + MARGIN if start else 0, kept))
        if end == length:
            return spans
        start += TILE - 2 * MARGIN


def _again(first: tuple[Box, Box], rest: Iterator[tuple[Box, Box]]) -> Iterator[tuple[Box, Box]]:
    yield first
    yield from rest


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:10]
