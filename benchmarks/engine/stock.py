"""The stock diffusers pipelines in three ways: naive, without waste, and batching equal jobs."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import (
    StableDiffusionImg2ImgPipeline,
)
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import (
    EulerAncestralDiscreteScheduler,
)
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from PIL import Image

from benchmarks.engine.contender import Listener
from benchmarks.engine.models import CONTROL, Studio
from benchmarks.engine.trace import Job
from engine.types import GenerationRequest, Sampler

_PNG_LEVEL = 4  # as the engine writes them: encoding is not what is compared
_SCHEDULERS: dict[Sampler, tuple[Any, dict[str, Any]]] = {
    Sampler.DPMPP_2M_KARRAS: (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    Sampler.EULER_A: (EulerAncestralDiscreteScheduler, {}),
    Sampler.EULER: (EulerDiscreteScheduler, {}),
    Sampler.DDIM: (DDIMScheduler, {"clip_sample": False}),
    Sampler.UNIPC: (UniPCMultistepScheduler, {}),
}


class Pipelines:
    """The three pipelines over one set of weights, as one loads them."""

    def __init__(self, studio: Studio, device: Any, dtype: Any) -> None:
        """Loads everything to the device."""
        self.studio = studio
        self.device = device
        self.txt2img = StableDiffusionPipeline.from_pretrained(
            studio.model, dtype=dtype, local_files_only=True
        ).to(device)
        self.scheduler_config = self.txt2img.scheduler.config
        parts = self.txt2img.components
        net = ControlNetModel.from_pretrained(studio.controlnets / CONTROL, dtype=dtype)
        self.control = StableDiffusionControlNetPipeline(
            **parts, controlnet=net.to(device), requires_safety_checker=False
        )
        self.img2img = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
        for pipe in (self.txt2img, self.img2img, self.control):
            pipe.set_progress_bar_config(disable=True)

    def to_channels_last(self) -> None:
        """Orders the weights as tensor cores read them."""
        for part in (self.txt2img.unet, self.txt2img.vae, self.control.controlnet):
            part.to(memory_format=torch.channels_last)

    def run(self, jobs: Sequence[Job]) -> Any:
        """Returns the pictures (jobs, 3, H, W) in [0, 1] of jobs whose settings are all equal."""
        first = jobs[0].request
        cls, options = _SCHEDULERS[first.sampler]
        call: dict[str, Any] = {
            "prompt": [job.request.prompt for job in jobs],
            "negative_prompt": [job.request.negative_prompt for job in jobs],
            "num_inference_steps": first.num_inference_steps,
            "guidance_scale": first.guidance_scale,
            "generator": [torch.Generator().manual_seed(job.request.seed) for job in jobs],
            "output_type": "pt",
        }
        match jobs[0].kind:
            case "remix":
                pipe = self.img2img
                call |= {"image": self._pictures(jobs), "strength": first.strength}
            case "pose":
                pipe = self.control
                call |= {"image": self._pictures(jobs), "width": first.width,
                         "height": first.height,
                         "controlnet_conditioning_scale": first.controls[0].scale}  # fmt: skip
            case _:
                pipe = self.txt2img
                call |= {"width": first.width, "height": first.height}
        pipe.scheduler = cls.from_config(self.scheduler_config, **options)
        return pipe(**call).images

    def load_loras(self, files: Sequence[Path]) -> None:
        """Loads LoRA files, each under its file's name."""
        for path in files:
            self.txt2img.load_lora_weights(
                path.parent, weight_name=path.name, adapter_name=path.stem
            )

    def use_loras(self, request: GenerationRequest) -> None:
        """Lets the request's LoRAs act, of those that are loaded."""
        names = [self.studio.loras[adapter.sha256].stem for adapter in request.adapters]
        self.txt2img.set_adapters(names, [adapter.weight for adapter in request.adapters])

    def _pictures(self, jobs: Sequence[Job]) -> list[Image.Image]:
        return [self.studio.picture(job.request.images[0]) for job in jobs]


