"""What a LoRA file tells about itself: title, trigger words, base model, rank, a thumbnail.

Two vocabularies are in use, both in the safetensors header: `modelspec.*` of the Stability AI model
metadata standard (https://github.com/Stability-AI/ModelSpec) and `ss_*` of kohya's sd-scripts. Both are
written; of files from elsewhere whatever can be understood is read, and nothing in them raises.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from safetensors import safe_open

MAX_WORDS = 8
MAX_TEXT = 100  # characters of a title or trigger word
MAX_THUMBNAIL_BYTES = 1 << 20
MAX_JSON = 1 << 20  # characters of `ss_tag_frequency` that are looked at
FREQUENT = 0.8  # a tag in this share of the captions or more is a trigger word

_PICTURES = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/webp": b"RIFF"}
_FAMILIES = (  # in order: the more special first
    ("pocket", "pocket"),
    ("sdxl", "sdxl"),
    ("xl-v1", "sdxl"),
    ("stable-diffusion-v2", "sd2"),
    ("sd_v2", "sd2"),
    ("stable-diffusion-v1", "sd15"),
    ("sd_v1", "sd15"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraCard:
    """What a trainer says about a LoRA that it writes.

    Attributes:
        architecture: Of the base model, as in modelspec: "stable-diffusion-v1".
        base_version: The same in kohya's words: "sd_v1".
        resolution: Width and height of the pictures trained on, in pixels.
        prediction_type: As diffusers says it: "epsilon" or "v_prediction".
        tag_frequency: In how many pictures' captions each tag was.
        thumbnail: A small encoded picture (PNG, JPEG or WebP).
    """

    title: str
    architecture: str
    base_version: str
    resolution: tuple[int, int]
    prediction_type: str
    trigger_phrase: str = ""
    author: str = ""
    description: str = ""
    output_name: str = ""
    tag_frequency: Mapping[str, int] = field(default_factory=dict)
    thumbnail: bytes = b""
    date: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoraInfo:
    """What was read; empty or None where the file does not say it, in words of one line each.

    Attributes:
        triggers: Words to put in the prompt, the most telling first, at most `MAX_WORDS`.
        architecture: `modelspec.architecture` without "/lora".
        base_version: `ss_base_model_version`, or the name of the base model's file.
        family: "sd15", "sd2", "sdxl" or "pocket" where the two lines above say so. A claim: the
            shapes of the tensors decide what a file fits.
        rank: None also where it differs between layers.
        thumbnail: Encoded bytes as found, not decoded: they need the same care as an upload.
    """

    title: str = ""
    triggers: tuple[str, ...] = ()
    author: str = ""
    description: str = ""
    architecture: str = ""
    base_version: str = ""
    family: str = ""
    rank: int | None = None
    alpha: float | None = None
    thumbnail: bytes = b""


def build_metadata(
    card: LoraCard, *, rank: int, alpha: float, data_sha256: str, conv: bool = False
) -> dict[str, str]:
    """Returns the header's `__metadata__` for a LoRA in kohya's layout.

    Args:
        card: What the trainer says.
        rank: Of every layer.
        alpha: Of every layer; the update is scaled by alpha / rank.
        data_sha256: Of the file's bytes after the header, in hexadecimal.
        conv: Whether 3x3 convolutions have layers too, which kohya calls LoCon.
    """
    width, height = card.resolution
    date = card.date or datetime.now(UTC)
    prediction = {"v_prediction": "v"}.get(card.prediction_type, card.prediction_type)
    metadata = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{card.architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": card.title,
        "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": prediction,
        "modelspec.date": date.replace(microsecond=0, tzinfo=None).isoformat(),
        "modelspec.hash_sha256": f"0x{data_sha256}",
        "sshs_model_hash": data_sha256,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(alpha)),
        "ss_base_model_version": card.base_version,
        "ss_v2": str(card.base_version.startswith("sd_v2")),
        "ss_output_name": card.output_name or card.title,
        "ss_resolution": f"({width}, {height})",
    }
    if conv:
        metadata["ss_network_args"] = json.dumps({"conv_dim": rank, "conv_alpha": float(alpha)})
    if card.tag_frequency:
        folder = f"1_{card.output_name or card.title}"
        metadata["ss_tag_frequency"] = json.dumps({folder: dict(card.tag_frequency)})
    optional = {
        "modelspec.trigger_phrase": card.trigger_phrase,
        "modelspec.author": card.author,
        "modelspec.description": card.description,
        "modelspec.thumbnail": _data_uri(card.thumbnail) if card.thumbnail else "",
    }
    return metadata | {key: value for key, value in optional.items() if value}


def read_metadata(metadata: Mapping[str, str]) -> LoraInfo:
    """Returns what the `__metadata__` of a header says; never raises, whatever is in it."""
    architecture = _line(_first(metadata, "modelspec.architecture")).partition("/")[0]
    base_version = _line(_first(metadata, "ss_base_model_version", "ss_sd_model_name"))
    return LoraInfo(
        title=_line(_first(metadata, "modelspec.title", "ss_output_name")),
        triggers=_triggers(metadata),
        author=_line(_first(metadata, "modelspec.author")),
        description=_line(_first(metadata, "modelspec.description", "ss_training_comment"), 400),
        architecture=architecture,
        base_version=base_version,
        family=_family(architecture) or _family(base_version),
        rank=_rank(_first(metadata, "ss_network_dim")),
        alpha=_number(_first(metadata, "ss_network_alpha")),
        thumbnail=_thumbnail(_first(metadata, "modelspec.thumbnail")),
    )


def read_lora_info(path: Path) -> LoraInfo:
    """Returns what a file says about itself; reads its header only.

    Raises:
        safetensors.SafetensorError: It is no safetensors file.
    """
    with safe_open(path, framework="numpy") as file:
        return read_metadata(file.metadata() or {})


def _first(metadata: Mapping[str, str], *keys: str) -> str:
    """The first of these entries that says something; "None" is what kohya writes for nothing."""
    for key in keys:
        value = metadata.get(key)
        if isinstance(value, str) and value.strip() and value.strip() != "None":
            return value
    return ""


def _line(text: str, longest: int = MAX_TEXT) -> str:
    """The text in one line, without control characters, cut to its longest allowed length."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 8 * longest])
    return " ".join(printable.split())[:longest].rstrip()


