"""`bot.py imagine --replay FILE`: makes a picture of Easel's again, and says whether it is the same."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from cli.controls import GivenControl
from cli.files import check_place, install, numbered, read_image, style_of
from cli.logs import set_up_logging
from cli.parts import Parts, open_parts
from cli.progress import show
from engine.control.maps import AUTO, KINDS, MapRequest
from engine.errors import EngineError, InvalidRequestError, UnknownJobError, error_from_wire
from engine.receipts import PNG_KEY, Receipt, machine_of, read_recipe
from engine.settings import Settings
from engine.types import (
    EngineDied,
    EngineInfo,
    EngineLoading,
    EngineReady,
    GenerationFailed,
    GenerationRequest,
    GenerationResult,
    Progress,
)
from storage.pictures import PictureFiles

_JOB = "replay"
_SAME = "made again to the bit, all pixels are the same."
_NO_RECEIPT = (
    "{file} carries no receipt of Easel's. Only its own PNG files do, as they were sent: a picture that "
    "was edited, converted or photographed from a screen has lost it."
)


@dataclass(frozen=True, slots=True)
class Original:
    """What is made again.

    Attributes:
        pictures: By index those that there are to compare with.
    """

    file: Path
    request: GenerationRequest
    receipt: Receipt
    pictures: Mapping[int, Image.Image]


async def replay(settings: Settings, options: argparse.Namespace) -> int:
    """Returns 0 when all pictures have the same pixels, 1 when one has others."""
    set_up_logging(settings, level="WARNING")
    if options.out is not None:
        check_place(options.out)
    original = read_original(options.replay)
    with tempfile.TemporaryDirectory(prefix="easel-") as folder:
        changes = {"data_dir": Path(folder), "daily_allowance": 0.0}
        if options.model is not None:
            changes["model"] = options.model
        async with open_parts(settings.model_copy(update=changes)) as parts:
            await _find_styles(parts, settings, options, original)
            engine = asyncio.create_task(parts.engine.run())
            try:
                result, info = await _make_again(parts, settings, options, original)
            finally:
                engine.cancel()
                await asyncio.gather(engine, return_exceptions=True)
    is_same = True
    for picture in result.pictures:
        if options.out is not None:
            numbered(options.out, picture.index).write_bytes(picture.png)
        before = original.pictures.get(picture.index)
        if before is None:
            told = "made again; there is no picture beside it to compare with."
        else:
            with Image.open(io.BytesIO(picture.png)) as made:
                told = _difference(made, before)
            if told:
                told = f"{told} {_why(original.receipt, result, info)}"
                is_same = False
        print(f"{original.file}, seed {picture.seed}: {told or _SAME}")
    return 0 if is_same else 1


def read_original(file: Path) -> Original:
    """Returns what a PNG, or the JSON of an exported job with the PNGs beside it, tells.

    Raises:
        InvalidRequestError: There is no receipt in it.
    """
    try:
        if file.suffix.lower() == ".json":
            request, receipt = read_recipe(file.read_text("utf-8"))
            numbers = range(1, request.num_images + 1)
            beside = {n - 1: file.with_name(f"{file.stem}-{n}.png") for n in numbers}
            pictures = {n: _open(path)[0] for n, path in beside.items() if path.is_file()}
            return Original(file, request, receipt, pictures)
        picture, text = _open(file)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidRequestError(f"{file} cannot be read: {error}.") from error
    if text is None:
        raise InvalidRequestError(_NO_RECEIPT.format(file=file))
    request, receipt = read_recipe(text)
    return Original(file, request, receipt, {0: picture})


def _open(file: Path) -> tuple[Image.Image, str | None]:
    with Image.open(file) as opened:
        text = opened.text.get(PNG_KEY) if isinstance(opened, PngImageFile) else None
        return opened.convert("RGB"), text


async def _make_again(
    parts: Parts, settings: Settings, options: argparse.Namespace, original: Original
) -> tuple[GenerationResult, EngineInfo]:
    async for event in parts.engine.events():
        match event:
            case EngineLoading(stage=stage, fraction=fraction):
                show(fraction or 0.0, stage)
            case EngineReady(info=info):
                if original.request.upscaler is None:
                    _check_model(original, info)
                images = await _find_pictures(parts, settings, options, original)
                await parts.engine.submit(_JOB, original.request, images, receipt=original.receipt)
            case Progress(step=step, total=total):
                show(step / max(total, 1), f"step {step} of {total}")
            case GenerationResult():
                show(1.0, f"{event.seconds:.1f} s", end="\n")
                return event, info
            case GenerationFailed(error=name, message=message):
                raise error_from_wire(name, message)
            case EngineDied(message=message):
                raise EngineError(message)
    raise EngineError("The engine stopped before the picture was made.")


def _check_model(original: Original, info: EngineInfo) -> None:
    """Raises InvalidRequestError when another model is loaded: its picture would be another one."""
    receipt = original.receipt
    if (receipt.model, receipt.model_hash) != (info.model, info.model_hash):
        raise InvalidRequestError(
            f"{original.file} was made by {receipt.model} ({receipt.model_hash}); loaded is "
            f"{info.model} ({info.model_hash}). Name the other one with --model."
        )


async def _find_styles(
    parts: Parts, settings: Settings, options: argparse.Namespace, original: Original
) -> None:
    """Installs the picture's LoRAs from the command line's files or the data directory."""
    given = {_sha256_of(path): path for path, _ in map(style_of, options.style) if path.is_file()}
    for number, adapter in enumerate(original.request.adapters, start=1):
        path = given.get(adapter.sha256, settings.adapter_file(adapter.sha256))
        if not path.is_file():
            raise InvalidRequestError(
                f"{original.file} was made with a style that is not here (sha256 "
                f"{adapter.sha256[:12]}...). Give its file with --style."
            )
        await install(parts, path, adapter.weight, number)


async def _find_pictures(
    parts: Parts, settings: Settings, options: argparse.Namespace, original: Original
) -> dict[str, bytes]:
    """Returns the pictures that the picture was made from: given, stored, or in its folder."""
    request = original.request
    controls = [GivenControl.parse(text) for text in options.control]
    given = [options.image, options.mask, *(control.file for control in controls)]
    found = {_sha256(png): png for file in given if file for png in _forms_of(file)}
    for control in controls:
        kind = control.control.kind
        if kind == AUTO or kind in KINDS:
            asked = MapRequest(kind, request.width, request.height)
            made = await parts.engine.detect(read_image(control.file), asked)
            found[_sha256(made.png)] = made.png
    store = PictureFiles(settings.data_dir / "pictures")
    for sha256 in request.images:
        if sha256 not in found:
            try:
                found[sha256] = await store.get(sha256)
            except UnknownJobError:
                beside = await asyncio.to_thread(_beside, original.file, sha256)
                if beside is None:
                    raise InvalidRequestError(
                        f"{original.file} was made from a picture that is not here (sha256 "
                        f"{sha256[:12]}...). Give it with --image, --mask or --control."
                    ) from None
                found[sha256] = beside
    return {sha256: found[sha256] for sha256 in request.images}


def _forms_of(file: Path) -> list[bytes]:
    """Returns the file's bytes and those of the PNG that `imagine` makes of it."""
    return [read_image(file), file.read_bytes()]


