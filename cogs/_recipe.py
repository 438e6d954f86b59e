"""How to make a picture again: the command to copy, what to attach to it, or the button to press."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cogs import _buttons, _canvas, _options, _parcel, _pose_line, _styles, _text
from cogs._desk import Desk
from cogs._language import N_, t
from engine.errors import UnknownJobError
from engine.types import MAX_PROMPT_LENGTH, Generation, GenerationRequest

COPY = N_("Copy this to make the same picture again:")
COPY_FROM = N_("Copy this for another one from the same picture:")
COPY_AND_ATTACH = N_("Copy this, and attach the picture with the option image:")
COPY_AND_MASK = N_("Copy this, and attach the mask below with the option mask:")
COPY_AND_ANY_MASK = N_("Copy this, and attach a mask (white is made anew) with the option mask:")
COPY_AND_BOTH = N_(
    "Copy this, attach the picture with the option image, and the mask below with the option mask:"
)
COPY_AND_ANY_BOTH = N_(
    "Copy this, attach the picture with the option image, and a mask (white is made anew) with the "
    "option mask:"
)
PRESS = N_(
    "Press **{button}** below the picture that this one was made from for another one like it. "
    "**Reroll** below this one takes another seed."
)

_AGAIN = (_buttons.REROLL, _buttons.RETRY)  # made as the picture before it was made
_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a picture again.

    Attributes:
        words: What to say of the command, or what to do instead.
        command: One line to copy; "" when there is none.
        mask: PNG to attach to the command; None for none.
    """

    words: str
    command: str = ""
    mask: bytes | None = None


async def of(
    desk: Desk, generation: Generation, viewer_id: int, *, gives_mask: bool = False
) -> Recipe:
    """Returns the recipe of a picture for somebody who looks at it.

    `gives_mask`: the mask that its owner painted can be attached to the answer, for the owner.
    """
    request = generation.request
    style = _styles.written(desk.parts.styles, request.adapters)
    if request.controls and request.init_image is None:
        return Recipe(*_pose_line.recipe(generation, viewer_id, style))
    if request.init_image is None:
        return Recipe(t(COPY), _options.command_line(request, style))
    first = await _first(desk, generation)
    action = first.submission.action
    if request.mask_image is not None and action in _buttons.OUTPAINTING:
        return Recipe(t(PRESS, button=_buttons.label_of(action)))
    source = await _source(desk, first, viewer_id)
    given = {} if source is None else {"source": source}
    if request.mask_image is not None:
        is_owner = generation.submission.owner_id == viewer_id
        return await _inpainted(desk, request, given, gives_mask=gives_mask and is_owner)
    if request.upscaler is not None:
        factor = 4 if action == _buttons.UPSCALE_MORE else 2
        command = _options.typed("upscale", {**given, "factor": factor})
    else:
        options = {
            "prompt": _text.clean(request.prompt),
            "amount": f"{request.strength:g}",
            "negative": _text.clean(request.negative_prompt) or _options.NO_NEGATIVE,
            "count": request.num_images,
            "style": style or _styles.NONE,
        }
        command = _options.typed("remix", {**given, **options})
    return Recipe(t(COPY_FROM if given else COPY_AND_ATTACH), command)


async def _inpainted(
    desk: Desk, request: GenerationRequest, source: dict[str, str], *, gives_mask: bool
) -> Recipe:
    mask: bytes | None = None
    cells: _canvas.Cells | None = None
    try:
        mask = await desk.parts.pictures.get(request.mask_image or "")
        cells = await asyncio.to_thread(_canvas.cells_of, mask)
    except UnknownJobError:  # the file is lost
        pass
    options: dict[str, object] = {"prompt": _with_flags(request), **source}
    if cells is not None:
        options["cells"] = ",".join(map(str, cells.marked))
        if cells.invert:
            options["invert"] = True
    options["strength"] = f"{request.strength:g}"
    command = _options.typed("inpaint", options)
    if cells is not None:
        return Recipe(t(COPY if source else COPY_AND_ATTACH), command)
    if mask is not None and gives_mask:
        return Recipe(t(COPY_AND_MASK if source else COPY_AND_BOTH), command, mask)
    return Recipe(t(COPY_AND_ANY_MASK if source else COPY_AND_ANY_BOTH), command)


def _with_flags(request: GenerationRequest) -> str:
    """Returns the prompt with what the command has no options for."""
    prompt = _text.clean(request.prompt)
    repeat = f" --repeat {request.num_images}" if request.num_images > 1 else ""
    negative = _text.clean(request.negative_prompt) or _options.NO_NEGATIVE
    flagged = f"{prompt} --seed {request.seed}{repeat} --no {negative}"
    return flagged if len(flagged) <= MAX_PROMPT_LENGTH else prompt


async def _first(desk: Desk, generation: Generation) -> Generation:
    """Returns the picture that this one repeats, or this one."""
    for _ in range(_MAX_DEPTH):
        parent_id = generation.submission.parent_id
        if generation.submission.action not in _AGAIN or parent_id is None:
            break
        try:
            generation = await desk.parts.history.get(parent_id)
        except UnknownJobError:
            break
    return generation


async def _source(desk: Desk, generation: Generation, viewer_id: int) -> str | None:
    """Returns what the option `source` takes for the picture that this one was made from.

    None when there was none, it was attached, or it is gone.
    """
    parent_id, init_image = generation.submission.parent_id, generation.request.init_image
    if parent_id is None or init_image is None:
        return None
    try:
        parent = await desk.parts.history.get(parent_id)
    except UnknownJobError:
        return None
    if init_image not in parent.pictures:
        return None
    index = parent.pictures.index(init_image)
    if parent.submission.owner_id == viewer_id:
        return f"{parent.id}:{index + 1}" if index else parent.id
    return _parcel.link(parent) if index == 0 else None
