"""ControlNets: loading them, and the residuals that they add to the U-Net's rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.errors import GenerationError, ModelLoadError
from engine.types import Control
from engine.worker import hub
from engine.worker.models import Model

log = logging.getLogger(__name__)

_WEIGHTS = "diffusion_pytorch_model"
# What a ControlNet must share with the U-Net whose residuals it makes.
_SHARED = ("in_channels", "cross_attention_dim", "block_out_channels", "layers_per_block")


@dataclass(frozen=True, slots=True)
class ControlRun:
    """A control of one picture at one size.

    Attributes:
        control: Kind, scale and window as asked for.
        net: The ControlNet.
        image: Its map, (1, 3, H, W) in [0, 1].
    """

    control: Control
    net: Any
    image: Any

    def is_active(self, step: int, steps: int) -> bool:
        """Returns True when the control guides the given step (0-based) of `steps`."""
        return step / steps >= self.control.start and (step + 1) / steps <= self.control.end


def load(model: Model, kind: str, source: str) -> Any:
    """Returns a ControlNet from a diffusers folder or the hub, on the model's device.

    It may run beside the loop's steps: `from_pretrained` may not, since it changes torch's default
    dtype and `torch.nn.Module` for the whole process while it runs.

    Raises:
        GenerationError: It cannot be loaded, or is none for this model; one sentence for the asker.
    """
    try:
        folder = Path(source).expanduser()
        if not folder.is_dir():
            folder = hub.download_controlnet(source)
        net = _read(folder, model)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        log.exception("The ControlNet %s cannot be loaded from %s.", kind, source)
        raise _unusable(kind, "it cannot be loaded; the operator's log says why") from error
    except ModelLoadError as error:
        log.error("%s", error)
        raise _unusable(kind, "it cannot be loaded; the operator's log says why") from error
    if problem := _mismatch(net.config, model.unet.config):
        log.error(
            "The ControlNet %s (%s) does not fit %s: %s", kind, source, model.card.name, problem
        )
        raise _unusable(kind, f"it was made for another model than {model.card.name}")
    if model.device.type == "cuda":
        net.to(memory_format=torch.channels_last)
    return net


def size_bytes(net: Any) -> int:
    """Returns the bytes of a ControlNet's weights."""
    return sum(tensor.nbytes for tensor in net.parameters())


def add_residuals(
    rows: Sequence[Sequence[ControlRun]], sample: Any, timesteps: Any, text: Any
) -> tuple[dict[str, Any], dict[str, int]]:
    """Runs each ControlNet over the rows that it guides.

    Args:
        rows: Of each row the controls that are active now.
        sample: (rows, C, h, w).
        timesteps: (rows,).
        text: (rows, tokens, width).

    Returns:
        The U-Net's options for the residuals ({} when no row has a control), zero where a row has
        none, and each kind's number of rows.
    """
    total: list[Any] | None = None
    counts: dict[str, int] = {}
    for kind in dict.fromkeys(run.control.kind for row in rows for run in row):
        runs = {
            place: run for place, row in enumerate(rows) for run in row if run.control.kind == kind
        }
        places = torch.tensor(list(runs)).to(sample.device, non_blocking=True)
        scales = torch.tensor([run.control.scale for run in runs.values()], dtype=sample.dtype)
        down, mid = next(iter(runs.values())).net(
            sample[places],
            timesteps[places],
            encoder_hidden_states=text[places],
            controlnet_cond=torch.cat([run.image for run in runs.values()]),
            conditioning_scale=scales.to(sample.device, non_blocking=True)[:, None, None, None],
            return_dict=False,
        )
        own = [*down, mid]
        if total is None:
            total = [part.new_zeros(len(rows), *part.shape[1:]) for part in own]
        for part, addend in zip(total, own, strict=True):
            part.index_add_(0, places, addend)
        counts[kind] = len(runs)
    if total is None:
        return {}, {}
    return {
        "down_block_additional_residuals": tuple(total[:-1]),
        "mid_block_additional_residual": total[-1],
    }, counts


def _read(folder: Path, model: Model) -> Any:
    half, full = (folder / f"{_WEIGHTS}{variant}.safetensors" for variant in (".fp16", ""))
    first, second = (half, full) if model.dtype == torch.float16 else (full, half)
    file = first if first.is_file() else second
    config = ControlNetModel.load_config(folder, local_files_only=True)
    tensors = {
        name: tensor.to(model.device, model.dtype) for name, tensor in load_file(file).items()
    }
    with torch.device("meta"):  # of this thread alone
        net = ControlNetModel.from_config(config)
    net.load_state_dict(tensors, assign=True)
    left = [name for name, tensor in net.state_dict().items() if tensor.is_meta]
    if left:
        raise ValueError(f"{file} has no {left[0]}")
    return net.eval()


def _mismatch(config: Mapping[str, Any], unet: Mapping[str, Any]) -> str:
    """Returns what does not fit, or ""."""
    for name in _SHARED:
        ours, theirs = (_comparable(values.get(name)) for values in (unet, config))
        if ours != theirs:
            return f"its {name} is {theirs}, the U-Net's is {ours}"
    if config.get("global_pool_conditions"):
        return "it works in guess mode only"
    return ""


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def _unusable(kind: str, why: str) -> GenerationError:
    return GenerationError(f"The control {kind} cannot be used: {why}.")
