"""The row-batch loop: everybody's pictures of one resolution in one U-Net call, step by step."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from engine import protocol
from engine.errors import (
    GenerationCancelledError,
    InvalidRequestError,
)
from engine.protocol import Frame
from engine.receipts import Receipt
from engine.types import EngineInfo, GenerationRequest
from engine.worker import machine, previews, steps
from engine.worker.arrivals import Arrival, Arrivals
from engine.worker.buckets import Bucketed, Eager
from engine.worker.denoise import Predictor, RowError, Rows
from engine.worker.detection import Detection
from engine.worker.encoding import Encoder, Send, failure
from engine.worker.faults import as_engine_error, is_out_of_memory, retried
from engine.worker.finishing import Finishing
from engine.worker.graphs import Graphed
from engine.worker.jobs import JobRun, PictureRun, start_job, start_second_pass
from engine.worker.lora_rows import Way
from engine.worker.models import Model
from engine.worker.tables import Tables
from engine.worker.text import PromptEncoder
from engine.worker.transfer import Fetched, sent
from engine.worker.turns import Turns
from engine.worker.upscaling import Upscaling
from engine.worker.vae import Vae

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0


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
        detector_sources: Mapping[str, str] | None = None,
        upscaler: str | None = None,
        score: Callable[[Image.Image], float] | None = None,
        buckets: Sequence[int] = (),
        has_tables: bool = True,
    ) -> None:
        """Prepares an empty loop.

        Args:
            model: The loaded model.
            info: Its handshake.
            send: Sends one frame to the bot.
            inbox: Frames from the bot, and `loaded` and `decoded` from the loop's own threads.
            row_limit: Most rows of one U-Net call.
            preview_interval_s: Shortest time between two previews of a job.
            control_sources: ControlNets by kind: folder or hub id.
            control_bytes: ControlNets that stay loaded while nobody needs them.
            adapter_bytes: The same of LoRAs.
            detector_sources: What reads pictures for ControlNets, by name: folder or hub id.
            upscaler: The learned one: folder or hub id; None without.
            score: Looks at finished pictures, see `engine.worker.classifier`; None without.
            buckets: The numbers of rows that a call may have, in rising order: others are padded, and on
                CUDA each is recorded as a graph. Empty for calls of just their rows.
            has_tables: Step all pictures at once by tables. Without, each is stepped by its own
                scheduler: a job alone then equals the stock pipeline to the bit.
        """
        self.encoder = Encoder(send, info, score=score)
        self.detection = Detection(info, detector_sources or {}, send)
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
            upscaler=upscaler,
        )
        self._upscaling = Upscaling(self.encoder, fail=self._fail, reclaim=self._reclaim)
        self._preview_interval_s = preview_interval_s
        self._prompts = PromptEncoder(model.conditioner)
        self._colours = previews.fit_colours(model)
        way: Way = "bmm" if model.device.type == "cuda" else "auto"
        run = Graphed() if model.device.type == "cuda" else Eager()
        caller = Bucketed(buckets, run) if buckets else None
        self._predictor = Predictor(model.unet, way, caller=caller, reclaim=self._reclaim)
        self._vae = Vae(model, reclaim=self._reclaim)
        self._tables = Tables(model.scheduler_config) if has_tables else None
        self._pace = machine.Pace(model.device)
        self._running: list[PictureRun] = []
        self._finishing = Finishing(
            self._vae,
            self.encoder,
            fail=self._fail,
            wake=lambda: inbox.put(Frame("decoded", {})),
        )
        self._turns = Turns(row_limit)
        self._speed = machine.Speed()
        self._ticks = 0
        self._heartbeat_at = 0.0
        self._is_draining = False

    @property
    def is_idle(self) -> bool:
        """True when no picture is being denoised, decoded or enlarged, and no job waits to be."""
        return not (self.has_work or self._finishing.pictures) and self._arrivals.is_empty

    @property
    def has_work(self) -> bool:
        """True when a tick has something to do."""
        return bool(self._running or self._finishing.has_work or self._upscaling.has_work)

    def jobs(self) -> list[JobRun]:
        """Returns the jobs that are being denoised, decoded or enlarged."""
        drawn = [p.job for p in [*self._running, *self._finishing.pictures]]
        return list(dict.fromkeys(drawn + self._upscaling.jobs()))

    def waiting_ids(self) -> list[str]:
        """Returns the jobs that wait for something to be loaded."""
        return self._arrivals.job_ids

    def run(self) -> None:
        """Runs until drained: between two ticks jobs join, leave and are cancelled."""
        while not (self._is_draining and self.is_idle):
            self.receive()
            self.tick()
        self.encoder.drain()
        self.detection.drain()

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
        """One step of every picture of one resolution, then one picture decoded and one tile enlarged."""
        self._ticks += 1
        self._take_first_passes()
        for batch in self._turns.next_calls(self._running):
            try:
                self._step(batch)
            except InvalidRequestError as error:  # of a receipt, whose picture is alone
                self._fail(batch[0].job, error)
            except RowError as error:
                self._fail(error.job, error.cause)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._fail(batch[-1].job, error)  # the others may fit without the youngest
            # Nobody's state has changed by what failed: the others take this step at the next tick.
        self._running = [p for p in self._running if not self._leaves(p)]
        if self._finishing.has_work:
            self._finishing.step()
        if self._upscaling.has_work:
            self._upscaling.tick()
        self._beat(time.monotonic())
        self._arrivals.release_ended()

    def _step(self, batch: Sequence[PictureRun]) -> None:
        """One U-Net call, and the step that it is for; all or nothing.

        Raises:
            InvalidRequestError: A receipt is of another picture.
            RowError: One picture fails even alone.
            RuntimeError: There is no memory for what is around the call, or the device is lost.
        """
        guided = [picture for picture in batch if picture.job.is_guided]
        pictures = guided + list(batch)  # unconditional rows first, as in the stock pipelines
        inputs, rows = retried(lambda: self._rows(batch, guided), self._reclaim)
        if batch[0].script is None:
            try:
                output, calls = self._predictor.predict(rows)
            except RowError as error:
                error.job = pictures[error.row].job
                raise
        else:
            calls = batch[0].calls_again
            output = self._predictor.repeat(rows, calls)
        guesses = retried(lambda: self._advance(batch, inputs, output), self._reclaim)
        unconditional = dict(zip(guided, calls, strict=False))
        for p, call in zip(batch, calls[len(guided) :], strict=True):
            p.end_step(call, unconditional.get(p))
        self._pace.wait()
        self._report(batch, len(pictures), guesses)

    def _rows(
        self, batch: Sequence[PictureRun], guided: Sequence[PictureRun]
    ) -> tuple[dict[PictureRun, Any], Rows]:
        """Returns of each picture its rows' input, and the call: unconditional rows, then all others."""
        pictures = [*guided, *batch]
        inputs = steps.model_inputs(batch, self._model.dtype)
        timesteps = torch.stack([p.timestep.float() for p in pictures])
        return inputs, Rows(
            sample=torch.cat([inputs[p] for p in pictures]),
            timesteps=sent(timesteps, self._model.device),
            conditions=[p.negative for p in guided] + [p.condition for p in batch],
            controls=[p.active_controls for p in pictures],
            adapters=[p.job.adapters for p in pictures],
        )

    def _advance(
        self, batch: Sequence[PictureRun], inputs: Mapping[PictureRun, Any], output: Any
    ) -> dict[JobRun, list[Fetched]]:
        """Takes the step; returns, of the jobs that want a preview, what the U-Net sees in their pictures."""
        outputs = steps.guide(batch, output)
        guesses: dict[JobRun, list[Fetched]] = {p.job: [] for p in batch if p.job.wants_preview}
        for p in batch:
            if p.job in guesses:
                guess = previews.guess_denoised(p.scheduler, p.timestep, inputs[p], outputs[p])
                guesses[p.job].append(Fetched(guess))
        steps.advance(batch, outputs)
        return guesses

    def _report(
        self, batch: Sequence[PictureRun], rows: int, guesses: Mapping[JobRun, list[Fetched]]
    ) -> None:
        now = time.monotonic()
        self._speed.note(now, rows)
        for job in dict.fromkeys(p.job for p in batch):
            self.encoder.progress(job)
        for job, latents in guesses.items():
            job.preview_at = now + self._preview_interval_s
            self.encoder.run(self._preview, job, latents, batch[0].size)
        self._beat(now)

    def _preview(self, job: JobRun, guesses: list[Fetched], size: tuple[int, int]) -> None:
        """Runs beside the loop."""
        latents = [guess.wait() for guess in guesses]
        self.encoder.progress(job, previews.jpeg(self._colours, latents, size))

    def _beat(self, now: float) -> None:
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + HEARTBEAT_S
            rss_bytes = machine.resident_bytes()
            self._send("heartbeat", {"ticks": self._ticks, "rss_bytes": rss_bytes})

    def _leaves(self, picture: PictureRun) -> bool:
        """Returns True when the picture has no step left to run, and hands it on."""
        if picture.job.has_ended:
            return True
        if picture.is_denoised:
            is_enlarged = picture.job.request.upscaler is not None
            (self._upscaling if is_enlarged else self._finishing).add(picture)
            return True
        return False

    def _take_first_passes(self) -> None:
        """Starts the second passes of the pictures whose first one is there."""
        for first, image in self._finishing.take():
            begin = partial(start_second_pass, self._model, self._vae, first, image)
            try:
                second = retried(begin, self._reclaim)
            except Exception as error:
                self._fail(first.job, error)
                continue
            if not self._leaves(second):
                self._running.append(second)

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
            case "decoded":
                self._take_first_passes()
            case "loaded":
                self._admit()
                for call_id, value in self._arrivals.pop_answers():
                    self._send("reply", {"call_id": call_id, "value": value})
                self._arrivals.trim()
            case "adapter_load":
                fields = frame.fields
                path = Path(fields["path"])
                self._arrivals.preload(int(fields["call_id"]), str(fields["sha256"]), path)
            case "adapter_unload":
                was_loaded = self._arrivals.unload(str(frame.fields["sha256"]))
                self._send("reply", {"call_id": frame.fields["call_id"], "value": was_loaded})
            case "detect":
                self.detection.ask(frame)
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
            packed = frame.fields.get("receipt")
            receipt = None if packed is None else Receipt.unpack(packed)
        except Exception as error:
            self._send("failed", failure(job_id, as_engine_error(error)))
            return
        self._arrivals.add(Arrival(job_id, request, images, receipt, files))
        self._admit()

    def _admit(self) -> None:
        """Starts the jobs whose ControlNets and LoRAs are there."""
        complete = self._arrivals.pop_complete()
        while complete:
            arrival = complete.pop(0)
            try:
                job = start_job(
                    self._model,
                    self._vae,
                    self._prompts,
                    arrival.job_id,
                    arrival.request,
                    arrival.images,
                    arrival.loaded_nets(),
                    self._arrivals.combine(arrival),
                    self._tables,
                    arrival.receipt,
                    arrival.loaded_upscaler(),
                )
            except Exception as error:
                self._arrivals.release(arrival)
                is_memory_short = is_out_of_memory(error) and not arrival.is_second_try
                if not is_memory_short:
                    self._send("failed", failure(arrival.job_id, as_engine_error(error)))
                    continue
                log.warning("A job did not fit into memory, trying it again: %s", error)
                # Leave this block before freeing: the exception holds the frames that hold memory.
            else:
                self._arrivals.hold(job, arrival)
                self._send("started", {"job_id": arrival.job_id})
                self._running += [p for p in job.pictures if not self._leaves(p)]
                continue
            self._reclaim()
            self._arrivals.order_again(arrival)
            complete += self._arrivals.pop_complete()

    def _cancel_arrival(self, job_id: str) -> None:
        if self._arrivals.pop(job_id):
            self._send(
                "failed", failure(job_id, GenerationCancelledError("The job was cancelled."))
            )

    def _fail(self, job: JobRun, error: Exception) -> None:
        self.encoder.fail(job, as_engine_error(error))

    def _reclaim(self) -> int:
        """Frees memory that nobody needs now; returns the bytes that were held on purpose."""
        held = self._arrivals.evict_idle() + self._predictor.forget()
        machine.empty_cache(self._model.device)
        return held

    def _stats(self) -> dict[str, Any]:
        free, total = machine.device_memory(self._model.device)
        return {
            "rss_bytes": machine.resident_bytes(),
            "cuda_bytes": machine.allocated_bytes(self._model.device),
            "device_free_bytes": free,
            "device_total_bytes": total,
            "jobs": len(self.jobs()),
            "rows": sum(2 if p.job.is_guided else 1 for p in self._running),
            "decoding": len(self._finishing.pictures),
            "arriving": self._arrivals.job_ids,
            "controls": self._arrivals.loaded_controls(),
            "adapters": self._arrivals.loaded_adapters(),
            "ticks": self._ticks,
            **self._speed.rates(time.monotonic()),
        }
