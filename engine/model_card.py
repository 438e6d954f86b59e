"""What a model is, read without torch: name, family, sizes and defaults from its configuration files.

The bot uses it to take requests while the engine still loads (`provisional_info`), the worker to
describe the loaded model. A folder may carry an `easel.json` that overrides what the configuration
files say: `name`, `native_size`, `size_multiple`, `max_side`, `default_steps`,
`default_guidance_scale`, `default_sampler`, `default_negative_prompt`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import ModelLoadError
from engine.pocket import CONTROLNETS_DIR, MODEL_DIR, POSE_DETECTOR_DIR
from engine.settings import EngineSettings
from engine.types import EngineInfo, Sampler, Upscaler

SDXL = "sdxl"  # the family whose models have two text encoders
SD15_REPO = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SDXL_REPO = "stabilityai/stable-diffusion-xl-base-1.0"
SD15_CONTROLNETS = {
    "openpose": "lllyasviel/control_v11p_sd15_openpose",
    "canny": "lllyasviel/control_v11p_sd15_canny",
    "depth": "lllyasviel/control_v11f1p_sd15_depth",
    "segmentation": "lllyasviel/control_v11p_sd15_seg",
}
SDXL_CONTROLNETS = {
    "openpose": "xinsir/controlnet-openpose-sdxl-1.0",
    "canny": "xinsir/controlnet-canny-sdxl-1.0",
    "depth": "xinsir/controlnet-depth-sdxl-1.0",
}
_CONTROLNETS = {SD15_REPO: SD15_CONTROLNETS, SDXL_REPO: SDXL_CONTROLNETS}
DETECTORS = ("pose", "people", "depth", "segmentation")
HUB_DETECTORS = {
    "pose": "usyd-community/vitpose-base-simple",
    "depth": "depth-anything/Depth-Anything-V2-Small-hf",  # larger ones are not free for all uses
}
SWIN2SR_REPO = "caidas/swin2SR-classical-sr-x2-64"
SAFETY_CHECKER_REPO = "CompVis/stable-diffusion-safety-checker"
SAFETY_CHECKER_FILES = ("config.json", "model.safetensors")
_SCALES = (2, 3, 4)  # of upscalers; eight times a picture is made in no memory
_NOT_FOUR_CHANNELS = (
    "an inpainting or editing model (its U-Net reads more than the 4 latent channels; others inpaint "
    "too)"
)
_REFINER = "an SDXL refiner, which only finishes what an SDXL base model has begun"
_EDM = "a model with an EDM noise schedule"
MAX_HEADER_BYTES = 100 << 20  # the limit of the safetensors library itself
_POCKET_TEXT_WIDTH = 128  # no model from elsewhere is so small
PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")

_NVIDIA_FILES = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"))


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What people may ask of a model, and what they get when they ask for nothing.

    Attributes:
        size_multiple: The VAE's factor times the U-Net's: 8 x 8 = 64 for Stable Diffusion, 8 x 4 = 32
            for SDXL. They take multiples of 8 as well, but then skip connections do not fit and are
            resized.
        max_side: Twice the native size; beyond it a model repeats its subject. Small models, which
            are cheap to run, four times.
    """

    name: str
    family: str = "sd15"
    native_size: int = 512
    size_multiple: int = 64
    max_side: int = 1024
    default_steps: int = 25
    default_guidance_scale: float = 7.0
    default_sampler: Sampler = Sampler.DPMPP_2M_KARRAS
    default_negative_prompt: str = "blurry, low quality, watermark"


def resolve_source(settings: EngineSettings) -> str:
    """Returns what `settings.model` means on this machine: "pocket", a path or a hub id."""
    if settings.model != "auto":
        return settings.model
    on_cpu = settings.device == "cpu"
    return SD15_REPO if not on_cpu and any(p.exists() for p in _NVIDIA_FILES) else "pocket"


