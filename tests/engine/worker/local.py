"""Runs the row-batch loop in the test's own process, and the stock pipelines beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from PIL import Image

from engine import protocol
from engine.model_card import control_sources, engine_info, upscaler_source, upscalers
from engine.protocol import Frame
from engine.receipts import PNG_KEY, read_recipe
from engine.settings import EngineSettings
from engine.types import AdapterWeight, Control, EngineInfo, GenerationRequest, Sampler
from engine.worker.jobs import JobRun
from engine.worker.loop import RowLoop
from engine.worker.models import Model, load_model

STOCK_SCHEDULERS: dict[Sampler, tuple[Any, dict[str, Any]]] = {
    Sampler.DDIM: (DDIMScheduler, {"clip_sample": False}),
    Sampler.DDPM: (DDPMScheduler, {"clip_sample": False}),
    Sampler.EULER: (EulerDiscreteScheduler, {}),
    Sampler.EULER_A: (EulerAncestralDiscreteScheduler, {}),
    Sampler.HEUN: (HeunDiscreteScheduler, {}),
    Sampler.DPMPP_2M: (DPMSolverMultistepScheduler, {}),
    Sampler.DPMPP_2M_KARRAS: (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    Sampler.DPMPP_2M_SDE_KARRAS: (
        DPMSolverMultistepScheduler,
        {"use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"},
    ),
    Sampler.DPMPP_2S: (DPMSolverSinglestepScheduler, {"lower_order_final": True}),
    Sampler.UNIPC: (UniPCMultistepScheduler, {}),
    Sampler.DEIS: (DEISMultistepScheduler, {}),
    Sampler.PNDM: (PNDMScheduler, {"skip_prk_steps": True}),
    Sampler.LCM: (LCMScheduler, {}),
    Sampler.TCD: (TCDScheduler, {}),
}


class WatchedUNet(torch.nn.Module):
    """The real U-Net; remembers the rows of its calls and can be told to fail before some."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet
        self.config = unet.config
        self.rows: list[int] = []
        self.fail: Callable[[Any, Any], Exception | None] = lambda sample, timesteps: None

    def forward(self, sample: Any, timestep: Any, **options: Any) -> Any:
        self.rows.append(len(sample))
        if (error := self.fail(sample, timestep)) is not None:
            raise error
        return self.unet(sample, timestep, **options)

    def get_submodule(self, target: str) -> torch.nn.Module:
        return self.unet.get_submodule(target)

    def named_modules(self, *args: Any, **options: Any) -> Iterator[tuple[str, torch.nn.Module]]:
        return self.unet.named_modules(*args, **options)

    def num_parameters(self) -> int:
        return int(self.unet.num_parameters())


