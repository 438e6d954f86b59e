"""What a LoRA is scaled by, in all the ways that files say it: equal to stock, and refused when wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from engine.errors import InvalidRequestError
from engine.worker import lora_file
from tests.engine.worker import loras
from tests.engine.worker.local import LocalEngine

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:__array_wrap__ must accept:DeprecationWarning",
)

Q, CONV, MLP = "attn1.to_q", "resnets.0.conv1", "fc1"


@pytest.fixture(scope="module")
def pipe(tiny_sd15: Path) -> StableDiffusionPipeline:
    """Returns a stock pipeline of this module's own: adapters come and go in it."""
    return StableDiffusionPipeline.from_pretrained(tiny_sd15)


def load(path: Path, engine: LocalEngine) -> lora_file.Adapter:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return lora_file.load(path, sha256, engine.unet.unet, engine.model.text_encoder)


def stock_scales(pipe: StableDiffusionPipeline, path: Path) -> dict[str, float]:
    """Returns what the stock pipeline scales each layer by, and takes the LoRA off again."""
    pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name="a")
    found = {
        name: float(module.scaling["a"])
        for part in (pipe.unet, pipe.text_encoder)
        for name, module in part.named_modules()
        if isinstance(module, BaseTunerLayer)
    }
    pipe.unload_lora_weights()
    return found


def our_scales(adapter: lora_file.Adapter) -> dict[str, float]:
    return {name: pair.scale for name, pair in {**adapter.unet, **adapter.text}.items()}