def local_path(source: str) -> Path | None:
    """Returns the folder or file that `source` names, or None when it is a hub id.

    Raises:
        ModelLoadError: It looks like a path and nothing is there, or it is a pickle.
    """
    if source == "pocket":
        if not MODEL_DIR.is_dir():
            raise ModelLoadError(
                f"The pocket model is missing from this installation ({MODEL_DIR}). Install Easel "
                "again, or set EASEL_MODEL to another model."
            )
        return MODEL_DIR
    path = Path(source).expanduser()
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise ModelLoadError(
            f"The model {source} is a {path.suffix} file, which can run code when it is opened. "
            "Only .safetensors files and diffusers folders are loaded: get the .safetensors version."
        )
    if path.exists():
        return path
    if path.is_absolute() or source.startswith((".", "~")) or source.endswith(".safetensors"):
        raise ModelLoadError(f"There is no model at {source}. Check EASEL_MODEL.")
    if source.count("/") != 1:
        raise ModelLoadError(
            f"The model {source!r} is no folder or file, and no hub id (owner/name) either. "
            "Check EASEL_MODEL."
        )
    return None


def read_card(path: Path) -> ModelCard:
    """Returns the card of a diffusers folder or a .safetensors checkpoint.

    Raises:
        ModelLoadError: It is neither, or a kind of model that this engine does not run.
    """
    if path.is_dir():
        return read_folder(path)
    if path.suffix.lower() != ".safetensors":
        raise ModelLoadError(
            f"{path} is neither a diffusers folder nor a .safetensors checkpoint. Check EASEL_MODEL."
        )
    return read_checkpoint(path)


def read_folder(folder: Path, name: str | None = None) -> ModelCard:
    """Returns the card of a diffusers folder; `name` is for folders whose own name says nothing."""
    if not (folder / "model_index.json").is_file():
        raise ModelLoadError(
            f"{folder} is no diffusers model: it has no model_index.json. Check EASEL_MODEL."
        )
    index = read_json(folder / "model_index.json")
    unet = read_json(folder / "unet" / "config.json")
    vae = read_json(folder / "vae" / "config.json")
    name = name or folder.resolve().name
    is_sdxl = unet.get("addition_embed_type") == "text_time"
    if is_sdxl and not all(_has_part(index, part) for part in ("text_encoder", "text_encoder_2")):
        raise _wrong_family(name, _REFINER)
    if not is_sdxl and _has_part(index, "text_encoder_2"):
        raise _wrong_family(name, "another model with two text encoders")
    if "EDM" in str(index.get("scheduler")) or vae.get("latents_mean") is not None:
        raise _wrong_family(name, _EDM)
    if unet.get("in_channels", 4) != vae.get("latent_channels", 4):
        raise _wrong_family(name, _NOT_FOUR_CHANNELS)
    is_sd2 = bool(unet.get("use_linear_projection")) or unet.get("cross_attention_dim") == 1024
    factor = 2 ** (len(vae.get("block_out_channels", "1248")) - 1)
    halvings = len(unet.get("block_out_channels", "1248")) - 1
    sample_size = unet.get("sample_size") or 64
    side = min(sample_size) if isinstance(sample_size, list) else int(sample_size)
    family = "sd2" if is_sd2 else "sd15"
    if unet.get("cross_attention_dim") == _POCKET_TEXT_WIDTH:
        family = "pocket"
    if is_sdxl:
        family = SDXL
    card = _card(name, family, side * factor, factor * 2**halvings)
    overrides = folder / "easel.json"
    return _override(card, read_json(overrides)) if overrides.is_file() else card


