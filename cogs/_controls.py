"""From a picture, or a pose with a name, to a request that a ControlNet guides."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from cogs import _canvas, _fitting, _options, _text
from cogs._desk import Parts
from cogs._language import N_
from engine.control import geometry
from engine.control.library import Pose
from engine.control.maps import AUTO, KINDS, OPENPOSE, ControlMap, ControlWish, Fit, MapRequest
from engine.errors import EngineDiedError, InvalidRequestError
from engine.types import EngineDied, EngineInfo, EngineReady, GenerationRequest, Limits
from storage.pictures import sha256_of

NO_CONTROLS = N_(
    "The model {model} has no ControlNets, so it cannot follow a pose. The operator of this bot can add "
    "some with EASEL_CONTROLNETS; /remix starts from a picture without them."
)
NO_SUCH_CONTROL = N_(
    "{model} has no ControlNet for {kind}. Choose one of these with the option control: {known}."
)
NO_POSES = N_(
    "{model} has no ControlNet for poses (openpose). Attach a picture with the option image instead; it "
    "can be read for: {known}."
)
NO_FIT = N_('There is no fit "{fit}". Choose crop, pad or stretch.')

_TRIES = 3
_PAUSE_S = 1.0  # after a death of the engine, until everybody knows of it


def kinds(info: EngineInfo) -> list[str]:
    """Returns the controls that the model has and that pictures can be read for."""
    return [kind for kind in KINDS if kind in info.control_kinds]


def wish_of(
    info: EngineInfo,
    *,
    control: object = None,
    strength: float | None = None,
    start: float | None = None,
    end: float | None = None,
    fit: object = None,
    mirror: object = False,
) -> ControlWish:
    """Returns what somebody wants; what was left out is usual.

    Raises:
        InvalidRequestError: The model has no such ControlNet, or a value is out of its range.
    """
    known = kinds(info)
    if not known:
        raise InvalidRequestError(NO_CONTROLS, model=info.model)
    kind = AUTO
    if control is not None and _options.key_of(str(control)) != AUTO:
        kind = _options.key_of(str(control))
        if kind not in known:
            raise InvalidRequestError(
                NO_SUCH_CONTROL,
                model=info.model,
                kind=_text.plain(str(control), 40),
                known=", ".join(known),
            )
    shape = Fit.CROP if fit is None else str(fit).strip().casefold()
    if shape not in tuple(Fit):
        raise InvalidRequestError(NO_FIT, fit=_text.plain(str(fit), 40))
    return ControlWish(
        kind,
        1.0 if strength is None else float(strength),
        0.0 if start is None else float(start),
        1.0 if end is None else float(end),
        Fit(shape),
        bool(mirror),
    )


def check_pose(info: EngineInfo) -> None:
    """Raises InvalidRequestError when the model cannot follow a skeleton."""
    if OPENPOSE not in info.control_kinds:
        known = ", ".join(kinds(info))
        raise InvalidRequestError(NO_POSES, model=info.model, known=known)


def with_shape_of(
    request: GenerationRequest, info: EngineInfo, width: int, height: int, limits: Limits | None
) -> GenerationRequest:
    """Returns the request in the shape of a picture, at the model's own area, within the limits."""
    room, scale = _fitting.room(info, limits), _fitting.scale_of(request.second_pass)
    size = _fitting.size_of(f"{width}:{height}", room, scale)
    return dataclasses.replace(request, width=size[0], height=size[1])


def guided(
    request: GenerationRequest, wish: ControlWish, made: ControlMap
) -> tuple[GenerationRequest, dict[str, bytes]]:
    """Returns the request with its control, and the map's file by sha256."""
    sha256 = sha256_of(made.png)
    controls = (wish.control(made.kind, sha256),)
    return dataclasses.replace(request, controls=controls), {sha256: made.png}


async def read(
    parts: Parts, png: bytes, wish: ControlWish, request: GenerationRequest
) -> ControlMap:
    """Returns the map of a picture for a request; waits for an engine that starts.

    Raises:
        RequestError: There is nothing in the picture that the control could go by.
        EngineDiedError: No engine came.
    """
    asked = _asked(wish, wish.kind, request, parts.engine.info)
    if wish.is_map:
        from engine.control import making  # OpenCV is loaded only here and in the engine

        return await asyncio.to_thread(making.fitted_map, png, asked)
    for attempt in range(_TRIES):
        await _engine(parts)
        try:
            return await parts.engine.detect(png, asked)
        except EngineDiedError:
            if attempt == _TRIES - 1:
                raise
            await asyncio.sleep(_PAUSE_S)
    raise AssertionError("the last try returns or raises")


async def draw(
    pose: Pose, wish: ControlWish, request: GenerationRequest, info: EngineInfo
) -> ControlMap:
    """Returns the map of a pose for a request."""
    from engine.control import making

    asked = _asked(wish, OPENPOSE, request, info)
    return await asyncio.to_thread(
        making.skeleton_map, pose.people, (pose.width, pose.height), asked
    )


async def mirrored(made: ControlMap, request: GenerationRequest, info: EngineInfo) -> ControlMap:
    """Returns the map of a request with left and right exchanged."""
    from engine.control import making

    thickness = geometry.line_width(info.family, request.width, request.height)
    return await asyncio.to_thread(making.mirrored, made, thickness)


async def complete(
    parts: Parts,
    request: GenerationRequest,
    wish: ControlWish,
    picture: Any = None,
    *,
    takes_size: bool,
    limits: Limits | None = None,
) -> tuple[GenerationRequest, ControlMap]:
    """Returns the request, in the picture's shape when it takes that, and the map for it.

    Args:
        parts: The bot's parts.
        request: Still without the control.
        wish: What to read.
        picture: The picture as the intake gave it; None takes `wish.picture`, which is stored.
        takes_size: The new picture has the shape of this one.
        limits: What its owner may have.

    Raises:
        RequestError: The picture is gone, or nothing can be read from it.
        EngineDiedError: No engine came.
    """
    info = parts.engine.info
    if info is None:
        raise EngineDiedError("no handshake yet")
    if picture is None:
        png = await parts.pictures.get(wish.picture or "")
        width, height = await asyncio.to_thread(_canvas.size_of, png)
    else:
        png, width, height = picture.png, picture.width, picture.height
    if takes_size:
        request = with_shape_of(request, info, width, height, limits)
    return request, await read(parts, png, wish, request)


async def _engine(parts: Parts) -> None:
    """Returns when an engine is ready; at once mostly."""
    if parts.engine.is_ready:
        return
    try:
        async with asyncio.timeout(parts.settings.engine_start_timeout_s):
            async for state in parts.queue.engine_states():
                if isinstance(state, EngineReady):
                    return
                if isinstance(state, EngineDied) and state.is_hopeless:
                    raise EngineDiedError(state.message)
    except TimeoutError as error:
        raise EngineDiedError("no engine was ready in time") from error


def _asked(
    wish: ControlWish, kind: str, request: GenerationRequest, info: EngineInfo | None
) -> MapRequest:
    width, height = request.width, request.height
    thickness = None if info is None else geometry.line_width(info.family, width, height)
    return MapRequest(kind, width, height, wish.fit, wish.mirror, thickness)