class StockContender:
    """One call of a stock pipeline at a time, in the order of the jobs."""

    keep_pixels = False

    def __init__(self, name: str, pipelines: Pipelines) -> None:
        """Takes the pipelines; others may use them, too, between two jobs."""
        self.name = name
        self.listener = Listener()
        self._calls = 0
        self._jobs = 0
        self._pipelines = pipelines
        self._waiting: deque[Job] = deque()
        self._pixels: dict[str, Any] = {}

    def submit(self, job: Job) -> None:
        """Takes a job in."""
        self._waiting.append(job)

    def work(self) -> bool:
        """Makes the pictures of the next call."""
        if not self._waiting:
            return False
        jobs = self._next()
        self._calls += 1
        self._jobs += len(jobs)
        for job, picture in zip(jobs, self._run(jobs), strict=True):
            if self.keep_pixels:
                self._pixels[job.id] = (picture * 2 - 1).float().cpu()
            self.listener.picture(job.id, _encode(picture))
        return True

    def settle(self) -> None:
        """Nothing runs beside it."""

    def pixels(self, job_id: str) -> Any:
        """Returns a finished job's picture (3, H, W) in [-1, 1]."""
        return self._pixels.pop(job_id)

    @property
    def mean_batch(self) -> float:
        """Jobs of a call, over all calls so far."""
        return self._jobs / max(self._calls, 1)

    def _next(self) -> list[Job]:
        return [self._waiting.popleft()]

    def _run(self, jobs: Sequence[Job]) -> Any:
        raise NotImplementedError


class Naive(StockContender):
    """Loads a job's LoRAs from their files and unloads them after it, as most bots do."""

    def _run(self, jobs: Sequence[Job]) -> Any:
        request = jobs[0].request
        if not request.adapters:
            return self._pipelines.run(jobs)
        load(self._pipelines, request)
        try:
            return self._pipelines.run(jobs)
        finally:
            self._pipelines.txt2img.unload_lora_weights()


class Careful(StockContender):
    """All LoRAs stay loaded and are switched on and off; still one job at a time."""

    def __init__(self, name: str, pipelines: Pipelines) -> None:
        """Takes pipelines with all LoRAs loaded."""
        super().__init__(name, pipelines)

    def _run(self, jobs: Sequence[Job]) -> Any:
        request = jobs[0].request
        if request.adapters:
            self._pipelines.txt2img.enable_lora()
            self._pipelines.use_loras(request)
        else:
            self._pipelines.txt2img.disable_lora()
        return self._pipelines.run(jobs)


class EqualKey(Careful):
    """As `Careful`, but waiting jobs that differ in prompt, seed and picture alone share a call."""

    def __init__(self, name: str, pipelines: Pipelines, most: int) -> None:
        """Batches at most `most` jobs."""
        super().__init__(name, pipelines)
        self._most = most

    def _next(self) -> list[Job]:
        key = equal_key(self._waiting[0])
        jobs = [job for job in self._waiting if equal_key(job) == key][: self._most]
        for job in jobs:
            self._waiting.remove(job)
        return jobs


def equal_key(job: Job) -> tuple[Any, ...]:
    """Returns what two jobs must share to be one call of a stock pipeline."""
    asked = job.request
    controls = tuple((c.kind, c.scale, c.start, c.end) for c in asked.controls)
    return (
        job.kind, asked.width, asked.height, asked.num_inference_steps, asked.strength,
        asked.sampler, asked.guidance_scale, asked.adapters, controls,
    )  # fmt: skip


def load(pipelines: Pipelines, request: GenerationRequest) -> None:
    """Loads a request's LoRAs from their files and lets them act."""
    pipelines.load_loras([pipelines.studio.loras[adapter.sha256] for adapter in request.adapters])
    pipelines.use_loras(request)


def _encode(picture: Any) -> bytes:
    levels = (picture.permute(1, 2, 0).float() * 255).round().to(torch.uint8).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
