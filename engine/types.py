"""What travels between Discord, queue, storage and engine: frozen dataclasses, ints and bytes.

`GenerationRequest` (what was asked) -> `Job` (its life) -> `Queued | Started | Progress`
-> `GenerationResult`. Nothing here imports torch, discord or a database.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
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
NOBODY = -1  # owner of jobs that the bot itself wants; they wait until no person's job does
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


class Whose(StrEnum):
    """Who set a limit, and for whom."""

    OWNERS = "owners"  # the bot's owners, for everybody
    OWNERS_PERSON = "owners_person"  # they, for this person
    SERVER = "server"  # the managers of a server, for everybody there
    ROLE = "role"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Bound:
    """The most of something, and who said so."""

    value: int
    whose: Whose


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server's managers allow a person; only the jobs of that server are counted.

    Attributes:
        guild_id: The server.
        waiting: Jobs of the person there that are not final; None is no limit of theirs.
        per_minute: Jobs of the person there in 60 seconds; the same.
    """

    guild_id: int
    waiting: Bound | None = None
    per_minute: Bound | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a person may ask for, have waiting and use up; 0 means no limit for the two windows.

    A batch (see `engine.sheets`) is accepted where one job is; what it costs is counted in full.

    Attributes:
        waiting: Jobs of one person that are not final.
        queue: Jobs of everybody that are not final.
        daily: Cost of one person in 24 hours, see `EngineInfo.cost`.
        per_minute: Jobs of one person in 60 seconds.
        steps: Steps of one picture, those of a second pass included; None is the engine's own limit.
        side: Pixels of a finished picture's longer side; the same.
        count: Pictures of one command; the same.
        here: What counts in the server beside all this.
    """

    waiting: int
    queue: int
    daily: float = 0.0
    per_minute: int = 0
    steps: Bound | None = None
    side: Bound | None = None
    count: Bound | None = None
    here: ServerLimits | None = None


class JobState(StrEnum):
    """Where a job is in its life; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    RENDERED = "rendered"  # pictures are on disk and in history
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when the engine has nothing left to do for the job."""
        return self in (JobState.RENDERED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the answer goes.

    Attributes:
        channel_id: Channel, thread or DM channel.
        guild_id: Server, or None in a DM.
        private: Only the owner may see status and result.
        spoiler: Pictures are hidden until clicked.
        locale: Discord locale of its messages.
    """

    channel_id: int
    guild_id: int | None = None
    private: bool = False
    spoiler: bool = False
    locale: str = "en-US"


@dataclass(frozen=True, slots=True)
class Submission:
    """One request with who asked, where and why: what every entrance hands to `JobQueue.submit`.

    Attributes:
        origin: Unique key of what caused it ("interaction:123"); a second submission with the same
            key is the same job.
        owner_id: Discord user who pays.
        owner_name: Display name, for lists and the picture's page; never used to decide anything.
        action: "imagine", "reroll", ... for history.
        parent_id: Generation that this one came from, or None.
        role_ids: The owner's roles in the destination's server; only until it is a job.
        batch_pictures: Pictures of all jobs of its batch, see `engine.sheets`; 0 without one.
        pins_model: The person asked for the request's very model, by its name or by "the same again".
    """

    origin: str
    owner_id: int
    owner_name: str
    destination: Destination
    request: GenerationRequest
    action: str = "imagine"
    parent_id: str | None = None
    role_ids: tuple[int, ...] = ()
    batch_pictures: int = 0
    pins_model: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """The life of one submission, as stored.

    Attributes:
        id: 13 characters [a-z0-9], random; part of button ids and nonces.
        cost: What the owner was charged, see `EngineInfo.cost`.
        attempts: Engine deaths that the job was running in.
        error: (class name, message) of the failure, see `engine.errors.error_from_wire`.
        status_message_id: The public status line, when there is one.
        result_channel_id: Where the result is, when that is not known to be the destination.
        sending_since: Set before the result's first send; its outcome is unknown until
            `delivered_at` is set.
        delivered_at: When the result or the apology reached its owner, or was given up for /history.
        bumped_at: When an operator put it to the front of the line.
    """

    id: str
    submission: Submission
    state: JobState
    cost: float
    attempts: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: tuple[str, str] | None = None
    status_message_id: int | None = None
    result_message_id: int | None = None
    result_channel_id: int | None = None
    sending_since: datetime | None = None
    delivered_at: datetime | None = None
    bumped_at: datetime | None = None

    @property
    def owner_id(self) -> int:
        """Discord user who pays."""
        return self.submission.owner_id

    @property
    def request(self) -> GenerationRequest:
        """What was asked."""
        return self.submission.request


