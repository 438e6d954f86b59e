"""What the creative buttons make of a finished picture: `order` is for buttons, replies and commands.

Every change is an ordinary request with a picture to start from, so that it is stored, charged and
replayed like any other. Canvases and masks that a change needs go with the order.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from cogs import _buttons, _canvas, _fitting, _options
from cogs._canvas import Canvas
from cogs._desk import Desk
from cogs._language import N_
from cogs._orders import Order
from engine.errors import InvalidRequestError, UnknownJobError
from engine.types import EngineInfo, Generation, GenerationRequest, Limits
from storage.gallery import GONE

SAME_AGAIN = N_("An upscaled picture comes out the same again. Use Vary or Remix for another one.")

SUBTLE, MEDIUM, STRONG = 0.35, 0.55, 0.75  # how far a picture is changed
# Enough to draw on the first guess. Nearer to 1 a model follows the words and draws the prompt's
# subject a second time beside the first one, cut off at the border.
OUTPAINT_STRENGTH = 0.65
CREATIVE_STRENGTH = 0.3

_PANS = {
    _buttons.PAN_LEFT: (-1, 0),
    _buttons.PAN_RIGHT: (1, 0),
    _buttons.PAN_UP: (0, -1),
    _buttons.PAN_DOWN: (0, 1),
}


@dataclass(frozen=True, slots=True)
class Picked:
    """One picture of a result, with what a change needs of it.

    Attributes:
        made: The request that drew it, as the loaded model can take it; without an upscaler.
        sha256: Of its file.
        seed: Its own.
        png: The file.
        size: (width, height) in pixels.
    """

    made: GenerationRequest
    sha256: str
    seed: int
    png: bytes
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Changed:
    """A request and the files that it refers to and that are not stored yet, by sha256."""

    request: GenerationRequest
    files: Mapping[str, bytes] = field(default_factory=dict)


Change = Callable[[Picked, EngineInfo], Awaitable[Changed]]


async def order(
    desk: Desk,
    action: str,
    generation: Generation,
    index: int = 0,
    *,
    private: bool = False,
    limits: Limits | None = None,
) -> Order:
    """Returns what to make when somebody asks for `action`, a key of `CHANGES`, of a result.

    What the action does not decide is as the result was made, fitted to the limits.

    Args:
        desk: The bot's parts.
        action: What to do.
        generation: The result.
        index: 0-based place of the picture in it.
        private: Only the person who asks sees the new one.
        limits: What the person may have.

    Raises:
        UnknownJobError: The picture is gone.
        InvalidRequestError: The change cannot be made, by this model or at all.
    """
    info = desk.info()
    picked = await _pick(desk, generation, index, info, limits)
    changed = await CHANGES[action](picked, info)
    return Order(
        changed.request,
        action=action,
        parent_id=generation.id,
        private=private,
        spoiler=generation.submission.destination.spoiler,
        files=changed.files,
    )


async def reroll(desk: Desk, generation: Generation) -> GenerationRequest:
    """Returns the same with another seed; of an upscaled picture, what it was upscaled from.

    Raises:
        InvalidRequestError: There is nothing that a seed decides.
    """
    while generation.request.upscaler is not None:
        if generation.submission.parent_id is None:
            raise InvalidRequestError(SAME_AGAIN)
        generation = await desk.parts.history.get(generation.submission.parent_id)
    return _options.rerolled(generation.request)


def vary(strength: float) -> Change:
    """Returns the change that draws over the picture, `strength` of the way."""

    async def changed(picked: Picked, _: EngineInfo) -> Changed:
        request = dataclasses.replace(
            picked.made,
            init_image=picked.sha256,
            mask_image=None,
            strength=strength,
            seed=_options.new_seed(),
        )
        return Changed(request)

    return changed


def zoom(factor: float) -> Change:
    """Returns the change that shows more on all sides."""
    return _outpaint(lambda png, size: _canvas.zoomed(png, size, factor))


def pan(across: int, down: int) -> Change:
    """Returns the change that looks to one side, see `_canvas.panned`."""
    return _outpaint(lambda png, size: _canvas.panned(png, size, across, down))


def upscale(factor: int) -> Change:
    """Returns the change that makes the picture larger and nothing else."""

    async def changed(picked: Picked, info: EngineInfo) -> Changed:
        width, height = (side * factor for side in picked.size)
        request = _enlarged(picked, width, height, 0.0)
        request = dataclasses.replace(request, upscaler=info.best_upscaler)
        info.check(request)
        return Changed(request)

    return changed


def upscale_creative(factor: int) -> Change:
    """Returns the change that makes the picture larger and draws new details into it."""

    async def changed(picked: Picked, info: EngineInfo) -> Changed:
        step = info.size_multiple
        width, height = (round(side * factor / step) * step for side in picked.size)
        if max(width, height) > info.max_side:
            raise InvalidRequestError(
                "A creative upscale to {width}x{height} is too large for {model}, which draws "
                "at most {limit} pixels a side. Use a faithful one.",
                width=width,
                height=height,
                model=info.model,
                limit=info.max_side,
            )
        return Changed(_enlarged(picked, width, height, CREATIVE_STRENGTH))

    return changed


def _enlarged(picked: Picked, width: int, height: int, strength: float) -> GenerationRequest:
    """Returns the request that draws over this one picture at another size, `strength` of the way."""
    return dataclasses.replace(
        picked.made,
        width=width,
        height=height,
        seed=picked.seed,
        num_images=1,
        init_image=picked.sha256,
        mask_image=None,
        strength=strength,
        second_pass=None,
        controls=(),
    )


def _outpaint(draw: Callable[[bytes, tuple[int, int]], Canvas]) -> Change:
    async def changed(picked: Picked, _: EngineInfo) -> Changed:
        made = picked.made
        # With a second pass, what is kept is pasted back at the larger size.
        scale = made.second_pass.scale if made.second_pass is not None else 1.0
        size = (round(made.width * scale), round(made.height * scale))

        def work() -> tuple[dict[str, bytes], tuple[str, str]]:
            canvas = draw(picked.png, size)
            files = canvas.files()
            picture, mask = files
            return files, (picture, mask)

        files, (picture, mask) = await asyncio.to_thread(work)
        request = dataclasses.replace(
            made,
            init_image=picture,
            mask_image=mask,
            strength=OUTPAINT_STRENGTH,
            seed=_options.new_seed(),
            num_images=1,
            controls=(),  # their maps show what is where in the old picture
        )
        return Changed(request, files)

    return changed


async def _pick(
    desk: Desk, generation: Generation, index: int, info: EngineInfo, limits: Limits | None
) -> Picked:
    if generation.deleted_at is not None or index >= len(generation.pictures):
        raise UnknownJobError(GONE)
    sha256 = generation.pictures[index]
    png = await desk.parts.pictures.get(sha256)
    return Picked(
        made=_fitting.fitted(_options.drawable(generation.request, info), info, limits),
        sha256=sha256,
        seed=generation.seeds[index],
        png=png,
        size=await asyncio.to_thread(_canvas.size_of, png),
    )


CHANGES: dict[str, Change] = {
    _buttons.VARY: vary(MEDIUM),
    _buttons.VARY_SUBTLE: vary(SUBTLE),
    _buttons.VARY_STRONG: vary(STRONG),
    _buttons.ZOOM: zoom(2.0),
    _buttons.ZOOM_LESS: zoom(1.5),
    **{action: pan(*direction) for action, direction in _PANS.items()},
    _buttons.UPSCALE: upscale(2),
    _buttons.UPSCALE_MORE: upscale(4),
    _buttons.UPSCALE_CREATIVE: upscale_creative(2),
    _buttons.UPSCALE_CREATIVE_MORE: upscale_creative(4),
}
