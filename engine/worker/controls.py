"""ControlNets: loading them, and the residuals that they add to the U-Net's rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.errors import InvalidRequestError, ModelLoadError
from engine.types import Control
from engine.words import N_
from engine.worker import hub
from engine.worker.buckets import Caller
from engine.worker.conditions import Condition
from engine.worker.faults import is_out_of_memory
from engine.worker.models import Model
from engine.worker.transfer import sent

log = logging.getLogger(__name__)

NOT_LOADED = N_(
    "The ControlNet for {kind} cannot be loaded, so the picture was not made. Choose another control, or "
    "tell the operator of this bot: the log says why."
)
OF_ANOTHER_MODEL = N_(
    "The ControlNet for {kind} was made for another model than {model}, so the picture was not made. Choose "
    "another control, or tell the operator of this bot."
)

_WEIGHTS = "diffusion_pytorch_model"
# What a ControlNet must share with the U-Net whose residuals it makes.
_SHARED = (
    "in_channels",
    "cross_attention_dim",
    "block_out_channels",
    "layers_per_block",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
)


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
        InvalidRequestError: It cannot be loaded, or is none for this model; the asker is told what to do.
        RuntimeError: It does not fit into memory now, see `is_out_of_memory`.
    """
    try:
        folder = Path(source).expanduser()
        if not folder.is_dir():
            folder = hub.download_controlnet(source)
        net = _read(folder, model)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        log.exception("The ControlNet %s cannot be loaded from %s.", kind, source)
        raise InvalidRequestError(NOT_LOADED, kind=kind) from error
    except ModelLoadError as error:
        log.error("%s", error)
        raise InvalidRequestError(NOT_LOADED, kind=kind) from error
    if problem := _mismatch(net.config, model.unet.config):
        log.error(
            "The ControlNet %s (%s) does not fit %s: %s", kind, source, model.card.name, problem
        )
        raise InvalidRequestError(OF_ANOTHER_MODEL, kind=kind, model=model.card.name)
    if model.device.type == "cuda":
        net.to(memory_format=torch.channels_last)
    return net


def size_bytes(net: Any) -> int:
    """Returns the bytes of a ControlNet's weights."""
    return sum(tensor.nbytes for tensor in net.parameters())


def file_hash(net: Any) -> str:
    """Returns the first 10 hex digits of the sha256 of a ControlNet's weights, as they were loaded."""
    return str(net.file_hash)


def add_residuals(
    call: Caller,
    rows: Sequence[Sequence[ControlRun]],
    sample: Any,
    timesteps: Any,
    condition: Condition,
) -> tuple[dict[str, Any], list[dict[str, tuple[int, int]]]]:
    """Runs each ControlNet over the rows that it guides.

    Args:
        call: How the ControlNets are called.
        rows: Of each row the controls that are active now.
        sample: (rows, C, h, w).
        timesteps: (rows,).
        condition: What guides them, with rows in the first dimension instead of 1.

    Returns:
        The U-Net's options for the residuals ({} when no row has a control), zero where a row has
        none; and of each row by kind the rows of that ControlNet's call, dead ones included, and the
        row's place among them.
    """
    made: dict[
        str, tuple[list[int], list[Any]]
    ] = {}  # by kind the places of its rows, and its output
    spots: list[dict[str, tuple[int, int]]] = [{} for _ in rows]
    for kind in dict.fromkeys(run.control.kind for row in rows for run in row):
        runs = {
            place: run for place, row in enumerate(rows) for run in row if run.control.kind == kind
        }
        places = sent(torch.tensor(list(runs)), sample.device)
        scales = torch.tensor([run.control.scale for run in runs.values()], dtype=sample.dtype)
        down, mid = call(
            next(iter(runs.values())).net,
            {
                "sample": sample[places],
                "timestep": timesteps[places],
                "encoder_hidden_states": condition.text[places],
                "added_cond_kwargs": {n: own[places] for n, own in condition.added.items()} or None,
                "controlnet_cond": torch.cat([run.image for run in runs.values()]),
                "conditioning_scale": sent(scales, sample.device)[:, None, None, None],
            },
        )
        made[kind] = list(runs), [*down, mid]
        for number, place in enumerate(runs):
            spots[place][kind] = call.rows_of(len(runs)), number
    if not made:
        return {}, spots
    total = _sums(made, [[run.control.kind for run in row] for row in rows])
    return {
        "down_block_additional_residuals": tuple(total[:-1]),
        "mid_block_additional_residual": total[-1],
    }, spots


def _sums(
    made: Mapping[str, tuple[list[int], list[Any]]], kinds: Sequence[Sequence[str]]
) -> list[Any]:
    """Returns the residuals of all rows, each row's summed in the order of its own controls.

    In any other order, such as that in which kinds first appear in the call, the last bits of three or
    more would depend on who else is in it.

    Args:
        made: By kind the places of its rows in the batch, and the residuals of each.
        kinds: Of each row the kinds that guide it.
    """
    _, some = next(iter(made.values()))
    total = [part.new_zeros(len(kinds), *part.shape[1:]) for part in some]
    for turn in range(max(map(len, kinds))):
        for kind, (places, parts) in made.items():
            chosen = [
                n for n, place in enumerate(places) if kinds[place][turn : turn + 1] == [kind]
            ]
            if not chosen:
                continue
            into = sent(torch.tensor([places[n] for n in chosen]), some[0].device)
            if len(chosen) < len(places):
                which = sent(torch.tensor(chosen), some[0].device)
                parts = [part[which] for part in parts]
            for part, addend in zip(total, parts, strict=True):
                part.index_add_(0, into, addend)
    return total


def _read(folder: Path, model: Model) -> Any:
    half, full = (folder / f"{_WEIGHTS}{variant}.safetensors" for variant in (".fp16", ""))
    first, second = (half, full) if model.dtype == torch.float16 else (full, half)
    file = first if first.is_file() else second
    config = ControlNetModel.load_config(folder, local_files_only=True)
    tensors = {
        name: tensor.to(model.device, model.dtype) for name, tensor in load_file(file).items()
    }
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():  # or no picture that it guides would be one
            raise ValueError(f"{file} has numbers in {name} that {model.dtype} does not hold")
    with torch.device("meta"):  # of this thread alone
        net = ControlNetModel.from_config(config)
    net.load_state_dict(tensors, assign=True)
    net.file_hash = _hash(file)
    left = [name for name, tensor in net.state_dict().items() if tensor.is_meta]
    if left:
        raise ValueError(f"{file} has no {left[0]}")
    return net.eval()


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:10]


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
