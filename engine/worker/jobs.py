"""A job inside the engine: its pictures on their way, each with its own latents and scheduler."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from engine.errors import InvalidRequestError
from engine.types import Control, GenerationRequest
from engine.worker import pixels
from engine.worker.controls import ControlRun
from engine.worker.denoise import Call
from engine.worker.inpaint import Repaint, latent_mask, noise_levels
from engine.worker.lora_rows import Combination
from engine.worker.models import Model
from engine.worker.samplers import make_scheduler, remaining_timesteps, takes_generator
from engine.worker.tables import Table, Tables
from engine.worker.text import PromptEncoder, unread_warning

_MISSING = "The picture did not reach the engine. Try again."


@dataclass(eq=False)
class PictureRun:
    """One picture on its way: what the row-batch loop steps.

    Attributes:
        size: (width, height) in pixels; pictures of one size share a U-Net call.
        scheduler: The picture's own; with a table one for asking, which nobody steps. None when the
            picture is only made larger.
        timesteps: Those that are left to run at the start, CPU tensor (steps,).
        latents: (1, C, H/8, W/8); replaced by each step, never changed in place. Float32 with a table.
        table: What the sampler does at each step; None when `scheduler` does it.
        history: What the sampler keeps of the steps before, (HISTORY, C, H/8, W/8); with a table only.
        step: Steps done of this pass.
        is_second_pass: True from the moment that the first pass was decoded.
        row_counts: Run-length list [rows of the U-Net call, steps] for the receipt.
        token_counts: The same of the tokens of each row's text in that call.
        control_counts: The same, by kind, of the rows of the ControlNet calls that guided it.
        controls: The ControlNets that guide it, each in its window of the steps.
        repaint: What is put back after each step; None without a mask.
    """

    job: JobRun
    index: int
    seed: int
    size: tuple[int, int]
    generator: Any
    scheduler: Any
    timesteps: Any
    latents: Any = None
    table: Table | None = None
    history: Any = None
    step: int = 0
    is_second_pass: bool = False
    row_counts: list[list[int]] = field(default_factory=list)
    token_counts: list[list[int]] = field(default_factory=list)
    control_counts: dict[str, list[list[int]]] = field(default_factory=dict)
    controls: Sequence[ControlRun] = ()
    repaint: Repaint | None = None
    step_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Gives the scheduler the picture's own generator where it draws noise."""
        if self.scheduler is not None and takes_generator(self.scheduler):
            self.step_options = {"generator": self.generator}

    @property
    def timestep(self) -> Any:
        """The scheduler's timestep of the next step, a CPU tensor of no dimension."""
        return self.timesteps[self.step]

    @property
    def is_denoised(self) -> bool:
        """True when no step is left."""
        return self.step >= len(self.timesteps)

    def add_noise(self, clean: Any, noise: Any) -> Any:
        """Returns clean latents with as much of the noise as the next step begins with."""
        if self.table is None:
            return self.scheduler.add_noise(clean, noise, self.timestep[None])
        of_clean, of_noise = self.table.step(self.step).level
        return of_clean * clean + of_noise * noise

    @property
    def active_controls(self) -> list[ControlRun]:
        """The ControlNets that guide the next step."""
        return [run for run in self.controls if run.is_active(self.step, len(self.timesteps))]

    def end_step(self, call: Call) -> None:
        """Puts back what the mask keeps, and notes for the receipt in what calls the step ran."""
        if self.repaint is not None:
            self.latents = self.repaint.blend(self.latents, self.step - 1)
        _count(self.row_counts, call.rows)
        _count(self.token_counts, call.tokens)
        for control in self.job.request.controls:
            counts = self.control_counts.setdefault(control.kind, [])
            _count(counts, call.controls.get(control.kind, 0))


