"""Maps the options of a command to a `GenerationRequest`, and a request back to a command line.

Discord's client checks ranges before it sends; a forged interaction does not, so everything is
checked again here, with a sentence that names the option, its limit and what to do.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from discord.app_commands import Choice

from cogs import _fitting, _text
from cogs._fitting import size_of
from cogs._language import N_, Words, name_of_command, name_of_option, t
from engine.errors import InvalidRequestError
from engine.types import (
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_SEED,
    MAX_STEPS,
    EngineInfo,
    GenerationRequest,
    Limits,
    Sampler,
    SecondPass,
)

ASPECTS = ("1:1", "3:2", "2:3", "4:3", "3:4", "4:5", "5:4", "16:9", "9:16", "21:9")
NO_NEGATIVE = "none"  # typed as the negative prompt, it leaves out the default one
_MAX_CHOICES = 25  # that Discord shows
_UNWRITTEN = re.compile(r"[\s_-]+")
MAX_IMAGE_WEIGHT = 2  # keeps all of a picture, 0 nothing
DEFAULT_STRENGTH = 0.6  # the picture's composition stays, its contents follow the words
HD = SecondPass(scale=1.5, strength=0.5)


class Quality(StrEnum):
    """How much work a picture gets."""

    DRAFT = "draft"
    STANDARD = "standard"
    HD = "hd"


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose, as it came from Discord: None is "not given", nothing is checked.

    `image_weight` is how much a picture to start from counts, 0 to 2: strength the other way round.
    `lowers_quality`: the quality is a default, so one that is not allowed becomes a lower one.
    """

    prompt: object
    aspect: object = None
    negative: object = None
    model: object = None
    width: object = None
    height: object = None
    count: object = None
    seed: object = None
    steps: object = None
    guidance: object = None
    sampler: object = None
    quality: object = None
    style: object = None
    style_strength: object = None
    image_weight: object = None
    lowers_quality: bool = False


def request_from(
    options: Options,
    info: EngineInfo,
    *,
    default_negative_prompt: str | None = None,
    limits: Limits | None = None,
) -> GenerationRequest:
    """Returns the request for the loaded model; `default_negative_prompt` None is the model's own.

    Size and steps that were left out are fitted to the limits; those that were given are as given.

    Raises:
        InvalidRequestError: An option is of the wrong kind or out of its range, in one sentence.
    """
    quality = quality_of(options.quality) or Quality.STANDARD
    second_pass = second_pass_of(quality)
    width, height = _size(options, info, second_pass, limits)
    prompt = _words(N_("prompt"), options.prompt) or ""
    if not _text.clean(prompt):  # characters that nobody can see are no words either
        raise InvalidRequestError("The prompt is empty. Say what the picture should show.")
    negative = _words(N_("negative prompt"), options.negative)
    if negative is None:
        negative = default_negative_prompt
        if negative is None:
            negative = info.default_negative_prompt
    elif negative.strip().casefold() == NO_NEGATIVE:
        negative = ""
    guidance = _number(N_("guidance"), options.guidance, 0, MAX_GUIDANCE_SCALE)
    sampler = _chosen(N_("sampler"), options.sampler, info.samplers)
    seed = _whole(N_("seed"), options.seed, 0, MAX_SEED)
    request = GenerationRequest(
        prompt=prompt,
        negative_prompt=negative,
        width=width,
        height=height,
        seed=new_seed() if seed is None else seed,
        num_images=_whole(N_("count"), options.count, 1, MAX_IMAGES) or 1,
        num_inference_steps=_steps(options, info, quality, limits),
        guidance_scale=info.default_guidance_scale if guidance is None else guidance,
        sampler=info.default_sampler if sampler is None else Sampler(sampler),
        model=_chosen(N_("model"), options.model, (info.model,)) or info.model,
        second_pass=second_pass,
    )
    info.check(request)
    if second_pass is not None and options.lowers_quality:
        full = request_from(dataclasses.replace(options, lowers_quality=False), info)
        if not _fitting.allows(full, info, limits):
            lower = dataclasses.replace(options, quality=Quality.STANDARD, seed=request.seed)
            return request_from(
                lower, info, default_negative_prompt=default_negative_prompt, limits=limits
            )
    return request


def quality_of(value: object) -> Quality | None:
    """Returns the quality that was given, if any. Raises InvalidRequestError for another one."""
    chosen = _chosen(N_("quality"), value, tuple(Quality))
    return Quality(chosen) if chosen is not None else None