class LocalEngine:
    """A loaded model and its loop; frames that it sends are kept in `frames`."""

    def __init__(
        self,
        folder: Path,
        *,
        row_limit: int = 64,
        has_tables: bool = True,
        model: Model | None = None,
        buckets: Sequence[int] = (),
        score: Callable[[Image.Image], float] | None = None,
        **settings: Any,
    ) -> None:
        """Loads the folder's model, or takes `model`, which another engine of the same folder loaded."""
        values = {"model": str(folder), "device": "cpu", "preview_interval_s": 1e6, **settings}
        engine_settings = EngineSettings(**values)
        model = model or load_model(engine_settings, lambda stage, fraction: None)
        sources = control_sources(engine_settings)
        self.unet = WatchedUNet(getattr(model.unet, "unet", model.unet))
        self.model: Model = dataclasses.replace(model, unet=self.unet)
        self.info: EngineInfo = engine_info(
            self.model.card,
            model_hash=self.model.model_hash,
            max_rows=row_limit,
            device=str(self.model.device),
            device_name="CPU",
            dtype=str(self.model.dtype).removeprefix("torch."),
            memory_bytes=0,
            control_kinds=tuple(sources),
            upscalers=upscalers(engine_settings),
        )
        self.frames: list[Frame] = []
        self.sent: dict[str, Frame] = {}  # by job
        self.inbox: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self.loop = RowLoop(
            self.model,
            self.info,
            self._keep,
            self.inbox,
            row_limit=row_limit,
            preview_interval_s=values["preview_interval_s"],
            control_sources=sources,
            control_bytes=engine_settings.controlnet_memory_mb << 20,
            adapter_bytes=engine_settings.adapter_memory_mb << 20,
            upscaler=upscaler_source(engine_settings),
            score=score,
            buckets=buckets,
            has_tables=has_tables,
        )

    def _keep(self, kind: str, fields: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
        protocol.encode(kind, fields, blobs)  # fails here when it cannot travel
        self.frames.append(Frame(kind, fields, tuple(blobs)))

    def request(self, **changes: Any) -> GenerationRequest:
        values: dict[str, Any] = {
            "prompt": "a red cat",
            "width": self.info.native_size,
            "height": self.info.native_size,
            "seed": 7,
            "num_inference_steps": 5,
            "guidance_scale": 4.0,
            "sampler": Sampler.DDIM,
            "model": self.info.model,
        }
        return GenerationRequest(**(values | changes))

    def send(
        self,
        job_id: str,
        image: Image.Image | None = None,
        controls: Sequence[tuple[Image.Image, Control]] = (),
        mask: Image.Image | None = None,
        styles: Sequence[tuple[Path, float]] = (),
        **changes: Any,
    ) -> None:
        """Hands a job to the loop; the controls' `image` is filled in, `styles` are LoRA files."""
        blobs: dict[str, bytes] = {}

        def keep(picture: Image.Image) -> str:
            data = png_of(picture)
            sha256 = hashlib.sha256(data).hexdigest()
            blobs[sha256] = data
            return sha256

        if image is not None:
            changes["init_image"] = keep(image)
        if mask is not None:
            changes["mask_image"] = keep(mask)
        filled = [dataclasses.replace(control, image=keep(map_)) for map_, control in controls]
        files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path, _ in styles}
        adapters = tuple(
            AdapterWeight(sha256, weight) for sha256, (_, weight) in zip(files, styles, strict=True)
        )
        request = self.request(**({"controls": tuple(filled), "adapters": adapters} | changes))
        fields = {
            "job_id": job_id,
            "request": protocol.pack(request),
            "images": list(blobs),
            "adapters": [(sha256, str(path)) for sha256, path in files.items()],
        }
        self._generate(Frame("generate", fields, tuple(blobs.values())))

    def _generate(self, frame: Frame) -> None:
        self.sent[frame.fields["job_id"]] = frame
        self.loop.handle(frame)

    def replay(self, job_id: str, sent: Frame, picture: Image.Image) -> None:
        """Hands a picture to the loop to be made again, alone; `sent` has the files of its job."""
        request, receipt = read_recipe(picture.info[PNG_KEY])
        fields = {"request": protocol.pack(request), "receipt": receipt.packed()}
        self._generate(Frame("generate", {**sent.fields, "job_id": job_id, **fields}, sent.blobs))

    def join(self, job_id: str, image: Image.Image | None = None, **changes: Any) -> JobRun:
        """Hands a job to the loop and returns its run, when what it needs is loaded."""
        self.send(job_id, image, **changes)
        while job_id in self.loop.waiting_ids():
            self.loop.handle(self.inbox.get())
        return next(job for job in self.loop.jobs() if job.job_id == job_id)

    def finish(self) -> None:
        """Ticks until nothing is left, and waits for the encoders."""
        while not self.loop.is_idle:
            while not self.inbox.empty() or not self.loop.has_work:
                self.loop.handle(self.inbox.get())
                if self.loop.is_idle:
                    break
            self.loop.tick()
        self.loop.encoder.drain()

    def last(self, job_id: str) -> Frame:
        """Returns the frame that ended the job."""
        (frame,) = [
            frame
            for frame in self.frames
            if frame.kind in ("done", "failed") and frame.fields["job_id"] == job_id
        ]
        return frame

    def pictures(self, job_id: str) -> list[Image.Image]:
        """Returns the finished pictures of a job."""
        found = [
            frame
            for frame in self.frames
            if frame.kind == "picture" and frame.fields["job_id"] == job_id
        ]
        found.sort(key=lambda frame: frame.fields["index"])
        return [Image.open(io.BytesIO(frame.blobs[0])) for frame in found]