@dataclass(eq=False)
class JobRun:
    """One job while the engine has it.

    Attributes:
        prompt_embeds: (1, tokens, width).
        negative_embeds: The same for the negative prompt; None without guidance.
        adapters: Its LoRAs; None without.
        mask: The request's mask, as it was given; None without one.
        source: The picture to start from, encoded as it was given; None without one.
        maps: Of each of the request's controls its ControlNet and its map, as it was given.
        tables: The samplers as tables; None to step each picture by its own scheduler.
        has_ended: Its last frame was sent; nothing may follow.
    """

    job_id: str
    request: GenerationRequest
    prompt_embeds: Any
    negative_embeds: Any
    adapters: Combination | None = None
    mask: Image.Image | None = None
    source: bytes | None = None
    maps: Sequence[tuple[Control, Any, Image.Image]] = ()
    warnings: tuple[str, ...] = ()
    tables: Tables | None = None
    pictures: list[PictureRun] = field(default_factory=list)
    started_at: float = field(default_factory=time.monotonic)
    preview_at: float = 0.0
    has_ended: bool = False

    @property
    def guidance_scale(self) -> float:
        """Above 1 each picture has an unconditional row."""
        return self.request.guidance_scale

    @property
    def is_guided(self) -> bool:
        """True when each picture has an unconditional row."""
        return self.negative_embeds is not None

    @property
    def wants_preview(self) -> bool:
        """True when enough time has passed; the first step's guess is a blur, not worth a preview."""
        return self.steps_done >= self.request.num_images and time.monotonic() >= self.preview_at

    @property
    def steps_total(self) -> int:
        """Steps of all pictures, both passes."""
        return self.request.num_images * self.request.steps_to_run

    @property
    def steps_done(self) -> int:
        """Steps of all pictures so far."""
        return sum(count for picture in self.pictures for _, count in picture.row_counts)


def start_job(
    model: Model,
    prompts: PromptEncoder,
    job_id: str,
    request: GenerationRequest,
    images: Mapping[str, bytes],
    nets: Mapping[str, Any],
    adapters: Combination | None = None,
    tables: Tables | None = None,
) -> JobRun:
    """Encodes prompts and the picture to start from, and returns the job ready for its first step.

    Args:
        model: The loaded model.
        prompts: Its prompt encoder.
        job_id: The job.
        request: What to make.
        images: Encoded pictures by sha256, all that the request refers to.
        nets: ControlNets by kind, all that the request asks for.
        adapters: The request's LoRAs; None without.
        tables: The samplers as tables; None to step each picture by its own scheduler.

    Raises:
        InvalidRequestError: The request does not fit this model, or its picture cannot be read.
    """
    if request.upscaler is not None:
        return _start_upscaling(job_id, request, images)
    prompt = prompts.encode(request.full_prompt, adapters, request.clip_skip)
    negative = None
    if request.guidance_scale > 1:
        negative = prompts.encode(request.negative_prompt, adapters, request.clip_skip)
    warnings = [unread_warning("prompt", prompt.unread)] if prompt.unread else []
    if negative is not None and negative.unread:
        warnings.append(unread_warning("negative prompt", negative.unread))
    job = JobRun(
        job_id,
        request,
        prompt.embeds,
        None if negative is None else negative.embeds,
        adapters=adapters,
        mask=None if request.mask_image is None else _picture(images, request.mask_image),
        source=None if request.init_image is None else images.get(request.init_image),
        maps=[(c, nets[c.kind], _picture(images, c.image)) for c in request.controls],
        warnings=tuple(warnings),
        tables=tables,
    )
    size = (request.width, request.height)
    if request.init_image is None or request.strength is None:
        job.pictures = [_from_noise(model, job, index) for index in range(request.num_images)]
    else:
        picture = pixels.resize(_picture(images, request.init_image), size)
        posterior = pixels.encode(model, picture)
        job.pictures = [
            _from_picture(model, job, index, size, posterior, request.strength)
            for index in range(request.num_images)
        ]
    runs = _control_runs(model, job, size)
    for run in job.pictures:
        run.controls = runs
    return job


def _start_upscaling(
    job_id: str, request: GenerationRequest, images: Mapping[str, bytes]
) -> JobRun:
    """Returns a job without a step; its picture is made larger beside the loop."""
    job = JobRun(job_id, request, None, None, source=images.get(request.init_image or ""))
    if job.source is None:
        raise InvalidRequestError(_MISSING)
    size = (request.width, request.height)
    job.pictures = [PictureRun(job, 0, request.seed, size, None, None, timesteps=())]
    return job


