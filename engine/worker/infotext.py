"""The A1111 text that says how a picture was made, as other programs read it from a PNG.

Prompt lines, a line `Negative prompt: ...`, then one line of `key: value` pairs that begins with
`Steps: `. Readers find these by simple searches, so a person's text that looks like one of the
keys gets an invisible word joiner before its colon.
"""

from __future__ import annotations

import json
import re

from engine.model_card import SDXL
from engine.types import EngineInfo, GenerationRequest, Sampler

VERSION = "Easel 0.1.0"

_KEYS = (
    "Negative prompt",
    "Template",
    "Negative Template",
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Seed",
    "Size",
    "Model hash",
    "Model",
    "VAE hash",
    "VAE",
    "Denoising strength",
    "Hires resize",
    "Hires upscale",
    "Hires upscaler",
    "Hires steps",
    "Clip skip",
    "ENSD",
    "Lora hashes",
    "TI hashes",
    "Hashes",
    "Version",
)
_KEY = "|".join(sorted(map(re.escape, _KEYS), key=len, reverse=True))
_KEY_ANYWHERE = re.compile(rf"({_KEY})(?=\s*:)", re.IGNORECASE)
_KEY_AT_LINE_START = re.compile(rf"^(\s*(?:{_KEY}))(?=\s*:)", re.IGNORECASE | re.MULTILINE)
_NEGATIVE_ANYWHERE = re.compile(r"(Negative prompt)(?=\s*:)", re.IGNORECASE)
_WORD_JOINER = "\\1\u2060"

_NAMES: dict[Sampler, tuple[str, str | None]] = {
    Sampler.DDIM: ("DDIM", None),
    Sampler.DDPM: ("DDPM", None),
    Sampler.EULER: ("Euler", None),
    Sampler.EULER_A: ("Euler a", None),
    Sampler.HEUN: ("Heun", None),
    Sampler.DPMPP_2M: ("DPM++ 2M", None),
    Sampler.DPMPP_2M_KARRAS: ("DPM++ 2M", "Karras"),
    Sampler.DPMPP_2M_SDE_KARRAS: ("DPM++ 2M SDE", "Karras"),
    Sampler.DPMPP_2S: ("DPM++ 2S", None),
    Sampler.UNIPC: ("UniPC", None),
    Sampler.DEIS: ("DEIS", None),
    Sampler.PNDM: ("PLMS", None),
    Sampler.LCM: ("LCM", None),
    Sampler.TCD: ("TCD", None),
}


def infotext(request: GenerationRequest, info: EngineInfo, seed: int, size: tuple[int, int]) -> str:
    """Returns the text for one picture; `size` is the finished picture's, (width, height)."""
    sampler, schedule = _NAMES[request.sampler]
    pairs: list[tuple[str, str | int | float]] = [
        ("Steps", request.num_inference_steps),
        ("Sampler", sampler),
        ("CFG scale", f"{request.guidance_scale:g}"),
        ("Seed", seed),
        ("Size", f"{request.width}x{request.height}"),
        ("Model hash", info.model_hash),
        ("Model", info.model),
    ]
    if schedule is not None:
        pairs.insert(2, ("Schedule type", schedule))
    second = request.second_pass
    strength = request.strength if second is None else second.strength
    if request.upscaler is not None:
        pairs.append(("Postprocess upscale to", f"{size[0]}x{size[1]}"))
        pairs.append(("Postprocess upscaler", request.upscaler.label))
    elif strength is not None:
        pairs.append(("Denoising strength", f"{strength:g}"))
    if second is not None:
        pairs.append(("Hires resize", f"{size[0]}x{size[1]}"))
        pairs.append(("Hires upscaler", "Lanczos"))
    if request.clip_skip:
        # A1111 counts layers from the last one; SDXL leaves that one out anyway.
        layer = request.clip_skip + (2 if info.family == SDXL else 1)
        pairs.append(("Clip skip", layer))
    if request.adapters:
        hashes = [adapter.sha256[:12] for adapter in request.adapters]
        pairs.append(("Lora hashes", ", ".join(f"{short}: {short}" for short in hashes)))
    pairs.append(("Version", VERSION))
    lines = [_disarm(request.full_prompt)]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {_disarm(request.negative_prompt)}")
    lines.append(", ".join(f"{key}: {_quote(str(value))}" for key, value in pairs))
    return "\n".join(lines)


def _disarm(text: str) -> str:
    text = "\n".join(text.splitlines()).strip()  # every kind of line break that a reader may know
    text = _NEGATIVE_ANYWHERE.sub(_WORD_JOINER, text)
    return _KEY_AT_LINE_START.sub(_WORD_JOINER, text)


def _quote(value: str) -> str:
    if not any(mark in value for mark in ',:\n\r"') and value == value.strip():
        return value
    return json.dumps(_KEY_ANYWHERE.sub(_WORD_JOINER, value), ensure_ascii=False)
