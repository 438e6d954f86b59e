"""What there is to ask for: what the engine says of itself, and the LoRAs that are installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from engine.errors import InvalidRequestError
from engine.types.requests import (
    MAX_LCM_STEPS,
    MAX_UPSCALED_SIDE,
    GenerationRequest,
    Sampler,
    Upscaler,
)
from engine.words import N_


@dataclass(frozen=True, slots=True)
class InstalledAdapter:
    """A LoRA that people may use.

    Attributes:
        sha256: Of its file (hex).
        name: Unique without regard to case among those that are not gone.
        trigger_words: What a prompt should say to make the most of it.
        default_weight: The weight when nobody says another.
        family: Base models that it fits, as in `EngineInfo.family`.
        enabled: False while an administrator keeps it from being used.
        added_by: Discord user; 0 for the operator.
        size_bytes: Of its file.
        added_at: Aware UTC.
        description: What its maker says of it.
        source: The file that it was copied from; "" when somebody sent it.
        stamp: Size and time of that file when it was read.
        is_gone: That file was removed or replaced; the name is still known for history.
        is_removed: An owner of the bot removed it; a file that stays in its place does not bring it back.
        former_names: What it was called before, so that what people set finds it.
    """

    sha256: str
    name: str
    trigger_words: tuple[str, ...]
    default_weight: float
    family: str
    enabled: bool
    added_by: int
    size_bytes: int
    added_at: datetime
    description: str = ""
    source: str = ""
    stamp: str = ""
    is_gone: bool = False
    is_removed: bool = False
    former_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine says of itself when it is ready; options and limits follow it.

    Attributes:
        model: Name that people see and requests carry.
        model_hash: First 10 hex digits of the U-Net weights' sha256 (A1111's "Model hash").
        family: "pocket", "sd15", "sd2" or "sdxl"; which LoRAs fit, see `engine.lora.layers`.
        native_size: Side of the square that the model was trained on, pixels.
        size_multiple: Width and height must be multiples of this.
        max_side: Largest width or height, pixels.
        samplers: Samplers that this model can run.
        default_sampler: The model's own choice.
        default_steps: The model's own choice.
        default_guidance_scale: The model's own choice.
        max_rows: Rows of one U-Net call beyond which more rows do not help (the knee).
        device: torch device, "cuda:0" or "cpu".
        device_name: For people, "NVIDIA GeForce RTX 3060" or "CPU (8 threads)".
        dtype: "float16", "bfloat16" or "float32".
        memory_bytes: Memory that the engine holds after loading.
        versions: Library name to version; part of a picture's receipt.
        default_negative_prompt: The model's own choice; words that a model never saw would spoil its
            pictures.
        control_kinds: ControlNets that the model has; each is loaded when it is first asked for.
        upscalers: What makes pictures larger, the best last; a learned one is loaded when it is first
            asked for.
        has_classifier: True when finished pictures are looked at, see `Picture.score`.
    """

    model: str
    model_hash: str
    family: str
    native_size: int
    size_multiple: int
    max_side: int
    samplers: tuple[Sampler, ...]
    default_sampler: Sampler
    default_steps: int
    default_guidance_scale: float
    max_rows: int
    device: str
    device_name: str
    dtype: str
    memory_bytes: int
    versions: Mapping[str, str] = field(default_factory=dict)
    default_negative_prompt: str = ""
    control_kinds: tuple[str, ...] = ()
    upscalers: tuple[Upscaler, ...] = (Upscaler.LANCZOS,)
    has_classifier: bool = False

    @property
    def best_upscaler(self) -> Upscaler:
        """What makes pictures larger unless somebody says otherwise."""
        return self.upscalers[-1]

    def check(self, request: GenerationRequest) -> None:
        """Raises InvalidRequestError when this model cannot run the request."""
        if request.upscaler is not None:  # whichever model made it
            if request.upscaler not in self.upscalers:
                raise InvalidRequestError(
                    "The upscaler {name} is not installed here any more. Upscale the picture again.",
                    name=request.upscaler.label,
                )
            if max(request.width, request.height) > MAX_UPSCALED_SIDE:
                raise InvalidRequestError(
                    "The picture would have {width}x{height} pixels, at most {limit} a side are "
                    "made. Choose a smaller factor.",
                    width=request.width,
                    height=request.height,
                    limit=MAX_UPSCALED_SIDE,
                )
            return
        if request.model != self.model:
            raise InvalidRequestError(
                "The model {model!r} is not loaded. Loaded now: {loaded!r}.",
                model=request.model,
                loaded=self.model,
            )
        if request.sampler not in self.samplers:
            known = ", ".join(self.samplers)
            raise InvalidRequestError(
                "{model} has no sampler {sampler!r}. Choose one of: {known}.",
                model=self.model,
                sampler=request.sampler,
                known=known,
            )
        if request.sampler.is_distilled and request.num_inference_steps > MAX_LCM_STEPS:
            raise InvalidRequestError(
                "The sampler {sampler} runs at most {limit} steps, not {steps}. "
                "Use fewer (4 to 8 are usual) or another sampler.",
                sampler=request.sampler,
                limit=MAX_LCM_STEPS,
                steps=request.num_inference_steps,
            )
        for control in request.controls:
            if control.kind not in self.control_kinds:
                known = ", ".join(self.control_kinds)
                if not known:
                    raise InvalidRequestError(
                        "{model} has no control {kind!r}. It has none.",
                        model=self.model,
                        kind=control.kind,
                    )
                raise InvalidRequestError(
                    "{model} has no control {kind!r}. Choose one of: {known}.",
                    model=self.model,
                    kind=control.kind,
                    known=known,
                )
        scale = request.second_pass.scale if request.second_pass else 1.0
        for name, value in ((N_("width"), request.width), (N_("height"), request.height)):
            if value % self.size_multiple or not (
                self.size_multiple <= value * scale <= self.max_side
            ):
                biggest = int(self.max_side / scale) // self.size_multiple * self.size_multiple
                raise InvalidRequestError(
                    "{value} is no {name} for {model}: it takes {multiple} to {limit} in steps of "
                    "{multiple}.",
                    value=value,
                    name=name,
                    model=self.model,
                    multiple=self.size_multiple,
                    limit=biggest,
                )

    def cost(self, request: GenerationRequest) -> float:
        """Returns the price: 1.0 is one picture of the model's own size and number of steps."""
        rows = 2 if self.default_guidance_scale > 1 else 1
        standard = rows * self.default_steps * self.native_size**2 / 1e6
        return max(round(request.work / standard, 2), 0.01)
