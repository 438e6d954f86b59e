"""A job inside the engine: its pictures on their way, each with its own latents and scheduler."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from engine.errors import InvalidRequestError
from engine.receipts import Call, PictureReceipt, Receipt
from engine.types import Control, GenerationRequest
from engine.worker import pixels
from engine.worker.conditions import Condition, EncodedPrompt
from engine.worker.controls import ControlRun
from engine.worker.inpaint import Repaint, latent_mask
from engine.worker.lora_rows import Combination
from engine.worker.models import Model
from engine.worker.replay import Script, scripts_of
from engine.worker.samplers import make_scheduler, remaining_timesteps, takes_generator
from engine.worker.tables import Table, Tables
from engine.worker.text import PromptEncoder, unread_warning
from engine.worker.upscaling import Enlarging
from engine.worker.vae import Vae

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
        receipt: In what calls it was made so far, over both passes.
        script: In what calls it is made, when it is made again; None for a new picture.
        controls: The ControlNets that guide it, each in its window of the steps.
        repaint: What is put back after each step; None without a mask.
        condition: The `Condition` of its row. None when the picture is only made larger.
        negative: That of its unconditional row; None without guidance.
        enlarging: Its way through the learned upscaler; None when it does not go there.
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
    receipt: PictureReceipt = field(init=False)
    script: Script | None = None
    controls: Sequence[ControlRun] = ()
    repaint: Repaint | None = None
    condition: Any = None
    negative: Any = None
    enlarging: Enlarging | None = None
    step_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Gives the scheduler the picture's own generator where it draws noise."""
        self.receipt = PictureReceipt(self.seed)
        if self.scheduler is not None:
            self.receipt.stepped_by = "scheduler" if self.table is None else "table"
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

    def add_noise(self, clean: Any, noise: Any, step: int | None = None) -> Any:
        """Returns clean latents with as much of the noise as `step` begins with, by default the next."""
        step = self.step if step is None else step
        if self.table is None:
            return self.scheduler.add_noise(clean, noise, self.timesteps[step][None])
        of_clean, of_noise = self.table.step(step).level
        return of_clean * clean + of_noise * noise

    def repainted(self, latents: Any, step: int) -> Any:
        """Returns the latents that `step` begins with, with what the mask keeps put back."""
        if self.repaint is None:
            return latents
        kept = self.repaint.clean
        if step < len(self.timesteps):
            kept = self.add_noise(kept, self.repaint.noise, step)
        return self.repaint.blend(kept, latents)

    @property
    def active_controls(self) -> list[ControlRun]:
        """The ControlNets that guide the next step."""
        return [run for run in self.controls if run.is_active(self.step, len(self.timesteps))]

    @property
    def calls_again(self) -> list[Call]:
        """In what calls the rows of the next step run, the unconditional one first; none if new."""
        if self.script is None:
            return []
        return self.script.calls(len(self.receipt.calls), is_guided=self.job.is_guided)

    @property
    def tile_again(self) -> int | None:
        """In what tiles the VAE's next call runs, see `Vae`; None if that is open."""
        return None if self.script is None else self.script.tile(len(self.receipt.vae_tiles))

    def end_step(self, call: Call, unconditional: Call | None) -> None:
        """Notes for the receipt in what calls the step ran."""
        self.receipt.calls.add(call)
        if unconditional is not None:
            self.receipt.unconditional.add(unconditional)


@dataclass(eq=False)
class JobRun:
    """One job while the engine has it.

    Attributes:
        prompt: As the U-Net reads it. None when a picture is only made larger.
        negative: The same of the negative prompt; None without guidance.
        adapters: Its LoRAs; None without.
        mask: The request's mask, as it was given; None without one.
        source: The picture to start from, encoded as it was given; None without one.
        maps: Of each of the request's controls its ControlNet and its map, as it was given.
        tables: The samplers as tables; None to step each picture by its own scheduler.
        scripts: Of each picture that is made again what its receipt says; none for new ones.
        has_ended: Its last frame was sent; nothing may follow.
    """

    job_id: str
    request: GenerationRequest
    prompt: EncodedPrompt | None
    negative: EncodedPrompt | None
    adapters: Combination | None = None
    mask: Image.Image | None = None
    source: bytes | None = None
    maps: Sequence[tuple[Control, Any, Image.Image]] = ()
    warnings: tuple[str, ...] = ()
    tables: Tables | None = None
    scripts: Sequence[Script] = ()
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
        return self.negative is not None

    @property
    def wants_preview(self) -> bool:
        """True when enough time has passed; the first step's guess is a blur, not worth a preview."""
        return self.steps_done >= self.request.num_images and time.monotonic() >= self.preview_at

    @property
    def steps_total(self) -> int:
        """Steps of all pictures, both passes; of one that is enlarged, its tiles."""
        if self._enlarging is not None:
            return max(self._enlarging.total, 1)
        return self.request.num_images * self.request.steps_to_run

    @property
    def steps_done(self) -> int:
        """Steps of all pictures so far."""
        if self._enlarging is not None:
            return self._enlarging.done
        return sum(len(picture.receipt.calls) for picture in self.pictures)

    @property
    def upscaler_hash(self) -> str:
        """First 10 hex digits of the sha256 of the learned upscaler's file; "" without one."""
        return "" if self._enlarging is None else str(self._enlarging.net.file_hash)

    @property
    def _enlarging(self) -> Enlarging | None:
        return self.pictures[0].enlarging if self.pictures else None


