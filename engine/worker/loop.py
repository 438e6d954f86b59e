"""The row-batch loop: everybody's pictures of one resolution in one U-Net call, step by step."""

from __future__ import annotations

import logging
import queue
import time
from collections import deque

import torch

from engine import protocol
from engine.errors import (
    EngineError,
    EngineOutOfMemoryError,
    GenerationCancelledError,
    GenerationError,
)
from engine.protocol import Frame
from engine.types import EngineInfo, GenerationRequest
from engine.worker import pixels
from engine.worker.denoise import RowError, is_out_of_memory, predict, raise_if_lost
from engine.worker.encoding import Encoder, Send
from engine.worker.jobs import JobRun, PictureRun, start_job, start_second_pass
from engine.worker.models import Model
from engine.worker.text import PromptEncoder

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0


class RowLoop:
    """Runs all jobs. Everything here happens in one thread, between two ticks or in one."""

    def __init__(
        self,
        model: Model,
        info: EngineInfo,
        send: Send,
        *,
        row_limit: int,
        preview_interval_s: float,
    ) -> None:
        """`row_limit` bounds the rows of one U-Net call."""
        self._model = model
        self._info = info
        self._send = send
        self._row_limit = row_limit
        self._preview_interval_s = preview_interval_s
        self._prompts = PromptEncoder(model.tokenizer, model.text_encoder)
        self.encoder = Encoder(send, info)
        self._running: list[PictureRun] = []
        self._decoding: deque[PictureRun] = deque()
        self._turns: dict[tuple[int, int], int] = {}  # size to the tick of its last step
        self._ticks = 0
        self._is_draining = False
        self._heartbeat_at = 0.0

    @property
    def is_idle(self) -> bool:
        """True when no picture is being denoised or decoded."""
        return not self._running and not self._decoding

    def run(self, inbox: queue.SimpleQueue[Frame]) -> None:
        """Runs until drained: jobs join, leave and are cancelled between two ticks."""
        while not (self._is_draining and self.is_idle and self.encoder.is_idle):
            while not inbox.empty() or (self.is_idle and not self._is_draining):
                self.handle(inbox.get())
            self.tick()

    def tick(self) -> None:
        """One step of every picture of one resolution, then one picture decoded."""
        self._ticks += 1
        for batch in self._batches():
            guided = [picture for picture in batch if picture.job.is_guided]
            rows = guided + batch  # unconditional rows first, as in the stock pipelines
            inputs = {p: p.scheduler.scale_model_input(p.latents, p.timestep) for p in batch}
            embeds = [p.job.negative_embeds for p in guided] + [p.job.prompt_embeds for p in batch]
            timesteps = torch.stack([p.timestep.float() for p in rows]).to(self._model.device)
            try:
                output, counts = predict(
                    self._model.unet,
                    torch.cat([inputs[p] for p in rows]),  # (rows, C, h, w)
                    timesteps,
                    torch.cat(embeds),  # (rows, tokens, width)
                )
            except RowError as error:
                self._fail_row(rows[error.row], error)
                continue  # the others' state is unchanged: they take this step at the next tick
            unconditional = dict(zip(guided, output.split(1), strict=False))
            for k, p in enumerate(batch, start=len(guided)):
                eps = output[k : k + 1]
                if p in unconditional:
                    eps = unconditional[p] + p.job.guidance_scale * (eps - unconditional[p])
                p.latents = p.scheduler.step(
                    eps, p.timestep, p.latents, return_dict=False, **p.step_options
                )[0]
                p.step += 1
                p.count_rows(counts[k])
            self._report(batch)
        self._running = [p for p in self._running if not self._leaves(p)]
        if self._decoding:
            self._decode(self._decoding.popleft())

    def _batches(self) -> list[list[PictureRun]]:
        """Returns the U-Net calls of this tick: the pictures of the size that waited longest.

        Jobs stay whole as long as they fit into a call.
        """
        if not self._running:
            return []
        sizes = {picture.size for picture in self._running}
        size = min(sizes, key=lambda s: self._turns.get(s, 0))
        self._turns = {s: self._turns.get(s, 0) for s in sizes} | {size: self._ticks}
        batches: list[list[PictureRun]] = []
        free = 0
        jobs: dict[JobRun, list[PictureRun]] = {}
        for picture in self._running:
            if picture.size == size:
                jobs.setdefault(picture.job, []).append(picture)
        for job, pictures in jobs.items():
            rows = 2 if job.is_guided else 1
            if rows * len(pictures) > free:
                batches.append([])
                free = self._row_limit
            for picture in pictures:
                if rows > free and batches[-1]:
                    batches.append([])
                    free = self._row_limit
                batches[-1].append(picture)
                free -= rows
        return batches

    def _leaves(self, picture: PictureRun) -> bool:
        if picture.job.has_ended:
            return True
        if picture.is_denoised:
            self._decoding.append(picture)
            return True
        return False

    def _decode(self, picture: PictureRun) -> None:
        job = picture.job
        if job.has_ended:
            return
        try:
            image = pixels.to_image(pixels.decode(self._model, picture.latents))
            if job.request.second_pass is not None and not picture.is_second_pass:
                second = start_second_pass(self._model, picture, image)
                if not self._leaves(second):
                    self._running.append(second)
                return
        except Exception as error:
            self._fail(job, error)
            return
        job.finished += 1
        self.encoder.add(picture, image)

    def handle(self, frame: Frame) -> None:
        """Does what one frame from the bot says."""
        match frame.kind:
            case "generate":
                self._join(frame)
            case "cancel":
                for job in self.jobs():
                    if job.job_id == frame.fields["job_id"]:
                        self.encoder.fail(job, GenerationCancelledError("The job was cancelled."))
            case "drain":
                self._is_draining = True
            case _:
                log.warning("A frame of unknown kind %r was ignored.", frame.kind)

    def _join(self, frame: Frame) -> None:
        job_id = str(frame.fields["job_id"])
        try:
            request = protocol.unpack(GenerationRequest, frame.fields["request"])
            self._info.check(request)
            images = dict(zip(frame.fields.get("images", ()), frame.blobs, strict=True))
            job = start_job(self._model, self._prompts, job_id, request, images)
        except Exception as error:
            self._send_failed(job_id, error)
            return
        self._send("started", {"job_id": job_id})
        self._running += [picture for picture in job.pictures if not self._leaves(picture)]

    def jobs(self) -> list[JobRun]:
        """Returns the jobs that are being denoised or decoded."""
        return list(dict.fromkeys(p.job for p in [*self._running, *self._decoding]))

    def _report(self, batch: list[PictureRun]) -> None:
        for job in dict.fromkeys(p.job for p in batch):
            self.encoder.send_unless_ended(
                job, "progress", {"step": job.steps_done, "total": job.steps_total}
            )
        if time.monotonic() >= self._heartbeat_at:
            self._heartbeat_at = time.monotonic() + HEARTBEAT_S
            self._send("heartbeat", {"ticks": self._ticks})

    def _fail_row(self, picture: PictureRun, error: RowError) -> None:
        self._fail(picture.job, error.__cause__ or error)

    def _fail(self, job: JobRun, error: BaseException) -> None:
        self.encoder.fail(job, self._as_engine_error(error))

    def _send_failed(self, job_id: str, error: BaseException) -> None:
        known = self._as_engine_error(error)
        self._send(
            "failed", {"job_id": job_id, "error": type(known).__name__, "message": str(known)}
        )

    def _as_engine_error(self, error: BaseException) -> EngineError:
        raise_if_lost(error)
        if isinstance(error, EngineError):
            return error
        if is_out_of_memory(error):
            return EngineOutOfMemoryError(
                "The picture does not fit into the engine's memory. Ask for a smaller size."
            )
        log.error("A job failed.", exc_info=error)
        return GenerationError("The engine failed on this job. The operator's log says why.")
