"""From a picture and what should change to a job: every way to remix comes through `place`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import discord

from cogs import _defaults, _fitting, _limits, _options, _orders, _styles, _text
from cogs._desk import Desk
from cogs._language import N_
from cogs._options import NO_NEGATIVE, Options, Quality
from cogs._orders import Order
from cogs._sources import Source
from engine.errors import InvalidRequestError
from engine.types import EngineInfo, GenerationRequest, Limits
from storage.arrivals import Arrival
from storage.people import Preferences

REMIX = "remix"

STRENGTHS = {"subtle": 0.35, "medium": 0.55, "strong": 0.75}
STRENGTH = STRENGTHS["medium"]
STRENGTH_NAMES = {
    "subtle": N_("Subtle: the picture stays, details change"),
    "medium": N_("Medium: the composition stays"),
    "strong": N_("Strong: little of it stays"),
}
NO_PROMPT = N_(
    "I do not know the words that this picture was made with. Say what the new one should show."
)
NOTHING_LEFT = N_("Nothing would be left of the prompt. Say what the picture should show instead.")

_EDIT = re.compile(r"(?:^|(?<=\s))([+-])(?=[^\s+-])")
_LOOSE_COMMAS = re.compile(r"\s*,(?:\s*,)*\s*")


async def place(
    interaction: discord.Interaction,
    desk: Desk,
    source: Source,
    options: Options,
    *,
    strength: float | None = STRENGTH,
    keep_seed: bool = False,
    private: bool = False,
) -> None:
    """Starts the job and answers with its status line; the person who asks owns and pays it.

    What `options` leaves out is as the picture was made. `strength` None takes the words and options
    of a picture of ours, and not the picture. A file of somebody is fetched and checked first, one
    of ours is known by its content.

    Raises:
        RequestError: What was asked cannot be done.
    """
    takes_shape = options.aspect is options.width is options.height is None
    if source.address is not None:
        _orders.check_permissions(interaction, private=private)
        desk.arrivals.check(source.address, source.size)
    defaults = _defaults.of(desk, interaction)
    request = request_of(
        source,
        options,
        desk.info(),
        defaults,
        default_negative_prompt=desk.parts.settings.default_negative_prompt,
        keep_seed=keep_seed,
        limits=_limits.of(interaction),
    )
    generation = source.generation
    if generation is None:
        options, _ = _defaults.fill(options, None, *defaults, has_picture=True)
    request = _styles.styled(desk, interaction, request, options)
    parent_id = generation.id if generation is not None else None
    order = Order(
        request, action=REMIX, parent_id=parent_id, private=private, spoiler=source.spoiler
    )
    if source.address is not None:
        change = STRENGTHS["strong"] if strength is None else strength
        submission = _orders.submission_of(interaction, order, _orders.origin_of(interaction))
        arrival = Arrival(submission, source.address, change, takes_size=takes_shape)
        await desk.arrivals.place(interaction, arrival)
        return
    if strength is not None:
        request = dataclasses.replace(request, init_image=source.sha256, strength=strength)
    placed = dataclasses.replace(order, request=request)

    async def ordered() -> Order:
        return placed

    await desk.orders.place(interaction, ordered, private=private)


def request_of(
    source: Source,
    options: Options,
    info: EngineInfo,
    defaults: Sequence[Preferences],
    *,
    default_negative_prompt: str | None = None,
    keep_seed: bool = False,
    limits: Limits | None = None,
) -> GenerationRequest:
    """Returns the request without its picture to start from.

    What `options` leaves out is as the result was made, then as the defaults say, and fitted to the
    limits.

    Raises:
        InvalidRequestError: There is no prompt, or an option is out of its range.
    """
    generation = source.generation
    made: GenerationRequest | None = None
    if generation is not None:
        made = _options.drawable(generation.request, info)
        options = _like(options, made, info, limits)
        if keep_seed and options.seed is None and generation.seeds:
            seed = generation.seeds[min(source.index, len(generation.seeds) - 1)]
            options = dataclasses.replace(options, seed=seed)
    elif not _has_words(options.prompt):
        raise InvalidRequestError(NO_PROMPT)
    options, _ = _defaults.fill(options, None, *defaults, has_picture=True, limits=limits)
    request = _options.request_from(
        options, info, default_negative_prompt=default_negative_prompt, limits=limits
    )
    if made is not None:
        request = dataclasses.replace(
            request,
            adapters=made.adapters,
            clip_skip=made.clip_skip,
            # Another picture has another pose than the one that this was made with.
            controls=made.controls if source.address is None else (),
        )
    return request


def own_strength(desk: Desk, person_id: int, weight: object = None) -> float:
    """Returns how far a person's remixes go without an option that says it: by the flag, as set.

    `weight` is `Options.image_weight`.

    Raises:
        InvalidRequestError: It is out of its range.
    """
    if weight is not None:
        return _options.strength_of(None, has_picture=True, weight=weight)
    mine = desk.parts.people.preferences(person_id).remix_strength
    return STRENGTH if mine is None else STRENGTHS.get(mine, STRENGTH)


def strength_of(name: object, amount: object, default: float = STRENGTH) -> float:
    """Returns how far the picture is changed; `amount` wins over the name.

    Raises:
        InvalidRequestError: There is no such name, or the amount is out of its range.
    """
    if amount is not None:
        return _options.strength_of(amount, has_picture=True)
    if name is None:
        return default
    wanted = str(name).strip().casefold()
    if wanted not in STRENGTHS:
        known = ", ".join(one.capitalize() for one in STRENGTHS)
        shown = _text.plain(str(name), 40)
        raise InvalidRequestError(
            'There is no strength "{name}". Choose one of: {known}.', name=shown, known=known
        )
    return STRENGTHS[wanted]


def edited(text: str, prompt: str, negative: str) -> tuple[str, str] | None:
    """Returns prompt and negative prompt after edits like "+a hat -dog"; None when it is no edit.

    `+words` go to the end of the prompt. `-words` leave the prompt and go to the negative prompt.

    Raises:
        InvalidRequestError: Nothing is left of the prompt.
    """
    start = _EDIT.match(text.strip())
    if start is None:
        return None
    parts = _EDIT.split(text.strip())[1:]
    for sign, part in zip(parts[::2], parts[1::2], strict=True):
        words = part.strip().strip(",").strip()
        if sign == "+":
            prompt = f"{prompt}, {words}"
        else:
            prompt = _without(prompt, words)
            negative = f"{negative}, {words}" if negative.strip() else words
    if not _text.clean(prompt):
        raise InvalidRequestError(NOTHING_LEFT)
    return prompt, negative


def _without(prompt: str, words: str) -> str:
    pattern = rf"(?i)(?<!\w){re.escape(words)}(?!\w)"
    left = re.sub(pattern, "", prompt)
    if left == prompt:
        return prompt
    return " ".join(_LOOSE_COMMAS.sub(", ", left).split()).strip(" ,")


def _like(
    options: Options, made: GenerationRequest, info: EngineInfo, limits: Limits | None
) -> Options:
    """Returns the options with what was left out as the picture was made, within the limits."""
    if (quality := _options.quality_of(options.quality)) is not None:
        made = dataclasses.replace(made, second_pass=_options.second_pass_of(quality))
    made = _fitting.fitted(made, info, limits, keeps_quality=quality is not None)
    filled = dataclasses.replace(
        options,
        prompt=options.prompt if _has_words(options.prompt) else made.prompt,
        negative=made.negative_prompt or NO_NEGATIVE
        if options.negative is None
        else options.negative,
        guidance=made.guidance_scale if options.guidance is None else options.guidance,
        sampler=made.sampler if options.sampler is None else options.sampler,
    )
    if options.aspect is options.width is options.height is None:
        filled = dataclasses.replace(filled, width=made.width, height=made.height)
    if quality is None:  # another quality has other steps
        quality = Quality.STANDARD if made.second_pass is None else Quality.HD
        steps = made.num_inference_steps if options.steps is None else options.steps
        filled = dataclasses.replace(filled, quality=quality, steps=steps)
    return filled


def _has_words(prompt: object) -> bool:
    return isinstance(prompt, str) and bool(_text.clean(prompt))