def png_of(picture: Image.Image) -> bytes:
    """Returns the picture as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


class Stock:
    """The stock pipelines over the same folder."""

    def __init__(self, folder: Path) -> None:
        self.txt2img = StableDiffusionPipeline.from_pretrained(folder)
        self.txt2img.vae.enable_slicing()  # the engine decodes pictures one by one
        self.txt2img.set_progress_bar_config(disable=True)
        self.img2img = StableDiffusionImg2ImgPipeline(
            **self.txt2img.components, requires_safety_checker=False
        )
        self.img2img.set_progress_bar_config(disable=True)
        self.inpaint = StableDiffusionInpaintPipeline(
            **self.txt2img.components, requires_safety_checker=False
        )
        self.inpaint.set_progress_bar_config(disable=True)
        self.config = self.txt2img.scheduler.config
        self.nets = {
            path.name: ControlNetModel.from_pretrained(path)
            for path in sorted(folder.glob("controlnets/*"))
        }

    def latents(
        self, request: GenerationRequest, image: Image.Image | None = None, **changes: Any
    ) -> Any:
        """Returns the final latents (num_images, C, h, w) of the request."""
        return self._run(request, image, output_type="latent", **changes)

    def images(
        self, request: GenerationRequest, image: Image.Image | None = None, **changes: Any
    ) -> list[Image.Image]:
        """Returns the pictures of the request."""
        pictures: list[Image.Image] = self._run(request, image, output_type="pil", **changes)
        return pictures

    def _run(
        self,
        request: GenerationRequest,
        image: Image.Image | None,
        maps: Sequence[Image.Image] = (),
        mask: Image.Image | None = None,
        **changes: Any,
    ) -> Any:
        """`maps` are the pictures of the request's controls."""
        cls, options = STOCK_SCHEDULERS[request.sampler]
        scheduler = cls.from_config(self.config, **options)
        pipe = self.txt2img if image is None else self.img2img
        if request.controls:
            pipe = self._control_pipe(request, is_img2img=image is not None)
            one = len(maps) == 1
            changes |= {
                ("control_image" if image is not None else "image"): maps[0] if one else list(maps),
                "controlnet_conditioning_scale": (
                    request.controls[0].scale if one else [c.scale for c in request.controls]
                ),
                "control_guidance_start": [control.start for control in request.controls],
                "control_guidance_end": [control.end for control in request.controls],
            }
        if mask is not None:
            # A list: each picture then draws from its own generator, as the engine's do.
            pipe = self.inpaint
            changes |= {"mask_image": [mask] * request.num_images}
            image = [image] * request.num_images
        pipe.scheduler = scheduler
        call: dict[str, Any] = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "num_inference_steps": request.num_inference_steps,
            "guidance_scale": request.guidance_scale,
            "num_images_per_prompt": request.num_images,
            "generator": [
                torch.Generator().manual_seed(request.seed_of(k)) for k in range(request.num_images)
            ],
        }
        if request.sampler is Sampler.TCD:
            # The scheduler's own; the pipelines' 0 would take the noise out of TCD.
            call["eta"] = 0.3
        if image is None or request.controls or mask is not None:
            call |= {"width": request.width, "height": request.height}
        if image is not None:
            call |= {"image": image, "strength": request.strength}
        return pipe(**(call | changes)).images

    def _control_pipe(self, request: GenerationRequest, *, is_img2img: bool) -> Any:
        nets = [self.nets[control.kind] for control in request.controls]
        cls = (
            StableDiffusionControlNetImg2ImgPipeline
            if is_img2img
            else StableDiffusionControlNetPipeline
        )
        pipe = cls(
            **self.txt2img.components,
            controlnet=nets[0] if len(nets) == 1 else nets,
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        return pipe
