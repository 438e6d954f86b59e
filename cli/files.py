"""The operator's own files on the command line: pictures, LoRAs, and where a picture goes."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors import SafetensorError

from cli.parts import Parts
from engine.errors import InvalidRequestError
from engine.lora.metadata import read_lora_info
from engine.types import AdapterWeight


def read_image(path: Path) -> bytes:
    """Returns the operator's own picture as a plain RGB PNG, turned upright, alpha on white.

    Raises:
        InvalidRequestError: There is no picture.
    """
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidRequestError(f"{path} cannot be read as a picture: {error}.") from error
    white = Image.new("RGBA", upright.size, "white")
    buffer = io.BytesIO()
    Image.alpha_composite(white, upright).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def style_of(text: str) -> tuple[Path, float]:
    """Returns file and weight of FILE or FILE:WEIGHT."""
    name, _, ending = text.rpartition(":")
    try:
        return Path(name), float(ending)
    except ValueError:
        return Path(text), 1.0


async def install(parts: Parts, path: Path, weight: float, number: int) -> AdapterWeight:
    """Puts a LoRA file into the registry.

    Raises:
        InvalidRequestError: It is none, or not there.
    """
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


def check_place(path: Path) -> None:
    """Raises InvalidRequestError when the picture could not be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            return
        reason = "it is a folder"
    except OSError as error:
        reason = str(error.strerror)
    raise InvalidRequestError(f"{path} cannot be written ({reason}). Choose another --out.")


def numbered(path: Path, index: int) -> Path:
    """Returns the path of picture `index` (0-based) of several."""
    return path if index == 0 else path.with_stem(f"{path.stem}-{index + 1}")
