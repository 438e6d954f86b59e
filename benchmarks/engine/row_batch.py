"""This engine in the benchmark's own process: the row-batch loop, fed as the bot's queue feeds it."""

from __future__ import annotations

import io
import queue
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.engine.contender import Listener
from benchmarks.engine.models import Studio
from benchmarks.engine.trace import Job
from engine import protocol
from engine.model_card import engine_info
from engine.protocol import Frame
from engine.settings import EngineSettings
from engine.types import MAX_IMAGES, EngineInfo
from engine.worker import buckets, knee, machine, pixels
from engine.worker.jobs import JobRun
from engine.worker.loop import RowLoop
from engine.worker.models import Model, load_model


def load(studio: Studio, device: str, dtype: str) -> tuple[Model, EngineInfo]:
    """Loads the model as the engine process does, and measures its knee."""
    settings = EngineSettings.model_validate(
        {"model": str(studio.model), "device": device, "dtype": dtype}
    )
    model = load_model(settings, lambda stage, fraction: None)
    info = engine_info(
        model.card,
        model_hash=model.model_hash,
        max_rows=knee.measure_knee(model)[0],
        device=str(model.device),
        device_name=machine.device_name(model.device),
        dtype=dtype,
        memory_bytes=0,
        versions=machine.versions(),
        control_kinds=tuple(path.name for path in studio.controlnets.iterdir()),
    )
    return model, info


class RowBatch:
    """A loop with its own caches over a model that others may use, too."""

    keep_pixels = False

    def __init__(
        self,
        name: str,
        studio: Studio,
        model: Model,
        info: EngineInfo,
        *,
        is_alone: bool = False,
        preview_interval_s: float = 1.5,
    ) -> None:
        """Prepares an idle loop; `is_alone` runs one job at a time."""
        self.name = name
        self.listener = Listener()
        self._studio = studio
        self._model = model
        self._info = info
        self._is_alone = is_alone
        self._waiting: deque[Job] = deque()
        self._rows: dict[str, int] = {}  # of each job that was handed over
        self._failures: list[Mapping[str, Any]] = []
        self._runs: dict[str, JobRun] = {}
        self._inbox: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        row_limit = max(info.max_rows, 2 * MAX_IMAGES)  # as in `engine.worker.__main__`
        self.loop = RowLoop(
            model,
            info,
            self._receive,
            self._inbox,
            row_limit=row_limit,
            preview_interval_s=preview_interval_s,
            control_sources={path.name: str(path) for path in studio.controlnets.iterdir()},
            control_bytes=3000 << 20,
            adapter_bytes=1000 << 20,
            buckets=buckets.choose("auto", row_limit, on_gpu=model.device.type == "cuda"),
        )

    def submit(self, job: Job) -> None:
        """Takes a job in; it waits outside of the loop, as in the bot's queue."""
        self._waiting.append(job)

    def work(self) -> bool:
        """Hands over the jobs that there is room for, then runs one tick.

        Raises:
            RuntimeError: A job failed.
        """
        if self._failures:
            raise RuntimeError(f"{self.name}: {self._failures}")
        while self._waiting and self._has_room():
            self._hand_over(self._waiting.popleft())
        while not self._inbox.empty():
            self.loop.handle(self._inbox.get())
        if self.keep_pixels:
            self._runs.update({job.job_id: job for job in self.loop.jobs()})
        if self.loop.has_work:
            self.loop.tick()
            return True
        if not self.loop.is_idle:  # a job waits for its LoRAs
            self.loop.handle(self._inbox.get())
            return True
        return bool(self._waiting)

    def settle(self) -> None:
        """Waits for the encoders."""
        self.loop.encoder.drain()

    def pixels(self, job_id: str) -> Any:
        """Returns a finished job's picture (3, H, W) in [-1, 1]."""
        (picture,) = self._runs.pop(job_id).pictures
        decoded = pixels.decode(self._model, picture.latents)[0]
        return decoded.float().clamp(-1, 1).cpu()

    def _has_room(self) -> bool:
        """The rule of `engine.queue`: what the knee says and one job more."""
        if self._is_alone:
            return self.loop.is_idle
        rows = sum(self._rows[job_id] for job_id in self.loop.waiting_ids())
        for job in self.loop.jobs():
            if not all(picture.is_denoised for picture in job.pictures):
                rows += job.request.rows
        return rows <= self._info.max_rows

    def _hand_over(self, job: Job) -> None:
        files = self._studio.loras
        self._rows[job.id] = job.request.rows
        fields = {
            "job_id": job.id,
            "request": protocol.pack(job.request),
            "images": list(job.images),
            "adapters": [(a.sha256, str(files[a.sha256])) for a in job.request.adapters],
        }
        self.loop.handle(Frame("generate", fields, tuple(job.images.values())))

    def _receive(self, kind: str, fields: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Takes what would go to the bot; any thread of the loop calls it."""
        protocol.encode(kind, fields, blobs)  # it costs the engine's process the same
        match kind:
            case "progress" if blobs:
                self.listener.preview(str(fields["job_id"]), blobs[0])
            case "picture":
                self.listener.picture(str(fields["job_id"]), blobs[0])
            case "failed":
                self._failures.append(fields)


def levels(png: bytes) -> Any:
    """Returns a PNG's grey levels, (H, W, 3) int."""
    return torch.from_numpy(np.asarray(Image.open(io.BytesIO(png)), dtype=int))