def mixed(engine: LocalEngine, rank: int = 4) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns pairs of the U-Net, convolutions too, and of the text encoder, not all of one rank."""
    unet = loras.pairs(engine.unet.unet, loras.LINEAR + loras.CONV, rank)
    unet |= loras.pairs(engine.unet.unet, (CONV,), 2 * rank)
    return unet, loras.pairs(engine.model.text_encoder, loras.TEXT, 2)


def with_header(path: Path, tensors: Mapping[str, Any], header: Mapping[str, Any]) -> Path:
    save_file(dict(tensors), path, {LORA_ADAPTER_METADATA_KEY: json.dumps(header)})
    return path


def test_kohyas_alphas_are_each_layers_own(sd15: LocalEngine, tmp_path: Path) -> None:
    """The file is the reference: stock mistakes the names where alphas differ, and takes one for all."""
    unet, text = mixed(sd15)
    path = loras.kohya(tmp_path / "k.safetensors", unet, text)
    tensors = load_file(path)
    expected = {}
    roots = {"lora_unet": unet, "lora_te_text_model": text}
    for number, (root, name) in enumerate((r, n) for r, own in roots.items() for n in own):
        stem = f"{root}_{name.replace('.', '_')}"
        tensors[f"{stem}.alpha"] = torch.tensor(float(1 + number % 5))
        expected[name] = (1 + number % 5) / len(tensors[f"{stem}.lora_down.weight"])
    save_file(tensors, path)
    assert our_scales(load(path, sd15)) == pytest.approx(expected)
    assert len(set(expected.values())) > 5


@pytest.mark.parametrize(
    "alpha", [torch.tensor([2.0]), torch.tensor(2), torch.tensor(2.0, dtype=torch.float16)]
)
def test_an_alpha_is_a_number_of_any_kind(sd15: LocalEngine, tmp_path: Path, alpha: Any) -> None:
    path = loras.kohya(tmp_path / "k.safetensors", *mixed(sd15))
    tensors = load_file(path)
    save_file({n: alpha.clone() if n.endswith(".alpha") else t for n, t in tensors.items()}, path)
    assert set(our_scales(load(path, sd15)).values()) == {2 / 4, 2 / 8, 2 / 2}


def test_without_any_alpha_diffusers_and_peft_mean_the_rank(
    sd15: LocalEngine, pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    path = loras.peft(tmp_path / "p.safetensors", *mixed(sd15))
    ours = our_scales(load(path, sd15))
    assert set(ours.values()) == {1.0}
    assert ours == stock_scales(pipe, path)


def test_alphas_beside_diffusers_names_count(sd15: LocalEngine, tmp_path: Path) -> None:
    """Stock ignores them, and then a LoRA is as many times too strong."""
    unet, _ = mixed(sd15)
    path = loras.peft(tmp_path / "p.safetensors", unet)
    alphas = {f"unet.{name}.alpha": torch.tensor(1.0) for name in unet}
    save_file(load_file(path) | alphas, path)
    assert set(our_scales(load(path, sd15)).values()) == {1 / 4, 1 / 8}


def test_what_a_trainer_wrote_by_peft_is_read_as_stock_reads_it(
    sd15: LocalEngine, pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    """`lora_alpha`, `alpha_pattern` and `rank_pattern` in the header, of both parts of the model."""
    unet = LoraConfig(
        r=4, lora_alpha=2, target_modules=["to_q", "to_k", "conv1"],
        rank_pattern={"conv1": 8}, alpha_pattern={"conv1": 1, "attn2.to_q": 12},
    )  # fmt: skip
    text = LoraConfig(
        r=2, lora_alpha=6, target_modules=["q_proj", "fc1"],
        alpha_pattern={"encoder.layers.0.mlp.fc1": 3},
    )  # fmt: skip
    pipe.unet.add_adapter(unet, "default")
    pipe.text_encoder.add_adapter(text, "default")
    parts = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
    pipe.save_lora_weights(
        tmp_path,
        **{f"{part}_lora_layers": get_peft_model_state_dict(own) for part, own in parts.items()},
        **_collate_lora_metadata(parts),
    )
    pipe.unload_lora_weights()
    path = tmp_path / "pytorch_lora_weights.safetensors"
    ours = our_scales(load(path, sd15))
    assert ours == pytest.approx(stock_scales(pipe, path))
    assert {2 / 4, 1 / 8, 12 / 4, 6 / 2, 3 / 2} == set(ours.values())


def test_what_stock_saves_of_a_kohya_file_is_the_same_lora(
    sd15: LocalEngine, pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    """Its header then has patterns of whole names, which begin with "^"."""
    unet, _ = mixed(sd15)
    path = loras.kohya(tmp_path / "k.safetensors", unet, {}, alpha=2.0)
    pipe.load_lora_weights(tmp_path, weight_name=path.name, adapter_name="default")
    pipe.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(pipe.unet, adapter_name="default"),
        **_collate_lora_metadata({"unet": pipe.unet}),
    )
    pipe.unload_lora_weights()
    again = load(tmp_path / "pytorch_lora_weights.safetensors", sd15)
    assert our_scales(again) == our_scales(load(path, sd15))


def peft_of(engine: LocalEngine) -> dict[str, Any]:
    """Returns tensors of rank 4 for the U-Net's queries."""
    return {
        f"unet.{name}.lora_{half}.weight": matrix.clone()
        for name, pair in loras.pairs(engine.unet.unet, (Q,), 4).items()
        for half, matrix in zip("AB", pair, strict=True)
    }


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"unet.r": 4}, "has no alpha"),
        ({"unet.r": 4, "unet.alpha_pattern": {"mid_block.nowhere": 2}}, "has no alpha"),
        ({"unet.lora_alpha": 0}, "has the alpha 0 at rank 4"),
        ({"unet.lora_alpha": -4}, "has the alpha -4 at rank 4"),
        ({"unet.lora_alpha": 1e9}, "has the alpha 1e"),
        ({"unet.lora_alpha": float("nan")}, "has the alpha nan"),
        ({"unet.lora_alpha": "4"}, "has the alpha nan"),
        ({"unet.lora_alpha": True}, "has the alpha nan"),
        ({"unet.lora_alpha": 4, "unet.alpha_pattern": {Q: "8"}}, "has the alpha nan"),
        ({"unet.lora_alpha": 4, "unet.alpha_pattern": {Q: None}}, "has no alpha"),
        ({"unet.lora_alpha": 4, "unet.alpha_pattern": {"(a+)+": 8}}, "alpha_pattern is no list"),
        ({"unet.lora_alpha": 4, "unet.alpha_pattern": [Q]}, "alpha_pattern is no list"),
        ({"unet.lora_alpha": 4, "unet.r": 8}, "has the rank 4, and its header says 8"),
        ({"unet.lora_alpha": 4, "unet.r": 4, "unet.rank_pattern": {Q: 2}}, "header says 2"),
        ({"unet.lora_alpha": 4, "unet.use_rslora": True}, "not supported"),
    ],
)
def test_a_header_without_a_sound_alpha_is_refused(
    sd15: LocalEngine, tmp_path: Path, header: dict[str, Any], reason: str
) -> None:
    path = with_header(tmp_path / "p.safetensors", peft_of(sd15), header)
    with pytest.raises(InvalidRequestError, match=f"This LoRA cannot be used: .*{reason}"):
        load(path, sd15)


def without_one(alphas: dict[str, Any]) -> None:
    alphas.popitem()


def of_nothing(alphas: dict[str, Any]) -> None:
    alphas["unet.mid_block.attentions.0.nowhere.alpha"] = torch.tensor(4.0)


def of_the_text_encoder(alphas: dict[str, Any]) -> None:
    alphas.clear()
    alphas["text_encoder.encoder.layers.0.mlp.fc1.alpha"] = torch.tensor(4.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_one, "has no alpha"),
        (of_nothing, "has an alpha and no matrices"),
        (of_the_text_encoder, "has no alpha"),
    ],
)
def test_alphas_beside_diffusers_names_go_with_their_layers(
    sd15: LocalEngine, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    tensors = peft_of(sd15)
    names = [name.removesuffix(".lora_A.weight") for name in tensors if ".lora_A." in name]
    alphas = {f"{name}.alpha": torch.tensor(4.0) for name in names}
    change(alphas)
    save_file(tensors | alphas, tmp_path / "p.safetensors")
    with pytest.raises(InvalidRequestError, match=f"This LoRA cannot be used: .*{reason}"):
        load(tmp_path / "p.safetensors", sd15)