@dataclass(frozen=True, slots=True)
class Picture:
    """One finished picture.

    Attributes:
        index: 0-based place in its job.
        seed: Its own seed.
        png: Encoded PNG with its A1111 parameters in the text chunk `parameters`.
    """

    index: int
    seed: int
    width: int
    height: int
    png: bytes


class Flow(StrEnum):
    """Whether the queue goes on, as the operator decided."""

    OPEN = "open"
    PAUSED = "paused"  # what runs ends, what waits stays, what comes waits behind it
    DRAINING = "draining"  # what was accepted is made, nothing new is


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model that was loaded last by decision.

    Attributes:
        source: What the settings call it, see `EngineSettings.model`.
        configured: What the settings named then: when they name another one now, that counts.
    """

    source: str
    configured: str


# What the engine reports of a job, in this order; `GenerationResult` or `GenerationFailed` is last.


@dataclass(frozen=True, slots=True)
class Queued:
    """The job waits. `position` is 1-based; `eta_s` is seconds until it starts, None when unknown."""

    job_id: str
    position: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Started:
    """The job's rows are in the batch."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """State, not history: a slow reader sees the newest.

    `step` and `total` are summed over the job's pictures. `preview` is a small JPEG or None: the
    engine sends one now and then, `JobQueue.watch` repeats the newest.
    """

    job_id: str
    step: int
    total: int
    preview: bytes | None = None


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """All pictures of a job, in order of `index`.

    Attributes:
        seconds: Time from the job's first step to its last encoded picture.
        warnings: Sentences for the owner ("The last 12 words of the prompt were not read.").
        receipt: JSON-able facts that replay the pictures: model, hashes, versions, dtype and the row
            count of each step.
    """

    job_id: str
    pictures: tuple[Picture, ...]
    seconds: float
    warnings: tuple[str, ...] = ()
    receipt: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GenerationFailed:
    """The job ended without a picture: class name and message of the error, see `error_from_wire`."""

    job_id: str
    error: str
    message: str


JobEvent = Queued | Started | Progress | GenerationResult | GenerationFailed

# What the engine reports of itself.


@dataclass(frozen=True, slots=True)
class EngineLoading:
    """The engine is starting: what it is doing ("downloading unet") and how far (0 to 1, or None).

    `model` is the name of another model that is to take the place of the one of before, or "".
    """

    stage: str
    fraction: float | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The model is loaded; jobs run from now on."""

    info: EngineInfo


@dataclass(frozen=True, slots=True)
class EngineDied:
    """The process ended. `job_ids` were running in it and are tried again unless they fail.

    `message` is for the operator's log. `is_hopeless` when it could not load the model: it is started
    again now and then, but that will not help before the operator does something. `noticed_s` went by
    between its end and this event.
    """

    message: str
    job_ids: tuple[str, ...]
    is_hopeless: bool = False
    noticed_s: float = 0.0


EngineEvent = EngineLoading | EngineReady | EngineDied | JobEvent


@dataclass(frozen=True, slots=True)
class Generation:
    """One row of history: a finished job with its pictures' hashes.

    Attributes:
        id: The job's id.
        pictures: sha256 (hex) of each picture file, in order; empty when deleted.
        channel_id: Where the message is, when that is not known to be the destination.
    """

    id: str
    submission: Submission
    created_at: datetime
    seconds: float
    pictures: tuple[str, ...]
    seeds: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    receipt: Mapping[str, object] = field(default_factory=dict)
    message_id: int | None = None
    channel_id: int | None = None
    deleted_at: datetime | None = None

    @property
    def request(self) -> GenerationRequest:
        """What was asked."""
        return self.submission.request


def _check_number(name: Words, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not math.isfinite(value) or not low <= value <= high:
        raise InvalidRequestError(
            "The {name} is {value}, it must be between {low:g} and {high:.10g}.",
            name=name,
            value=value,
            low=low,
            high=high,
        )
