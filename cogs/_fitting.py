"""Sizes, steps and counts that nobody asked for, fitted to the model and to what the person may have.

What somebody asked for is never made smaller: it is refused, with the limit (`engine.limits`).
"""

from __future__ import annotations

import dataclasses
import math

from engine.types import EngineInfo, GenerationRequest, Limits, SecondPass


def room(info: EngineInfo, limits: Limits | None) -> EngineInfo:
    """Returns a model that draws at most as large as the limits allow, to choose sizes for."""
    if limits is None or limits.side is None:
        return info
    step = info.size_multiple
    most = max(
        limits.side.value // step * step, step
    )  # else a second pass could round up beyond it
    return dataclasses.replace(info, max_side=min(info.max_side, most))


def steps_within(steps: int, second_pass: SecondPass | None, limits: Limits | None) -> int:
    """Returns at most so many steps that a full run, with those of a second pass, is allowed."""
    if limits is None or limits.steps is None:
        return steps
    share = second_pass.strength if second_pass is not None else 0.0
    while steps > 1 and steps + int(steps * share) > limits.steps.value:
        steps -= 1
    return steps


def count_within(count: int, limits: Limits | None, times: int = 1) -> int:
    """Returns at most so many pictures that `times` as many are allowed; 1 at least."""
    if limits is None or limits.count is None:
        return count
    return min(count, max(limits.count.value // times, 1))


def fitted(
    request: GenerationRequest,
    info: EngineInfo,
    limits: Limits | None,
    *,
    keeps_quality: bool = False,
) -> GenerationRequest:
    """Returns a request of before as the limits allow it now: in its shape, with fewer steps, smaller.

    A second pass that they do not allow is left out, unless the quality is to be kept: then it makes
    a smaller picture larger.
    """
    if limits is None:
        return request
    step = info.size_multiple
    if not keeps_quality and not allows(request, info, limits):
        request = dataclasses.replace(request, second_pass=None)
    width, height = request.width, request.height
    if limits.side is not None and request.longest_side(step) > limits.side.value:
        scale = scale_of(request.second_pass)
        width, height = size_of(f"{width}:{height}", room(info, limits), scale)
    steps = steps_within(request.num_inference_steps, request.second_pass, limits)
    count = count_within(request.num_images, limits)
    return dataclasses.replace(
        request, width=width, height=height, num_inference_steps=steps, num_images=count
    )


def allows(request: GenerationRequest, info: EngineInfo, limits: Limits | None) -> bool:
    """Returns whether a picture of this size, with these steps, is allowed."""
    if limits is None:
        return True
    side, steps = limits.side, limits.steps
    is_small = side is None or request.longest_side(info.size_multiple) <= side.value
    return is_small and (steps is None or request.steps_asked <= steps.value)


def scale_of(second_pass: SecondPass | None) -> float:
    """Returns how many times as large a second pass makes the picture."""
    return second_pass.scale if second_pass is not None else 1.0


def size_of(aspect: str, info: EngineInfo, scale: float = 1.0) -> tuple[int, int]:
    """Returns width and height of about the model's native area in the given aspect ratio.

    Both are multiples of the model's step, at most `max_side / scale`.
    """
    across, down = (int(side) for side in aspect.split(":"))
    ratio = across / down
    step = info.size_multiple
    biggest = max(int(info.max_side / scale) // step * step, step)
    ideal_width = min(info.native_size * math.sqrt(ratio), biggest, biggest * ratio)
    ideal_height = ideal_width / ratio

    def nearest(length: float) -> set[int]:
        below = int(length) // step * step
        return {min(max(side, step), biggest) for side in (below, below + step)}

    def error(size: tuple[int, int]) -> float:
        width, height = size
        shape = abs(math.log(width / height / ratio))
        area = abs(math.log(width * height / (ideal_width * ideal_height)))
        return 2 * shape + area

    sizes = [(w, h) for w in nearest(ideal_width) for h in nearest(ideal_height)]
    return min(sorted(sizes), key=error)
