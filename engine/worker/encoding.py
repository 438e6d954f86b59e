"""Finished pictures to PNG files, in a small pool beside the loop, and the job's last frames.

Where there is a classifier it looks at each picture after that, in a thread of its own: the pool has more to
do for the loop, which must not wait for it.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.errors import EngineError
from engine.receipts import PNG_KEY, Receipt, machine_of, png_text
from engine.types import EngineInfo
from engine.worker import controls
from engine.worker.infotext import infotext
from engine.worker.jobs import JobRun, PictureRun

log = logging.getLogger(__name__)

COMPRESS_LEVEL = 4  # Pillow's default of 6 takes three times as long for nothing


class Send(Protocol):
    """Sends one frame; any thread may call it."""

    def __call__(self, kind: str, fields: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Sends a frame, see `engine.protocol`."""


class Encoder:
    """Encodes pictures and sends `picture` and `done`; also `failed`, so that a job ends once."""

    def __init__(
        self, send: Send, info: EngineInfo, *, score: Callable[[Image.Image], float] | None = None
    ) -> None:
        """Starts the pool; `score` looks at pictures, see `engine.worker.classifier`."""
        self._send = send
        self._score = score
        self._looking = ThreadPoolExecutor(1, "classifier")
        self._info = info
        self._lock = threading.Lock()  # a job ends in the loop's thread or in the pool's
        self._pool = ThreadPoolExecutor(2, "encoder")
        self._tasks: set[Future[None]] = set()
        self._encoded: dict[JobRun, int] = {}

    @property
    def is_idle(self) -> bool:
        """True when nothing is being encoded."""
        with self._lock:
            return not self._encoded

    def drain(self) -> None:
        """Waits until everything that was handed in has been done."""
        while work := self._pending():
            wait(work)

    def add(self, picture: PictureRun, image: Image.Image) -> None:
        """Encodes and sends one finished picture; after the last one of its job also `done`."""
        with self._lock:
            if picture.job.has_ended:
                return
            self._encoded.setdefault(picture.job, 0)
        self.run(self._encode, picture, image)

    def run(self, work: Any, *args: Any) -> None:
        """Runs something small beside the loop, such as a preview."""
        self._follow(self._pool.submit(work, *args))

    def _follow(self, task: Future[None]) -> None:
        with self._lock:
            self._tasks.add(task)
        task.add_done_callback(self._forget)

    def progress(self, job: JobRun, preview: bytes | None = None) -> None:
        """Sends the job's newest state, unless it has ended."""
        with self._lock:  # also keeps a late preview from sending an older step
            fields = {"job_id": job.job_id, "step": job.steps_done, "total": job.steps_total}
            if job.has_ended or (preview and job.steps_done == job.steps_total):
                return  # the pictures themselves are there, or come next
            self._send("progress", fields, [preview] if preview else [])

    def fail(self, job: JobRun, error: EngineError) -> None:
        """Ends the job with `failed`, unless it has ended already."""
        with self._lock:
            if not job.has_ended:
                self._end(job)
                self._send("failed", failure(job.job_id, error))

    def _encode(self, picture: PictureRun, image: Image.Image) -> None:
        job = picture.job
        try:
            recipe = png_text(job.request, receipt_of(job, self._info), picture.index)
            text = infotext(job.request, self._info, picture.seed, image.size)
            png = encode_png(image, text, recipe)
        except (OSError, ValueError, MemoryError) as error:
            self.fail(job, EngineError(f"The picture could not be encoded: {error}"))
            return
        if self._score is None:
            self._give(picture, image.size, png, None)
        elif not job.has_ended:
            self._follow(self._looking.submit(self._look, self._score, picture, image, png))

    def _look(
        self,
        score: Callable[[Image.Image], float],
        picture: PictureRun,
        image: Image.Image,
        png: bytes,
    ) -> None:
        if picture.job.has_ended:
            return
        try:
            found = score(image.convert("RGB"))
        except Exception:  # what follows from it is decided where the picture is to be shown
            log.exception("A picture could not be looked at.")
            found = None
        self._give(picture, image.size, png, found)

    def _give(
        self, picture: PictureRun, size: tuple[int, int], png: bytes, score: float | None
    ) -> None:
        job = picture.job
        with self._lock:
            if job.has_ended:
                return
            width, height = size
            fields = {
                "index": picture.index,
                "seed": picture.seed,
                "width": width,
                "height": height,
                "score": score,
            }
            self._send("picture", {"job_id": job.job_id, **fields}, [png])
            self._encoded[job] += 1
            if self._encoded[job] == job.request.num_images:
                self._end(job)
                self._send(
                    "done",
                    {
                        "job_id": job.job_id,
                        "seconds": round(time.monotonic() - job.started_at, 3),
                        "warnings": job.warnings,
                        "receipt": receipt_of(job, self._info).packed(),
                    },
                )

    def _pending(self) -> list[Future[None]]:
        with self._lock:
            return list(self._tasks)

    def _forget(self, task: Future[None]) -> None:
        with self._lock:
            self._tasks.discard(task)
        if (error := task.exception()) is not None:
            log.error("Work beside the loop failed.", exc_info=error)

    def _end(self, job: JobRun) -> None:
        job.has_ended = True
        self._encoded.pop(job, None)


def encode_png(image: Image.Image, parameters: str, recipe: str) -> bytes:
    """Returns the PNG with its texts.

    Args:
        image: The picture.
        parameters: For the text chunk of that name, where A1111 keeps it.
        recipe: What makes the picture again, see `engine.receipts.png_text`.
    """
    text = PngInfo()
    text.add_text("parameters", parameters)
    text.add_text(PNG_KEY, recipe, zip=True)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=COMPRESS_LEVEL, pnginfo=text)
    return buffer.getvalue()


def failure(job_id: str, error: EngineError) -> dict[str, str]:
    """Returns the fields of a `failed` frame."""
    return {"job_id": job_id, "error": type(error).__name__, "message": str(error)}


def receipt_of(job: JobRun, info: EngineInfo) -> Receipt:
    """Returns what, with the request, makes the pictures again, see `engine.receipts`."""
    return Receipt(
        info.model,
        info.model_hash,
        machine_of(info),
        tuple(picture.receipt for picture in job.pictures),
        controlnets={control.kind: controls.file_hash(net) for control, net, _ in job.maps},
        upscaler=job.upscaler_hash,
        versions=info.versions,
        dtype=info.dtype,
        device=info.device,
        device_name=info.device_name,
    )