def read_checkpoint(path: Path) -> ModelCard:
    """Returns the card of a single .safetensors checkpoint, from the names in its header."""
    header = read_header(path)
    first = header.get("model.diffusion_model.input_blocks.0.0.weight")
    if first is None or len(first["shape"]) != 4:
        raise _wrong_family(
            path.name, "no complete Stable Diffusion checkpoint (it may be a LoRA or a VAE)"
        )
    if first["shape"][1] != 4:
        raise _wrong_family(path.name, _NOT_FOUR_CHANNELS)
    if any(key.startswith("edm_") for key in header):
        raise _wrong_family(path.name, _EDM)
    if any(key.startswith("conditioner.") for key in header):
        if not any(key.startswith("conditioner.embedders.1.") for key in header):
            raise _wrong_family(path.name, _REFINER)
        return _card(path.stem, SDXL, 1024, 32)
    is_sd2 = any(key.startswith("cond_stage_model.model.") for key in header)
    # A checkpoint does not say its training size: SD 2 is 768 with v-prediction, 512 without, and
    # the header cannot tell these apart. 768 is what people mean by SD 2.
    return _card(path.stem, "sd2" if is_sd2 else "sd15", 768 if is_sd2 else 512)


def read_header(path: Path) -> dict[str, Any]:
    """Returns the tensors of a safetensors file: name to {"dtype", "shape", "data_offsets"}.

    Raises:
        ModelLoadError: It is no safetensors file.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length:,} bytes")
            header = dict(json.loads(file.read(length)))
        header.pop("__metadata__", None)
        if not all(isinstance(tensor.get("shape"), list) for tensor in header.values()):
            raise ValueError("a tensor without a shape")
    except (OSError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise ModelLoadError(
            f"{path} is no .safetensors file, or it is damaged ({error}). Download it again."
        ) from error
    return header


def control_sources(settings: EngineSettings) -> dict[str, str]:
    """Returns the ControlNets of the configured model: kind to folder or hub id, sorted by kind.

    Without a setting: those beside the model's weights (the pocket model's, a folder's
    `controlnets/`), or the well-known ones for the standard SD 1.5 and SDXL.

    Raises:
        ModelLoadError: The setting names no folder and is no list of kind=source.
    """
    source = resolve_source(settings)
    value = settings.controlnets
    if value is None:
        if source in _CONTROLNETS:
            return dict(_CONTROLNETS[source])
        path = CONTROLNETS_DIR if source == "pocket" else Path(source).expanduser() / "controlnets"
        return _control_folders(path) if path.is_dir() else {}
    if "=" not in value:
        path = Path(value).expanduser()
        if not path.is_dir():
            raise ModelLoadError(
                f"There is no folder {value}. Set EASEL_CONTROLNETS to a folder with one ControlNet "
                "folder for each kind, or to kind=folder-or-hub-id with commas."
            )
        return _control_folders(path)
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    for kind, _, where in pairs:
        if not kind.strip().isidentifier() or not where.strip():
            raise ModelLoadError(
                f"EASEL_CONTROLNETS has {kind + '=' + where!r}: write kind=folder-or-hub-id."
            )
    return {kind.strip(): where.strip() for kind, _, where in sorted(pairs)}


def detector_sources(settings: EngineSettings) -> dict[str, str]:
    """Returns the detectors that read pictures for ControlNets: name to folder or hub id.

    Raises:
        ModelLoadError: The setting is no list of name=source, or a name is unknown.
    """
    if resolve_source(settings) == "pocket":
        found = {"pose": str(POSE_DETECTOR_DIR)} if POSE_DETECTOR_DIR.is_dir() else {}
    else:
        found = dict(HUB_DETECTORS)
    for part in filter(str.strip, (settings.detectors or "").split(",")):
        name, _, where = (text.strip() for text in part.partition("="))
        if name not in DETECTORS or not where:
            raise ModelLoadError(
                f"EASEL_DETECTORS has {part.strip()!r}: write name=folder-or-hub-id, where the name is "
                f"one of {', '.join(DETECTORS)}."
            )
        found[name] = where
    return found


def upscaler_source(settings: EngineSettings) -> str | None:
    """Returns the learned upscaler's folder or hub id; None without one.

    Raises:
        ModelLoadError: There is no such folder, or it holds something else.
    """
    source = settings.upscaler
    if source is None:
        return None
    folder = Path(source).expanduser()
    if folder.is_dir():
        check_upscaler(source, read_json(folder / "config.json"))
    elif source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ModelLoadError(
            f"There is no folder {source}. Set EASEL_UPSCALER to a folder with a Swin2SR's config.json and "
            f"model.safetensors, or to a hub id such as {SWIN2SR_REPO}."
        )
    return source


def check_upscaler(source: str, config: Mapping[str, Any]) -> None:
    """Raises ModelLoadError when a configuration of transformers is of no upscaler that runs here."""
    if config.get("model_type") != "swin2sr":
        raise ModelLoadError(f"{source} is no Swin2SR. Set EASEL_UPSCALER to one.")
    scale, channels = config.get("upscale", 2), config.get("num_channels", 3)
    if scale not in _SCALES:
        raise ModelLoadError(
            f"The Swin2SR {source} makes pictures {scale} times as large. Choose one that makes them "
            f"{' or '.join(map(str, _SCALES))} times as large."
        )
    if channels != 3 or (config.get("num_channels_out") or 3) != 3:
        raise ModelLoadError(f"The Swin2SR {source} reads no RGB pictures. Choose another one.")


def upscalers(settings: EngineSettings) -> tuple[Upscaler, ...]:
    """Returns what makes pictures larger, the best last.

    Raises:
        ModelLoadError: The setting names none.
    """
    learned = upscaler_source(settings) is not None
    return (Upscaler.LANCZOS, Upscaler.SWIN2SR) if learned else (Upscaler.LANCZOS,)


def safety_checker_source(settings: EngineSettings) -> str | None:
    """Returns the folder or hub id of what looks at finished pictures; None without one.

    Raises:
        ModelLoadError: There is no such folder, or it holds something else.
    """
    source = settings.safety_checker
    if source is None:
        return None
    folder = Path(source).expanduser()
    if folder.is_dir():
        check_safety_checker(source, read_json(folder / "config.json"))
        missing = [name for name in SAFETY_CHECKER_FILES if not (folder / name).is_file()]
        if missing:
            raise ModelLoadError(
                f"The safety checker {source} has no {missing[0]}. Pickled weights (.bin) can run code and "
                "are not loaded: download the .safetensors file, or leave EASEL_SAFETY_CHECKER out."
            )
    elif source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ModelLoadError(
            f"There is no folder {source}. Set EASEL_SAFETY_CHECKER to a folder with the config.json and "
            "model.safetensors of a StableDiffusionSafetyChecker, or to a hub id such as "
            f"{SAFETY_CHECKER_REPO}."
        )
    return source


def check_safety_checker(source: str, config: Mapping[str, Any]) -> None:
    """Raises ModelLoadError when a configuration is of no StableDiffusionSafetyChecker."""
    if "StableDiffusionSafetyChecker" not in (config.get("architectures") or ()):
        raise ModelLoadError(
            f"{source} is no StableDiffusionSafetyChecker. Set EASEL_SAFETY_CHECKER to one, or leave it out."
        )


def _control_folders(path: Path) -> dict[str, str]:
    found = sorted(folder.parent for folder in path.glob("*/config.json"))
    return {folder.name: str(folder) for folder in found if folder.name.isidentifier()}


def card_of_hub_id(source: str) -> ModelCard:
    """Returns the card of a hub model before its files are here: a guess by its name.

    SDXL models have "XL" in theirs; what has not is taken for an SD 1.5.
    """
    name = source.rsplit("/", 1)[-1]
    return _card(name, SDXL, 1024, 32) if "xl" in name.lower() else ModelCard(name)


def provisional_info(settings: EngineSettings) -> EngineInfo:
    """Returns a guess of the engine's handshake, so that requests are taken while it loads.

    Pocket and local models are read exactly; a hub id is judged by its name.

    Raises:
        ModelLoadError: The model is not there or cannot be run.
    """
    source = resolve_source(settings)
    path = local_path(source)
    card = card_of_hub_id(source) if path is None else read_card(path)
    has_gpu = settings.device != "cpu" and any(p.exists() for p in _NVIDIA_FILES)
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "float16" if has_gpu else "float32"
    return engine_info(
        card,
        model_hash="",
        max_rows=settings.max_rows or (16 if has_gpu else 4),
        device="cuda:0" if has_gpu else "cpu",
        device_name="",
        dtype=dtype,
        memory_bytes=0,
        control_kinds=tuple(control_sources(settings)),
        upscalers=upscalers(settings),
        has_classifier=safety_checker_source(settings) is not None,
    )


def engine_info(
    card: ModelCard,
    *,
    model_hash: str,
    max_rows: int,
    device: str,
    device_name: str,
    dtype: str,
    memory_bytes: int,
    versions: Mapping[str, str] | None = None,
    samplers: Iterable[Sampler] = Sampler,
    control_kinds: tuple[str, ...] = (),
    upscalers: tuple[Upscaler, ...] = (Upscaler.LANCZOS,),
    has_classifier: bool = False,
) -> EngineInfo:
    """Returns the handshake of a model: its card and the facts of this machine."""
    return EngineInfo(
        model=card.name,
        model_hash=model_hash,
        family=card.family,
        native_size=card.native_size,
        size_multiple=card.size_multiple,
        max_side=card.max_side,
        samplers=tuple(samplers),
        default_sampler=card.default_sampler,
        default_steps=card.default_steps,
        default_guidance_scale=card.default_guidance_scale,
        default_negative_prompt=card.default_negative_prompt,
        max_rows=max_rows,
        device=device,
        device_name=device_name,
        dtype=dtype,
        memory_bytes=memory_bytes,
        versions=dict(versions or {}),
        control_kinds=control_kinds,
        upscalers=upscalers,
        has_classifier=has_classifier,
    )


def _card(name: str, family: str, native_size: int, size_multiple: int = 64) -> ModelCard:
    card = ModelCard(name, family, native_size, size_multiple, max_side=_max_side(native_size))
    # SDXL follows its prompt with less guidance, and more of it burns its colours.
    return replace(card, default_guidance_scale=6.0) if family == SDXL else card


def _max_side(native_size: int) -> int:
    return native_size * (2 if native_size >= 256 else 4)


def _override(card: ModelCard, values: Mapping[str, Any]) -> ModelCard:
    known = ModelCard.__dataclass_fields__.keys() - {"family"}
    unknown = values.keys() - known
    if unknown:
        raise ModelLoadError(
            f"The easel.json of {card.name} has an unknown key {min(unknown)!r}. "
            f"Known: {', '.join(sorted(known))}."
        )
    changes: dict[str, Any] = dict(values)
    try:
        if "default_sampler" in changes:
            changes["default_sampler"] = Sampler(changes["default_sampler"])
        for key, value in changes.items():
            wanted = type(getattr(card, key))
            changes[key] = wanted(value)
            if isinstance(value, int | float) and value < 1:
                raise ValueError(f"{key} is {value}")
    except (ValueError, TypeError) as error:
        raise ModelLoadError(f"The easel.json of {card.name} cannot be used: {error}.") from error
    if "native_size" in changes and "max_side" not in changes:
        changes["max_side"] = _max_side(changes["native_size"])
    return replace(card, **changes)


def _has_part(index: Mapping[str, Any], part: str) -> bool:
    """Returns True when a model_index.json names a part; [null, null] says that it has none."""
    entry = index.get(part)
    return isinstance(entry, list) and any(entry)


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a model's JSON file.

    Raises:
        ModelLoadError: There is none.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"The model's {path} is missing or damaged: {error}") from error
    if not isinstance(value, dict):
        raise ModelLoadError(f"The model's {path} is damaged: it is no JSON object.")
    return value


def _wrong_family(name: str, what: str) -> ModelLoadError:
    return ModelLoadError(
        f"{name} is {what}. This engine runs text-to-image models of the SD 1.5, SD 2 and SDXL families."
    )