def second_pass_of(quality: Quality) -> SecondPass | None:
    """Returns what makes the picture larger once it is drawn."""
    return HD if quality is Quality.HD else None


def strength_of(value: object, *, has_picture: bool, weight: object = None) -> float:
    """Returns how far a picture is changed; `weight` (see `Options.image_weight`) when `value` is None.

    Raises:
        InvalidRequestError: It is out of its range, or there is no picture.
    """
    strength = _number(N_("strength"), value, 0, 1)
    counts = _number(N_("image weight"), weight, 0, MAX_IMAGE_WEIGHT)
    if strength is None and counts is not None:
        strength = 1 - counts / MAX_IMAGE_WEIGHT
    if strength is not None and not has_picture:
        raise InvalidRequestError(
            "Strength says how far a picture is changed. Attach one with the option image."
        )
    return DEFAULT_STRENGTH if strength is None else strength


def new_seed() -> int:
    """Returns a seed that nobody can guess, so that no two people get the same by chance."""
    return secrets.randbelow(MAX_SEED + 1)


def rerolled(request: GenerationRequest) -> GenerationRequest:
    """Returns the same request with another seed."""
    return dataclasses.replace(request, seed=new_seed())


def drawable(request: GenerationRequest, info: EngineInfo) -> GenerationRequest:
    """Returns a request of before as the loaded model can draw it.

    Of an upscaled picture it has the shape, at the model's own area; of another model's picture only
    what every model understands.
    """
    if request.upscaler is not None:
        width, height = size_of(f"{request.width}:{request.height}", info)
        request = dataclasses.replace(
            request, upscaler=None, init_image=None, strength=None, width=width, height=height
        )
    if request.model != info.model:
        width, height = size_of(f"{request.width}:{request.height}", info)
        request = dataclasses.replace(
            request,
            model=info.model,
            width=width,
            height=height,
            num_inference_steps=info.default_steps,
            guidance_scale=info.default_guidance_scale,
            sampler=info.default_sampler,
            second_pass=None,
            controls=(),
            adapters=(),
            clip_skip=0,
        )
    return request


def command_line(request: GenerationRequest, style: str = "") -> str:
    """Returns the `/imagine ...` that makes the same pictures again; one line.

    `style` is what stands for the request's LoRAs.
    """
    negative = _text.clean(request.negative_prompt) or NO_NEGATIVE
    options = {
        "prompt": _text.clean(request.prompt),
        "negative": negative,
        "model": request.model,
        "width": request.width,
        "height": request.height,
        "count": request.num_images,
        "seed": request.seed,
        "steps": request.num_inference_steps,
        "guidance": _decimal(request.guidance_scale),
        "sampler": request.sampler,
    }
    if request.second_pass is not None:
        options["quality"] = Quality.HD
    options["style"] = style or "none"  # or a default would count
    return typed("imagine", options)


def typed(command: str, options: Mapping[str, object]) -> str:
    """Returns a command as one types it; names are those that the reader's Discord shows."""
    parts = [f"{name_of_option(name)}:{value}" for name, value in options.items()]
    return " ".join([name_of_command(command), *parts])


def _decimal(value: float) -> str:
    return repr(float(value)).removesuffix(".0")  # every digit counts for the same picture


def key_of(name: str) -> str:
    """Returns what is left of a name however it is written: "DPM++ 2M Karras" is dpmpp_2m_karras."""
    return _UNWRITTEN.sub("", name.casefold().replace("++", "pp"))


