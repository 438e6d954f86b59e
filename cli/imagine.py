"""`bot.py imagine`: one job through the same queue and engine, without Discord."""

from __future__ import annotations

import argparse
import asyncio
import io
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors import SafetensorError

from cli.logs import set_up_logging
from cli.parts import Parts, open_parts
from engine.errors import EngineError, InvalidRequestError, error_from_wire
from engine.lora.metadata import read_lora_info
from engine.settings import Settings
from engine.types import (
    MAX_SEED,
    AdapterWeight,
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

_BAR_WIDTH = 30
_DEFAULT_STRENGTH = 0.55  # /remix's "Medium"


async def imagine(settings: Settings, options: argparse.Namespace) -> int:
    """Makes the pictures and writes them to `options.out` (and `-2`, `-3`, ...); returns 0."""
    set_up_logging(settings, level="WARNING")
    _check_place(options.out)
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
        path = _numbered(options.out, picture.index)
        path.write_bytes(picture.png)
        print(f"{path}: seed {picture.seed}, {picture.width}x{picture.height}")
    for warning in result.warnings:
        print(warning, file=sys.stderr)
    return 0


async def _generate(parts: Parts, options: argparse.Namespace) -> GenerationResult:
    image = _read_image(options.image) if options.image is not None else None
    sha256 = await parts.pictures.put(image) if image is not None else None
    styles = [await _install(parts, text, n) for n, text in enumerate(options.style, start=1)]
    if (expected := parts.engine.info) is not None:
        # A wrong option is told before the model loads.
        build_request(options, expected, sha256, styles)
    info = await _wait_for_engine(parts)
    submission = Submission(
        origin="command-line",
        owner_id=0,
        owner_name="operator",
        destination=Destination(channel_id=0),
        request=build_request(options, info, sha256, styles),
    )
    job = await parts.queue.submit(submission)
    async for event in parts.queue.watch(job.id):
        match event:
            case Progress(step=step, total=total):
                _show(step / total, f"step {step} of {total}")
            case GenerationResult():
                _show(1.0, f"{event.seconds:.1f} s", end="\n")
                return event
            case GenerationFailed(error=name, message=message):
                raise error_from_wire(name, message)
            case Queued() | Started():
                _show(0.0, "starting")
    raise EngineError("The queue stopped before the picture was made.")


async def _wait_for_engine(parts: Parts) -> EngineInfo:
    """Returns the handshake; shows what the engine is doing until then."""
    async for state in parts.queue.engine_states():
        match state:
            case EngineReady(info=info):
                return info
            case EngineLoading(stage=stage, fraction=fraction):
                _show(fraction or 0.0, stage)
            case EngineDied(message=message):
                raise EngineError(message)
    raise EngineError("The engine stopped before it was ready.")


def build_request(
    options: argparse.Namespace,
    info: EngineInfo,
    init_image: str | None,
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
    if options.strength is not None and init_image is None:
        raise InvalidRequestError("--strength goes with --image. Give both.")
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
        adapters=tuple(styles),
        clip_skip=options.clip_skip,
    )


async def _install(parts: Parts, text: str, number: int) -> AdapterWeight:
    """Puts a LoRA file that is named as FILE or FILE:WEIGHT into the registry."""
    name, _, ending = text.rpartition(":")
    try:
        path, weight = Path(name), float(ending)
    except ValueError:
        path, weight = Path(text), 1.0
    try:
        info = await asyncio.to_thread(read_lora_info, path)
        style = await parts.adapters.add(
            path, f"{number} {path.stem[:40]}", trigger_words=info.triggers,
            family=info.family, default_weight=weight,
        )  # fmt: skip
    except OSError as error:
        raise InvalidRequestError(
            f"The style {path} cannot be read ({error.strerror or error})."
        ) from error
    except SafetensorError as error:
        raise InvalidRequestError(
            f"The style {path} is no .safetensors file ({error}). Only these are read."
        ) from error
    if style.trigger_words:
        print(f"{path.name} listens to: {', '.join(style.trigger_words)}", file=sys.stderr)
    return AdapterWeight(style.sha256, weight)


def _words(argument: str) -> str:
    """Returns the text without bytes that are none, which Python keeps as half characters."""
    return argument.encode("utf-8", "ignore").decode("utf-8")


def _check_place(path: Path) -> None:
    """Raises InvalidRequestError when the picture could not be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            return
        reason = "it is a folder"
    except OSError as error:
        reason = str(error.strerror)
    raise InvalidRequestError(f"{path} cannot be written ({reason}). Choose another --out.")


def _read_image(path: Path) -> bytes:
    """Returns the operator's own picture as a plain RGB PNG, turned upright, alpha on white."""
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidRequestError(f"{path} cannot be read as a picture: {error}.") from error
    white = Image.new("RGBA", upright.size, "white")
    buffer = io.BytesIO()
    Image.alpha_composite(white, upright).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _numbered(path: Path, index: int) -> Path:
    return path if index == 0 else path.with_stem(f"{path.stem}-{index + 1}")


def _show(fraction: float, text: str, *, end: str = "") -> None:
    """Draws the bar over itself on a terminal; a log file or pipe gets only the last line."""
    if not sys.stderr.isatty() and end == "":
        return
    filled = round(fraction * _BAR_WIDTH)
    bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
    print(f"\r\033[K{bar} {text}" if sys.stderr.isatty() else text, end=end, file=sys.stderr)
    sys.stderr.flush()
