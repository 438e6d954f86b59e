"""The row-batch loop: everybody's pictures of one resolution in one U-Net call, step by step."""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from engine.worker import machine, pixels, previews, steps
from engine.worker.arrivals import Arrival, Arrivals
from engine.worker.denoise import Predictor, RowError, Rows, is_device_lost, is_out_of_memory
from engine.worker.encoding import Encoder, Send, failure
from engine.worker.inpaint import paste_kept
from engine.worker.jobs import JobRun, PictureRun, start_job, start_second_pass
from engine.worker.lora_rows import Way
from engine.worker.models import Model
from engine.worker.tables import Tables
from engine.worker.text import PromptEncoder

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
RATE_WINDOW_S = 30.0


class RowLoop:
    """Runs all jobs in one thread; only encoding and previews happen beside it."""

    def __init__(
        self,
        model: Model,
        info: EngineInfo,
        send: Send,
        inbox: queue.SimpleQueue[Frame],
        *,
        row_limit: int,
        preview_interval_s: float,
        control_sources: Mapping[str, str],
        control_bytes: int,
        adapter_bytes: int,
        has_tables: bool = True,
    ) -> None:
        """Prepares an empty loop.

        Args:
            model: The loaded model.
            info: Its handshake.
            send: Sends one frame to the bot.
            inbox: Frames from the bot, and of kind `loaded` from the loop's own loading thread.
            row_limit: Most rows of one U-Net call.
            preview_interval_s: Shortest time between two previews of a job.
            control_sources: ControlNets by kind: folder or hub id.
            control_bytes: ControlNets that stay loaded while nobody needs them.
            adapter_bytes: The same of LoRAs.
            has_tables: Step all pictures at once by tables. Without, each is stepped by its own
                scheduler: a job alone then equals the stock pipeline to the bit.
        """
        self.encoder = Encoder(send, info)
        self._model = model
        self._info = info
        self._send = send
        self._inbox = inbox
        self._arrivals = Arrivals(
            model,
            control_sources,
            control_bytes=control_bytes,
            adapter_bytes=adapter_bytes,
            wake=lambda: inbox.put(Frame("loaded", {})),
        )
        self._row_limit = row_limit
        self._preview_interval_s = preview_interval_s
        self._prompts = PromptEncoder(model.tokenizer, model.text_encoder)
        self._colours = previews.fit_colours(model)
        way: Way = "bmm" if model.device.type == "cuda" else "seg"
        self._predictor = Predictor(model.unet, way)
        self._tables = Tables(model.scheduler_config) if has_tables else None
        self._pace = machine.Pace(model.device)
        self._running: list[PictureRun] = []
        self._decoding: deque[PictureRun] = deque()
        self._turns: dict[tuple[int, int], int] = {}  # size to the tick of its last step
        self._recent: deque[tuple[float, int]] = deque(maxlen=1000)  # time and rows of each call
        self._ticks = 0
        self._heartbeat_at = 0.0
        self._is_draining = False

    @property
    def is_idle(self) -> bool:
        """True when no picture is being denoised or decoded, and no job waits to be."""
        return not self.has_work and self._arrivals.is_empty

    @property
    def has_work(self) -> bool:
        """True when a tick has something to do."""
        return bool(self._running or self._decoding)

    def jobs(self) -> list[JobRun]:
        """Returns the jobs that are being denoised or decoded."""
        return list(dict.fromkeys(p.job for p in [*self._running, *self._decoding]))

    def waiting_ids(self) -> list[str]:
        """Returns the jobs that wait for something to be loaded."""
        return self._arrivals.job_ids

    def run(self) -> None:
        """Runs until drained: between two ticks jobs join, leave and are cancelled."""
        while not (self._is_draining and self.is_idle):
            self.receive()
            self.tick()
        self.encoder.drain()

    def receive(self) -> None:
        """Handles the frames that are there; waits for one when a tick would have nothing to do."""
        while True:
            is_waiting = not self.has_work and not (self._is_draining and self.is_idle)
            try:
                frame = self._inbox.get(is_waiting, None if self.is_idle else HEARTBEAT_S)
            except queue.Empty:
                if not is_waiting:
                    return
                self._ticks += 1  # a job waits for a download: that is no hang
                self._beat(time.monotonic())
            else:
                self.handle(frame)

    def tick(self) -> None:
        """One step of every picture of one resolution, then one picture decoded."""
        self._ticks += 1
        for batch in self._batches():
            guided = [picture for picture in batch if picture.job.is_guided]
            rows = guided + batch  # unconditional rows first, as in the stock pipelines
            inputs = steps.model_inputs(batch, self._model.dtype)
            embeds = [p.job.negative_embeds for p in guided] + [p.job.prompt_embeds for p in batch]
            timesteps = torch.stack([p.timestep.float() for p in rows])
            try:
                output, calls = self._predictor.predict(
                    Rows(
                        sample=torch.cat([inputs[p] for p in rows]),
                        timesteps=timesteps.to(self._model.device, non_blocking=True),
                        prompt_embeds=embeds,
                        controls=[p.active_controls for p in rows],
                        adapters=[p.job.adapters for p in rows],
                    )
                )
            except RowError as error:
                self._fail(rows[error.row].job, error.cause)
                continue  # nobody's state has changed: the others take this step at the next tick
            outputs = steps.guide(batch, output)
            guesses: dict[JobRun, list[Any]] = {p.job: [] for p in batch if p.job.wants_preview}
            for p in batch:
                if p.job in guesses:
                    guess = previews.guess_denoised(p.scheduler, p.timestep, inputs[p], outputs[p])
                    guesses[p.job].append(guess)
            steps.advance(batch, outputs)
            for p, call in zip(batch, calls[len(guided) :], strict=True):
                p.end_step(call)
            self._pace.wait()
            self._report(batch, len(rows), guesses)
        self._running = [p for p in self._running if not self._leaves(p)]
        if self._decoding:
            self._decode(self._decoding.popleft())
        self._arrivals.release_ended()

    def _batches(self) -> list[list[PictureRun]]:
        """Returns this tick's U-Net calls: the pictures of the size whose last step is longest ago.

        A job's pictures stay together as long as they fit into one call.
        """
        if not self._running:
            return []
        self._turns = {p.size: self._turns.get(p.size, 0) for p in self._running}
        size = min(self._turns, key=lambda s: self._turns[s])
        self._turns[size] = self._ticks
        jobs: dict[JobRun, list[PictureRun]] = {}
        for picture in self._running:
            if picture.size == size:
                jobs.setdefault(picture.job, []).append(picture)
        batches: list[list[PictureRun]] = [[]]
        free = self._row_limit
        for job, pictures in jobs.items():
            rows = 2 if job.is_guided else 1
            if rows * len(pictures) > free and batches[-1]:
                batches.append([])
                free = self._row_limit
            for picture in pictures:
                if rows > free and batches[-1]:
                    batches.append([])
                    free = self._row_limit
                batches[-1].append(picture)
                free -= rows
        return batches

    def _report(
        self, batch: Sequence[PictureRun], rows: int, guesses: Mapping[JobRun, list[Any]]
    ) -> None:
        now = time.monotonic()
        self._recent.append((now, rows))
        for job in dict.fromkeys(p.job for p in batch):
            self.encoder.progress(job)
        for job, latents in guesses.items():
            job.preview_at = now + self._preview_interval_s
            self.encoder.run(self._preview, job, latents, batch[0].size)
        self._beat(now)

    def _preview(self, job: JobRun, latents: list[Any], size: tuple[int, int]) -> None:
        """Runs beside the loop."""
        self.encoder.progress(job, previews.jpeg(self._colours, latents, size))

    def _beat(self, now: float) -> None:
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + HEARTBEAT_S
            self._send("heartbeat", {"ticks": self._ticks})

    def _leaves(self, picture: PictureRun) -> bool:
        """Returns True when the picture has no step left to run, and queues it for the decoder."""
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
        if job.request.upscaler is not None:
            self.encoder.run(self._upscale, picture)
            return
        try:
            image = pixels.to_image(pixels.decode(self._model, picture.latents))
            if job.mask is not None and job.source is not None:
                image = paste_kept(image, pixels.decode_image(job.source), job.mask)
            if job.request.second_pass is not None and not picture.is_second_pass:
                second = start_second_pass(self._model, picture, image)
                if not self._leaves(second):
                    self._running.append(second)
                return
        except Exception as error:
            self._fail(job, error)
            return
        self.encoder.add(picture, image)
        self._beat(time.monotonic())

    def _upscale(self, picture: PictureRun) -> None:
        """Runs beside the loop: Lanczos on the CPU, while others are denoised."""
        try:
            image = pixels.resize(pixels.decode_image(picture.job.source or b""), picture.size)
        except Exception as error:
            self._fail(picture.job, error)
        else:
            self.encoder.add(picture, image)

    def handle(self, frame: Frame) -> None:
        """Does what one frame from the bot says."""
        match frame.kind:
            case "generate":
                self._join(frame)
            case "cancel":
                self._cancel_arrival(str(frame.fields["job_id"]))
                for job in self.jobs():
                    if job.job_id == frame.fields["job_id"]:
                        self.encoder.fail(job, GenerationCancelledError("The job was cancelled."))
                        self._running = [p for p in self._running if p.job is not job]
            case "loaded":
                self._admit()
                for call_id, value in self._arrivals.pop_answers():
                    self._send("reply", {"call_id": call_id, "value": value})
            case "adapter_load":
                fields = frame.fields
                path = Path(fields["path"])
                self._arrivals.preload(int(fields["call_id"]), str(fields["sha256"]), path)
            case "adapter_unload":
                was_loaded = self._arrivals.unload(str(frame.fields["sha256"]))
                self._send("reply", {"call_id": frame.fields["call_id"], "value": was_loaded})
            case "stats":
                reply = {"call_id": frame.fields["call_id"], "value": self._stats()}
                self._send("reply", reply)
            case "drain":
                self._is_draining = True
            case _:
                log.warning("A frame of unknown kind %r was ignored.", frame.kind)

    def _join(self, frame: Frame) -> None:
        job_id = str(frame.fields["job_id"])
        try:
            request = protocol.unpack(GenerationRequest, frame.fields["request"])
            self._info.check(request)
            images = dict(zip(frame.fields["images"], frame.blobs, strict=True))
            files = {sha256: Path(path) for sha256, path in frame.fields.get("adapters", ())}
        except Exception as error:
            self._send("failed", failure(job_id, _as_engine_error(error)))
            return
        self._arrivals.add(Arrival(job_id, request, images), files)
        self._admit()

    def _admit(self) -> None:
        """Starts the jobs whose ControlNets and LoRAs are there."""
        for arrival in self._arrivals.pop_complete():
            job_id = arrival.job_id
            try:
                nets = arrival.loaded_nets()
                adapters = self._arrivals.combine(arrival)
                job = start_job(
                    self._model,
                    self._prompts,
                    job_id,
                    arrival.request,
                    arrival.images,
                    nets,
                    adapters,
                    self._tables,
                )
            except Exception as error:
                self._arrivals.release(arrival)
                self._send("failed", failure(job_id, _as_engine_error(error)))
                continue
            self._arrivals.hold(job, arrival)
            self._send("started", {"job_id": job_id})
            self._running += [picture for picture in job.pictures if not self._leaves(picture)]

    def _cancel_arrival(self, job_id: str) -> None:
        if self._arrivals.pop(job_id):
            self._send(
                "failed", failure(job_id, GenerationCancelledError("The job was cancelled."))
            )

    def _fail(self, job: JobRun, error: Exception) -> None:
        self.encoder.fail(job, _as_engine_error(error))

    def _stats(self) -> dict[str, Any]:
        now = time.monotonic()
        recent = [(at, rows) for at, rows in self._recent if at > now - RATE_WINDOW_S]
        seconds = max(now - recent[0][0], 1e-3) if len(recent) > 1 else RATE_WINDOW_S
        return {
            "rss_bytes": machine.resident_bytes(),
            "cuda_bytes": machine.allocated_bytes(self._model.device),
            "jobs": len(self.jobs()),
            "rows": sum(2 if p.job.is_guided else 1 for p in self._running),
            "decoding": len(self._decoding),
            "arriving": self._arrivals.job_ids,
            "controls": self._arrivals.loaded_controls(),
            "adapters": self._arrivals.loaded_adapters(),
            "ticks": self._ticks,
            "steps_per_s": round(len(recent) / seconds, 2),
            "row_steps_per_s": round(sum(rows for _, rows in recent) / seconds, 2),
        }


def _as_engine_error(error: Exception) -> EngineError:
    """Returns what the owner of a job is told; a lost device is raised on."""
    if is_device_lost(error):
        raise error
    if isinstance(error, EngineError):
        return error
    if is_out_of_memory(error):
        return EngineOutOfMemoryError(
            "The picture does not fit into the engine's memory. Ask for a smaller size."
        )
    log.error("A job failed.", exc_info=error)
    return GenerationError("The engine failed on this job. The operator's log says why.")