def closest(value: str, known: Iterable[str]) -> str | None:
    """Returns the known name that a typing error most likely meant."""
    found = difflib.get_close_matches(value.casefold(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def choices(names: Sequence[str], typed: str) -> list[Choice[str]]:
    """Returns the names that contain what was typed; the nearest one when none does."""
    wanted = key_of(typed)
    found = [name for name in names if wanted in key_of(name)]
    if not found and (nearest := closest(typed.strip(), names)) is not None:
        found = [nearest]
    return [
        Choice(name=_text.plain(name, 100), value=name)
        for name in found[:_MAX_CHOICES]
        if len(name) <= 100
    ]


def _size(
    options: Options, info: EngineInfo, second_pass: SecondPass | None, limits: Limits | None
) -> tuple[int, int]:
    aspect = _chosen(N_("aspect"), options.aspect, ASPECTS)
    scale = _fitting.scale_of(second_pass)
    room = _fitting.room(info, limits)
    step = info.size_multiple
    biggest = int(info.max_side / scale) // step * step
    width = _whole(N_("width"), options.width, step, biggest, step, scale)
    height = _whole(N_("height"), options.height, step, biggest, step, scale)
    if width is not None and height is not None:
        return width, height
    if aspect is None:
        native = min(info.native_size, max(int(room.max_side / scale) // step * step, step))
        return width or native, height or native
    across, down = (int(side) for side in aspect.split(":"))
    if width is not None:
        return width, _other_side(
            (N_("width"), width, N_("height")), aspect, down / across, step, biggest
        )
    if height is not None:
        return _other_side(
            (N_("height"), height, N_("width")), aspect, across / down, step, biggest
        ), height
    return size_of(aspect, room, scale)


def _other_side(
    given: tuple[Words, int, Words], aspect: str, ratio: float, step: int, biggest: int
) -> int:
    """Returns the side that the aspect gives; `given` is a name, its value and the other name."""
    name, value, other = given
    wanted = max(round(value * ratio / step) * step, step)
    if wanted > biggest:
        most = int(biggest / ratio) // step * step
        raise InvalidRequestError(
            "A {name} of {value} in {aspect} needs a {other} of {wanted}, and the limit is "
            "{biggest}. Give a {name} of at most {most}, or another aspect.",
            name=name,
            value=value,
            aspect=aspect,
            other=other,
            wanted=wanted,
            biggest=biggest,
            most=most,
        )
    return wanted


def _steps(options: Options, info: EngineInfo, quality: Quality, limits: Limits | None) -> int:
    steps = _whole(N_("steps"), options.steps, 1, MAX_STEPS)
    if steps is not None:
        return steps
    factor = {Quality.DRAFT: 0.5, Quality.STANDARD: 1.0, Quality.HD: 1.5}[quality]
    steps = min(max(math.ceil(info.default_steps * factor), 1), MAX_STEPS)
    return _fitting.steps_within(steps, second_pass_of(quality), limits)


def _whole(
    name: Words, value: object, low: int, high: int, multiple: int = 1, scale: float = 1.0
) -> int | None:
    if value is None:
        return None
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and len(value) <= 30 and value.strip().isascii():
        number = int(value) if value.strip().lstrip("+-").isdigit() else None
    if number is None or not low <= number <= high or number % multiple:
        numbers = t("{low} to {high}", low=low, high=high)
        if multiple > 1:
            numbers = t("{numbers} in steps of {multiple}", numbers=numbers, multiple=multiple)
        if scale > 1:
            numbers = t(
                "{numbers}, since quality:{quality} makes it {scale:g} times as large",
                numbers=numbers,
                quality=Quality.HD.value,
                scale=scale,
            )
        raise InvalidRequestError(
            "The {name} cannot be {value}. Give a whole number from {numbers}.",
            name=name,
            value=_quoted(value),
            numbers=numbers,
        )
    return number


def _number(name: Words, value: object, low: float, high: float) -> float | None:
    if value is None:
        return None
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not low <= number <= high:  # also refuses NaN
        raise InvalidRequestError(
            "The {name} cannot be {value}. Give a number from {low:g} to {high:g}.",
            name=name,
            value=_quoted(value),
            low=low,
            high=high,
        )
    return number


def _chosen(name: Words, value: object, known: Iterable[str]) -> str | None:
    names = [str(choice) for choice in known]
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    wanted = value.strip().casefold() if isinstance(value, str) else ""
    for choice in names:
        if key_of(choice) == key_of(wanted):
            return choice
    if len(names) == 1:
        raise InvalidRequestError(
            "There is no {name} {value}. The only one here is {only}.",
            name=name,
            value=_quoted(value),
            only=names[0],
        )
    known = ", ".join(names)
    if nearest := closest(wanted, names):
        raise InvalidRequestError(
            "There is no {name} {value}. Did you mean {nearest}? Choose one of: {known}.",
            name=name,
            value=_quoted(value),
            nearest=nearest,
            known=known,
        )
    raise InvalidRequestError(
        "There is no {name} {value}. Choose one of: {known}.",
        name=name,
        value=_quoted(value),
        known=known,
    )


def _words(name: Words, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "ignore").decode("utf-8")  # half characters cannot be stored
    raise InvalidRequestError("The {name} must be text. Type it again.", name=name)


def _quoted(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f'"{_text.plain(text[:100], 40)}"'