def _beside(file: Path, sha256: str) -> bytes | None:
    for path in sorted(file.parent.glob("*.png")):
        if (data := path.read_bytes()) and _sha256(data) == sha256:
            return data
    return None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(made: Image.Image, before: Image.Image) -> str:
    """Returns how the pictures differ, "" when they do not."""
    if made.size != before.size:
        return (
            f"made again at {made.size[0]}x{made.size[1]}, not {before.size[0]}x{before.size[1]}."
        )
    levels = np.asarray(made.convert("RGB"), int) - np.asarray(before, int)  # (H, W, 3)
    count = int((levels != 0).any(axis=2).sum())
    if count == 0:
        return ""
    return (
        f"made again, but {count:,} of {levels[:, :, 0].size:,} pixels differ, by at most "
        f"{abs(levels).max()} of 255."
    )


def _why(receipt: Receipt, result: GenerationResult, info: EngineInfo) -> str:
    """Returns what explains the difference, as far as the receipt tells."""
    now = dict(result.receipt.get("controlnets", {}))  # type: ignore[call-overload]
    if others := [kind for kind, own in receipt.controlnets.items() if now.get(kind) != own]:
        return f"The ControlNet {others[0]} is another file than it was."
    if receipt.upscaler != str(result.receipt.get("upscaler", "")):
        return "The upscaler is another file than it was."
    if receipt.machine == machine_of(info):
        return "It was made on this kind of machine, so this should not be."
    then = {"machine": receipt.device_name, "dtype": receipt.dtype, **receipt.versions}
    here = {"machine": info.device_name, "dtype": info.dtype, **info.versions}
    changed = [f"{k} {v}, here {here.get(k)}" for k, v in then.items() if v and v != here.get(k)]
    told = f" ({'; '.join(changed)})" if changed else ""
    return (
        "It was made on another kind of machine or with other library versions"
        f"{told}, where last bits differ."
    )