def start_second_pass(model: Model, first: PictureRun, picture: Image.Image) -> PictureRun:
    """Returns the second, larger pass over the finished first one."""
    second = first.job.request.second_pass
    if second is None:
        raise ValueError("the job has no second pass")
    multiple = model.card.size_multiple
    width, height = (round(side * second.scale / multiple) * multiple for side in first.size)
    posterior = pixels.encode(model, pixels.resize(picture, (width, height)))
    run = _from_picture(model, first.job, first.index, (width, height), posterior, second.strength)
    run.is_second_pass = True
    run.row_counts, run.token_counts = first.row_counts, first.token_counts
    run.control_counts = first.control_counts
    run.controls = _control_runs(model, first.job, (width, height))
    first.job.pictures[first.index] = run
    return run


def _picture(images: Mapping[str, bytes], sha256: str) -> Image.Image:
    if sha256 not in images:
        raise InvalidRequestError(_MISSING)
    return pixels.decode_image(images[sha256])


def _control_runs(model: Model, job: JobRun, size: tuple[int, int]) -> list[ControlRun]:
    """Returns the job's controls with their maps at `size`; its pictures share them."""
    return [
        ControlRun(
            control,
            net,
            pixels.to_unit_range(pixels.resize(image, size)).to(model.device, model.dtype),
        )
        for control, net, image in job.maps
    ]


def _count(counts: list[list[int]], value: int) -> None:
    """Adds one step to a run-length list."""
    if counts and counts[-1][0] == value:
        counts[-1][1] += 1
    else:
        counts.append([value, 1])


def _from_noise(model: Model, job: JobRun, index: int) -> PictureRun:
    request = job.request
    run = _begin(model, job, index, (request.width, request.height), None)
    factor = model.vae_scale_factor
    shape = (1, model.latent_channels, request.height // factor, request.width // factor)
    run.latents = _noise(model, run, shape) * run.scheduler.init_noise_sigma
    return run


def _from_picture(
    model: Model,
    job: JobRun,
    index: int,
    size: tuple[int, int],
    posterior: Any,
    strength: float,
) -> PictureRun:
    """Returns an image-to-image or inpainting run.

    With less than one step it is the picture through the VAE.
    """
    steps = job.request.num_inference_steps
    first = max(steps - min(int(steps * strength), steps), 0)
    run = _begin(model, job, index, size, first)
    if first == steps:
        run.timesteps = run.timesteps[:0]
        run.latents = posterior.mode() * model.scaling_factor
    else:
        # The order of random numbers is the stock pipeline's: posterior sample, then noise; when
        # inpainting also the masked picture's posterior sample, which a 4-channel U-Net never reads.
        clean = model.scaling_factor * posterior.sample(run.generator)
        if job.mask is not None:  # as in stock: convolutions round by the order in memory
            clean = clean.contiguous()
        noise = _noise(model, run, clean.shape)
        run.latents = run.add_noise(clean, noise)
        if job.mask is not None:
            torch.randn(clean.shape, generator=run.generator, dtype=model.dtype)
            levels = noise_levels(run.scheduler, run.timesteps, noise.dtype)
            run.repaint = Repaint(latent_mask(model, job.mask, size), clean, noise, levels)
            if strength == 1:
                run.latents = noise * run.scheduler.init_noise_sigma
    return run


def _begin(
    model: Model, job: JobRun, index: int, size: tuple[int, int], first: int | None
) -> PictureRun:
    """Returns a picture, still without latents, at step `first` of its sampler."""
    request = job.request
    steps = request.num_inference_steps
    table = None if job.tables is None else job.tables.find(request.sampler, steps, first)
    if table is None:
        scheduler = make_scheduler(request.sampler, model.scheduler_config, steps, first)
    else:
        scheduler = table.scheduler
    return PictureRun(
        job=job,
        index=index,
        seed=request.seed_of(index),
        size=size,
        generator=torch.Generator().manual_seed(request.seed_of(index)),
        scheduler=scheduler,
        timesteps=remaining_timesteps(scheduler, first),
        table=table,
    )


def _noise(model: Model, run: PictureRun, shape: Any) -> Any:
    """Draws noise; for half precision the CPU draws the same numbers and rounds them."""
    dtype = model.dtype if run.table is None else torch.float32
    return torch.randn(shape, generator=run.generator, dtype=dtype).to(model.device)