def start_job(
    model: Model,
    vae: Vae,
    prompts: PromptEncoder,
    job_id: str,
    request: GenerationRequest,
    images: Mapping[str, bytes],
    nets: Mapping[str, Any],
    adapters: Combination | None = None,
    tables: Tables | None = None,
    receipt: Receipt | None = None,
    upscaler: Any = None,
) -> JobRun:
    """Encodes prompts and the picture to start from, and returns the job ready for its first step.

    Args:
        model: The loaded model.
        vae: Its VAE.
        prompts: Its prompt encoder.
        job_id: The job.
        request: What to make.
        images: Encoded pictures by sha256, all that the request refers to.
        nets: ControlNets by kind, all that the request asks for.
        adapters: The request's LoRAs; None without.
        tables: The samplers as tables; None to step each picture by its own scheduler.
        receipt: How these pictures were made, to make them again; None for new ones.
        upscaler: The learned one, if the request asks for it.

    Raises:
        InvalidRequestError: The request does not fit this model, or its picture cannot be read.
        RuntimeError: It does not fit into memory now, see `is_out_of_memory`.
    """
    if request.upscaler is not None:
        return _start_upscaling(job_id, request, images, upscaler)
    prompt = prompts.encode(request.full_prompt, adapters, request.clip_skip)
    negative = None
    if request.guidance_scale > 1:
        negative = prompts.encode_negative(request.negative_prompt, adapters, request.clip_skip)
    scripts = scripts_of(request, receipt)
    warnings = [unread_warning("prompt", prompt.unread)] if prompt.unread else []
    if negative is not None and negative.unread:
        warnings.append(unread_warning("negative prompt", negative.unread))
    job = JobRun(
        job_id,
        request,
        prompt,
        negative,
        adapters=adapters,
        mask=None if request.mask_image is None else _picture(images, request.mask_image),
        source=None if request.init_image is None else images.get(request.init_image),
        maps=[(c, nets[c.kind], _picture(images, c.image)) for c in request.controls],
        warnings=tuple(warnings),
        tables=tables,
        scripts=scripts,
    )
    size = (request.width, request.height)
    if request.init_image is None or request.strength is None:
        job.pictures = [_from_noise(model, job, index) for index in range(request.num_images)]
    else:
        picture = pixels.resize(_picture(images, request.init_image), size)
        posterior, tile = vae.encode(picture, scripts[0].tile(0) if scripts else None)
        job.pictures = [
            _from_picture(model, job, index, size, posterior, request.strength)
            for index in range(request.num_images)
        ]
        for run in job.pictures:
            run.receipt.vae_tiles.append(tile)
    runs = _control_runs(model, job, size)
    for run in job.pictures:
        run.controls = runs
    return job


def _start_upscaling(
    job_id: str, request: GenerationRequest, images: Mapping[str, bytes], net: Any
) -> JobRun:
    """Returns a job without a step; its picture is made larger by `engine.worker.upscaling`."""
    job = JobRun(job_id, request, None, None, source=images.get(request.init_image or ""))
    if job.source is None:
        raise InvalidRequestError(_MISSING)
    size = (request.width, request.height)
    run = PictureRun(job, 0, request.seed, size, None, None, timesteps=())
    if net is not None:
        run.enlarging = Enlarging(net, pixels.decode_image(job.source), size)
    job.pictures = [run]
    return job


def start_second_pass(
    model: Model, vae: Vae, first: PictureRun, picture: Image.Image
) -> PictureRun:
    """Returns the second, larger pass over the finished first one.

    Raises:
        RuntimeError: It does not fit into memory now, see `is_out_of_memory`.
    """
    second = first.job.request.second_pass
    if second is None:
        raise ValueError("the job has no second pass")
    multiple = model.card.size_multiple
    width, height = (round(side * second.scale / multiple) * multiple for side in first.size)
    larger = pixels.resize(picture, (width, height))
    posterior, tile = vae.encode(larger, first.tile_again)
    run = _from_picture(model, first.job, first.index, (width, height), posterior, second.strength)
    run.is_second_pass = True
    run.receipt = first.receipt
    run.controls = _control_runs(model, first.job, (width, height))
    # From here on nothing can fail: until then `first` is as it was, and this can be tried again.
    run.receipt.vae_tiles.append(tile)
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
        # Convolutions round by the order in memory. The VAE's is another one, which a call has only
        # when all of its rows do: with tables a row's bits must not depend on that. Without, it is as
        # in the stock pipelines.
        if job.mask is not None or job.tables is not None:
            clean = clean.contiguous()
        noise = _noise(model, run, clean.shape)
        run.latents = run.add_noise(clean, noise)
        if job.mask is not None:
            torch.randn(clean.shape, generator=run.generator, dtype=model.dtype)
            run.repaint = Repaint(latent_mask(model, job.mask, size), clean, noise)
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
        script=job.scripts[index] if job.scripts else None,
        condition=_condition(model, job.prompt, size),
        negative=_condition(model, job.negative, size),
    )


def _condition(
    model: Model, prompt: EncodedPrompt | None, size: tuple[int, int]
) -> Condition | None:
    return None if prompt is None else model.conditioner.condition(prompt, size)


def _noise(model: Model, run: PictureRun, shape: Any) -> Any:
    """Draws noise; for half precision the CPU draws the same numbers and rounds them."""
    dtype = model.dtype if run.table is None else torch.float32
    return torch.randn(shape, generator=run.generator, dtype=dtype).to(model.device)
