"""What was asked for: everything that decides the pixels, and nothing about who asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from engine.errors import InvalidRequestError
from engine.words import N_, Words

MAX_SEED = 2**32 - 1
MAX_PROMPT_LENGTH = 1500  # characters
MAX_STEPS = 60
MAX_LCM_STEPS = 50  # the steps of the teacher that LCM and TCD models were distilled from
MAX_GUIDANCE_SCALE = 20.0
MAX_IMAGES = 4  # pictures of one job
MAX_CONTROLS = 3  # ControlNets of one job
MAX_CONTROL_SCALE = 2.0
MAX_ADAPTERS = 5  # LoRAs of one job
MAX_ADAPTER_WEIGHT = 2.0  # also below zero, where a LoRA does the opposite
MAX_CLIP_SKIP = 11  # a model may have fewer layers
MAX_UPSCALED_SIDE = 4096  # pixels
# Row-step-megapixels of an upscaled megapixel. Lanczos takes about a step's time on a CPU. The usual Swin2SR has
# 12 million weights for each small pixel, with the overlap of its tiles four times what an SD 1.5 has in a row.
UPSCALING_WORK = {"lanczos": 0.1, "swin2sr": 4.0}
CONTROL_COST = 0.35  # a ControlNet's work for a row as a share of the U-Net's (283 of 803 GFLOP)


class Sampler(StrEnum):
    """The name that a person picks; the worker maps it to a diffusers scheduler."""

    DDIM = "ddim"
    DDPM = "ddpm"
    EULER = "euler"
    EULER_A = "euler_a"
    HEUN = "heun"
    DPMPP_2M = "dpmpp_2m"
    DPMPP_2M_KARRAS = "dpmpp_2m_karras"
    DPMPP_2M_SDE_KARRAS = "dpmpp_2m_sde_karras"
    DPMPP_2S = "dpmpp_2s"
    UNIPC = "unipc"
    DEIS = "deis"
    PNDM = "pndm"
    LCM = "lcm"
    TCD = "tcd"

    @property
    def is_distilled(self) -> bool:
        """True for samplers of models that were distilled from a teacher's few steps."""
        return self in (Sampler.LCM, Sampler.TCD)

    def unet_calls(self, steps: int, num_inference_steps: int) -> int:
        """Returns the U-Net calls of the last `steps` of a run's `num_inference_steps`.

        Heun looks at both ends of each step but the last; PNDM looks twice at its first.
        """
        match self:
            case Sampler.HEUN if steps:
                return 2 * steps - 1
            case Sampler.PNDM if steps and num_inference_steps > 1:
                return steps + 1
        return steps


class Upscaler(StrEnum):
    """How a picture is made larger without drawing anything new."""

    LANCZOS = "lanczos"
    SWIN2SR = "swin2sr"  # a learned one, where the operator has installed it

    @property
    def label(self) -> str:
        """Its name as its makers write it."""
        return {"lanczos": "Lanczos", "swin2sr": "Swin2SR"}[self]


@dataclass(frozen=True, slots=True)
class SecondPass:
    """A second denoising of the finished picture at a larger size ("hires fix").

    Attributes:
        scale: Factor on width and height; the result is rounded to the model's size multiple.
        strength: Image-to-image strength of the second pass, in (0, 1].
    """

    scale: float = 1.5
    strength: float = 0.5

    def __post_init__(self) -> None:
        """Raises InvalidRequestError when a field is out of range."""
        _check_number(N_("second pass scale"), self.scale, 1.0, 2.0)
        _check_number(N_("second pass strength"), self.strength, 0.01, 1.0)


@dataclass(frozen=True, slots=True)
class Control:
    """A ControlNet that guides the pictures, with the map that it reads.

    Attributes:
        kind: Name of the ControlNet ("openpose"), one of `EngineInfo.control_kinds`.
        image: sha256 (hex) of the encoded map; it is resized to the pictures' size.
        scale: Conditioning scale, 0 to `MAX_CONTROL_SCALE`.
        start: Share of the steps before which it is not applied.
        end: Share of the steps after which it is not applied any more.
    """

    kind: str
    image: str
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        """Raises InvalidRequestError when a field is out of range."""
        _check_number(N_("control strength"), self.scale, 0, MAX_CONTROL_SCALE)
        _check_number(N_("start of the control"), self.start, 0, 1)
        _check_number(N_("end of the control"), self.end, 0, 1)
        if self.start >= self.end:
            raise InvalidRequestError(
                "The control would start at {start:g} and end at {end:g} of the steps. "
                "The start must be before the end.",
                start=self.start,
                end=self.end,
            )