def _triggers(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Words that were given as such; else the tags that nearly every caption has."""
    words: list[str] = []
    for key in ("modelspec.trigger_phrase", "ss_trigger_words"):
        words += _words(_first(metadata, key))
    return _distinct(words or _frequent_tags(_first(metadata, "ss_tag_frequency")))


def _words(text: str) -> list[str]:
    """Splits a list in JSON, or words between commas, semicolons or line ends."""
    if text.lstrip().startswith("["):
        parsed = _parsed(text)
        if isinstance(parsed, list):
            return [word for word in parsed if isinstance(word, str)]
    return re.split(r"[,;\n]", text[:MAX_JSON]) if text else []


def _frequent_tags(text: str) -> list[str]:
    """Tags in nearly every caption, by number; `text` is {"folder": {"tag": number of captions}}."""
    folders = _parsed(text)
    counts: Counter[str] = Counter()
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int) and count > 0:
                counts[tag.strip()] += count
    most = max(counts.values(), default=0)
    return [tag for tag, count in counts.most_common(MAX_WORDS) if count >= FREQUENT * most]


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    lines = [_line(word) for word in words]
    seen = {line.casefold(): line for line in reversed(lines) if line}
    ordered = dict.fromkeys(seen[line.casefold()] for line in lines if line)
    return tuple(ordered)[:MAX_WORDS]


def _parsed(text: str) -> object:
    """The text as JSON; None where it is none, or too long or too deep to look at."""
    if not text or len(text) > MAX_JSON:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _family(text: str) -> str:
    lowered = text.lower()
    return next((family for mark, family in _FAMILIES if mark in lowered), "")


def _number(text: str) -> float | None:
    """A finite positive number of ordinary size."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def _rank(text: str) -> int | None:
    value = _number(text)
    return int(value) if value is not None and value.is_integer() else None


def _data_uri(picture: bytes) -> str:
    mime = next((m for m, magic in _PICTURES.items() if picture.startswith(magic)), None)
    if mime is None:
        raise ValueError("The thumbnail must be a PNG, JPEG or WebP picture.")
    return f"data:{mime};base64,{base64.b64encode(picture).decode('ascii')}"


def _thumbnail(uri: str) -> bytes:
    """The picture in a data URI, or nothing where it is too large or begins like no picture."""
    head, comma, body = uri[: 2 * MAX_THUMBNAIL_BYTES].partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        return b""
    try:
        picture = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return b""
    known = any(picture.startswith(magic) for magic in _PICTURES.values())
    return picture if known and len(picture) <= MAX_THUMBNAIL_BYTES else b""
