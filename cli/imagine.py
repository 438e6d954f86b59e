"""`bot.py imagine`: one job through the same queue and engine, without Discord."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cli.controls import GivenControl, make_maps
from cli.files import check_place, install, numbered, read_image, style_of
from cli.logs import set_up_logging
from cli.parts import Parts, open_parts
from cli.progress import show
from engine.control.maps import AUTO
from engine.errors import EngineError, InvalidRequestError, error_from_wire
from engine.settings import Settings
from engine.types import (
    MAX_SEED,
    AdapterWeight,
    Control,
    Destination,
    EngineDied,
    EngineInfo,
    EngineLoading,
    EngineReady,
    GenerationFailed,
    GenerationRequest,
    GenerationResult,
    Progress,
    Queued,
    Sampler,
    Started,
    Submission,
)

_DEFAULT_STRENGTH = 0.55  # /remix's "Medium"


async def imagine(settings: Settings, options: argparse.Namespace) -> int:
    """Makes the pictures and writes them to `options.out` (and `-2`, `-3`, ...); returns 0."""
    set_up_logging(settings, level="WARNING")
    if options.prompt is None or options.out is None:
        raise InvalidRequestError(
            "A picture needs words and a place: bot.py imagine PROMPT --out FILE. "
            "Only --replay FILE goes without."
        )
    check_place(options.out)
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        changes = {"data_dir": Path(folder), "daily_allowance": 0.0}
        if options.model is not None:
            changes["model"] = options.model
        async with open_parts(settings.model_copy(update=changes)) as parts:
            engine = asyncio.create_task(parts.engine.run())
            queue = asyncio.create_task(parts.queue.run())
            try:
                result = await _generate(parts, options)
            finally:
                queue.cancel()
                engine.cancel()
                await asyncio.gather(queue, engine, return_exceptions=True)
    for picture in result.pictures:
        path = numbered(options.out, picture.index)
        path.write_bytes(picture.png)
        print(f"{path}: seed {picture.seed}, {picture.width}x{picture.height}")
    for warning in result.warnings:
        print(warning, file=sys.stderr)
    return 0


async def _generate(parts: Parts, options: argparse.Namespace) -> GenerationResult:
    image, mask = [
        None if path is None else await parts.pictures.put(read_image(path))
        for path in (options.image, options.mask)
    ]
    given = [GivenControl.parse(text) for text in options.control]
    for control in given:
        read_image(control.file)
    styles = [
        await install(parts, *style_of(text), n) for n, text in enumerate(options.style, start=1)
    ]
    build = partial(build_request, options, init_image=image, mask_image=mask, styles=styles)
    if (expected := parts.engine.info) is not None:
        # A wrong option is told before the model loads.
        build(expected, controls=[one.control for one in given])
    info = await _wait_for_engine(parts)
    plain = build(info)
    info.check(plain)
    controls = await make_maps(parts, given, (plain.width, plain.height))
    submission = Submission(
        origin="command-line",
        owner_id=0,
        owner_name="operator",
        destination=Destination(channel_id=0),
        request=replace(plain, controls=tuple(controls)),
    )
    job = await parts.queue.submit(submission)
    async for event in parts.queue.watch(job.id):
        match event:
            case Progress(step=step, total=total):
                show(step / total, f"step {step} of {total}")
            case GenerationResult():
                show(1.0, f"{event.seconds:.1f} s", end="\n")
                return event
            case GenerationFailed(error=name, message=message):
                raise error_from_wire(name, message)
            case Queued() | Started():
                show(0.0, "starting")
    raise EngineError("The queue stopped before the picture was made.")


async def _wait_for_engine(parts: Parts) -> EngineInfo:
    """Returns the handshake; shows what the engine is doing until then."""
    async for state in parts.queue.engine_states():
        match state:
            case EngineReady(info=info):
                return info
            case EngineLoading(stage=stage, fraction=fraction):
                show(fraction or 0.0, stage)
            case EngineDied(message=message):
                raise EngineError(message)
    raise EngineError("The engine stopped before it was ready.")


def build_request(
    options: argparse.Namespace,
    info: EngineInfo,
    *,
    init_image: str | None = None,
    mask_image: str | None = None,
    controls: Sequence[Control] = (),
    styles: Sequence[AdapterWeight] = (),
) -> GenerationRequest:
    """Returns the request; what was left out is the model's own choice.

    Raises:
        InvalidRequestError: An option is no number of pixels, no sampler, or out of range.
    """
    width = height = info.native_size
    if options.size is not None:
        try:
            width, height = (int(side) for side in options.size.lower().split("x"))
        except ValueError:
            raise InvalidRequestError(
                f"The size {options.size!r} is not understood. Write it as WxH, like 512x512."
            ) from None
    sampler = info.default_sampler
    if options.sampler is not None:
        if options.sampler not in list(Sampler):
            raise InvalidRequestError(
                f"There is no sampler {options.sampler!r}. Choose one of: {', '.join(Sampler)}."
            )
        sampler = Sampler(options.sampler)
    for name in ("strength", "mask"):
        if getattr(options, name) is not None and init_image is None:
            raise InvalidRequestError(f"--{name} goes with --image. Give both.")
    for control in controls:
        if control.kind not in (AUTO, *info.control_kinds):
            known = ", ".join(info.control_kinds)
            has = f"Choose one of: {known}." if known else "It has none."
            raise InvalidRequestError(f"{info.model} has no control {control.kind!r}. {has}")
    strength = _DEFAULT_STRENGTH if options.strength is None else options.strength
    return GenerationRequest(
        prompt=_words(options.prompt),
        negative_prompt=_words(options.negative),
        width=width,
        height=height,
        seed=secrets.randbelow(MAX_SEED + 1) if options.seed is None else options.seed,
        num_images=options.count,
        num_inference_steps=info.default_steps if options.steps is None else options.steps,
        guidance_scale=(
            info.default_guidance_scale if options.guidance is None else options.guidance
        ),
        sampler=sampler,
        model=info.model,
        init_image=init_image,
        strength=strength if init_image is not None else None,
        mask_image=mask_image,
        controls=tuple(controls),
        adapters=tuple(styles),
        clip_skip=options.clip_skip,
    )


def _words(argument: str) -> str:
    """Returns the text without bytes that are none, which Python keeps as half characters."""
    return argument.encode("utf-8", "ignore").decode("utf-8")