@dataclass(frozen=True, slots=True)
class AdapterWeight:
    """A LoRA of a job.

    Attributes:
        sha256: Of its file (hex).
        weight: How much of it, -2 to 2.
        trigger: Words that call it, see `GenerationRequest.full_prompt`; "" for none.
    """

    sha256: str
    weight: float = 1.0
    trigger: str = ""

    def __post_init__(self) -> None:
        """Raises InvalidRequestError when the weight is out of range."""
        _check_number(
            N_("weight of the style"), self.weight, -MAX_ADAPTER_WEIGHT, MAX_ADAPTER_WEIGHT
        )


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Everything that decides the pixels, and nothing about who asked.

    The same request gives the same pictures, so "run again" is the request itself and "reroll" is
    `dataclasses.replace(request, seed=...)`.

    Attributes:
        prompt: At most `MAX_PROMPT_LENGTH` characters.
        negative_prompt: What to keep out; "" for nothing. Same length limit.
        width: Pixels.
        height: Pixels.
        seed: Picture k of the job uses seed + k (modulo 2**32).
        num_images: Pictures of this job, 1 to 4.
        num_inference_steps: Denoising steps of a full run; image-to-image runs `strength` of them.
        guidance_scale: Classifier-free guidance; at 1 or below only the conditional row runs.
        sampler: The sampler.
        model: Name of the model that the request was made for (`EngineInfo.model`).
        init_image: sha256 (hex) of the encoded picture to start from; None for text-to-image.
        strength: 0 keeps the picture, 1 ignores it; only with `init_image`.
        second_pass: Larger second pass, or None.
        mask_image: sha256 (hex) of a picture that is white where `init_image` is made anew and black
            where it is kept; None to change all of it.
        controls: ControlNets, at most `MAX_CONTROLS`, each kind once.
        adapters: LoRAs, at most `MAX_ADAPTERS`, each once.
        clip_skip: Last layers of the text encoder that are left out; 0 for none (A1111 counts from 1).
        upscaler: Only makes `init_image` so large (`strength` is 0, one picture); the prompt and the
            other settings are then those that it was made with. None to draw.
    """

    prompt: str
    width: int
    height: int
    seed: int
    num_inference_steps: int
    guidance_scale: float
    sampler: Sampler
    model: str
    negative_prompt: str = ""
    num_images: int = 1
    init_image: str | None = None
    strength: float | None = None
    second_pass: SecondPass | None = None
    mask_image: str | None = None
    controls: tuple[Control, ...] = ()
    adapters: tuple[AdapterWeight, ...] = ()
    clip_skip: int = 0
    upscaler: Upscaler | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequestError, naming the option and its range, when a field is out of range."""
        if not self.prompt.strip():
            raise InvalidRequestError("The prompt is empty. Say what the picture should show.")
        texts = ((N_("prompt"), self.prompt), (N_("negative prompt"), self.negative_prompt))
        for name, text in texts:
            if len(text) > MAX_PROMPT_LENGTH:
                raise InvalidRequestError(
                    "The {name} has {count:,} characters, at most {limit:,} are read. Shorten it.",
                    name=name,
                    count=len(text),
                    limit=MAX_PROMPT_LENGTH,
                )
        _check_number(N_("seed"), self.seed, 0, MAX_SEED)
        _check_number(N_("number of pictures"), self.num_images, 1, MAX_IMAGES)
        _check_number(N_("steps"), self.num_inference_steps, 1, MAX_STEPS)
        _check_number(N_("guidance"), self.guidance_scale, 0, MAX_GUIDANCE_SCALE)
        if self.width < 1 or self.height < 1:
            raise InvalidRequestError(
                "A picture of {width}x{height} cannot be made. Width and height must be positive.",
                width=self.width,
                height=self.height,
            )
        if (self.init_image is None) != (self.strength is None):
            raise InvalidRequestError("Strength goes with a picture to start from. Give both.")
        if self.strength is not None:
            _check_number(N_("strength"), self.strength, 0, 1)
        if self.mask_image is not None and self.init_image is None:
            raise InvalidRequestError("A mask goes with a picture to start from. Give both.")
        kinds = [control.kind for control in self.controls]
        if len(kinds) > MAX_CONTROLS or len(set(kinds)) < len(kinds):
            raise InvalidRequestError(
                "A picture takes at most {limit} controls, each kind once, not {kinds}. "
                "Leave one out.",
                limit=MAX_CONTROLS,
                kinds=", ".join(kinds),
            )
        hashes = {adapter.sha256 for adapter in self.adapters}
        if len(self.adapters) > MAX_ADAPTERS or len(hashes) < len(self.adapters):
            raise InvalidRequestError(
                "A picture takes at most {limit} styles, each once, not {count}. Leave one out.",
                limit=MAX_ADAPTERS,
                count=len(self.adapters),
            )
        _check_number(N_("clip skip"), self.clip_skip, 0, MAX_CLIP_SKIP)
        if self.upscaler is not None and (self.strength != 0 or self.num_images != 1):
            raise InvalidRequestError("Upscaling takes one picture and keeps it. Give one.")

    @property
    def full_prompt(self) -> str:
        """The prompt that the model reads: what calls the LoRAs, and then the person's own words.

        In front, because the end of a long prompt may not be read, and an open bracket in the
        person's words would hold for what follows. Words that are there already are not repeated.
        """
        said = self.prompt.casefold()
        triggers = dict.fromkeys(one.trigger for one in self.adapters if one.weight > 0)
        missing = [trigger for trigger in triggers if trigger and trigger.casefold() not in said]
        return ", ".join([*missing, self.prompt])

    @property
    def images(self) -> tuple[str, ...]:
        """sha256 of every picture that the request refers to, each once."""
        named = [self.init_image, self.mask_image, *(control.image for control in self.controls)]
        return tuple(dict.fromkeys(sha256 for sha256 in named if sha256 is not None))

    def seed_of(self, index: int) -> int:
        """Returns the seed of picture `index` (0-based)."""
        return (self.seed + index) % (MAX_SEED + 1)

    @property
    def rows(self) -> int:
        """U-Net rows of one step: two a picture with guidance (conditional, unconditional), else one."""
        return self.num_images * (2 if self.guidance_scale > 1 else 1)

    @property
    def steps_to_run(self) -> int:
        """U-Net calls that one picture really takes, second pass included; most samplers: one a step."""
        return max(self._first_calls + self._second_calls, 1)

    @property
    def _first_calls(self) -> int:
        steps = self.num_inference_steps
        first = steps if self.strength is None else min(int(steps * self.strength), steps)
        return self.sampler.unet_calls(first, steps)

    @property
    def _second_calls(self) -> int:
        steps = self.num_inference_steps
        second = 0 if self.second_pass is None else int(steps * self.second_pass.strength)
        return self.sampler.unet_calls(second, steps)

    def longest_side(self, size_multiple: int) -> int:
        """Returns the pixels of a finished picture's longer side, as the model's sizes go."""
        side = max(self.width, self.height)
        if self.second_pass is None:
            return side
        return round(side * self.second_pass.scale / size_multiple) * size_multiple

    @property
    def steps_asked(self) -> int:
        """Steps of a full run with those of its second pass; of an upscaled picture none."""
        if self.upscaler is not None:
            return 0
        second = self.second_pass
        more = int(self.num_inference_steps * second.strength) if second is not None else 0
        return self.num_inference_steps + more

    @property
    def work(self) -> float:
        """Work of the job in row-step-megapixels, the unit of fairness and of the estimated time."""
        second = self.second_pass
        megapixels = self.width * self.height / 1e6
        if self.upscaler is not None:
            return UPSCALING_WORK[self.upscaler] * megapixels
        step_megapixels = max(self._first_calls, 1) * megapixels
        if second is not None:
            step_megapixels += self._second_calls * megapixels * second.scale**2
        controls = sum(control.end - control.start for control in self.controls)
        return self.rows * step_megapixels * (1 + CONTROL_COST * controls)


def _check_number(name: Words, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not math.isfinite(value) or not low <= value <= high:
        raise InvalidRequestError(
            "The {name} is {value}, it must be between {low:g} and {high:.10g}.",
            name=name,
            value=value,
            low=low,
            high=high,
        )
