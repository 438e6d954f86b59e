"""LoRAs for SDXL: on the U-Net and on both text encoders, in every layout, row by row."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import InvalidRequestError
from engine.types import Sampler
from engine.worker import lora_file, pixels
from engine.worker.lora_rows import combine
from tests.engine.worker import loras
from tests.engine.worker.checkpoint import unet_name
from tests.engine.worker.local import LocalEngine
from tests.engine.worker.sdxl import StockXL
from tests.engine.worker.test_equality import final_latents
from tests.engine.worker.test_lora import with_adapters

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning",
    "ignore:Already found a `peft_config`:UserWarning",
)


@pytest.fixture(scope="module")
def engine(tiny_sdxl: Path) -> LocalEngine:
    """Returns a loop with the schedulers themselves."""
    return LocalEngine(tiny_sdxl, has_tables=False)


@pytest.fixture(scope="module")
def files(engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Returns LoRA files by name, each of another layout or part of the model."""
    folder = tmp_path_factory.mktemp("loras")
    model, unet = engine.model, engine.unet.unet
    every = loras.pairs(unet, loras.LINEAR + loras.CONV, 4, seed=1)
    attention = loras.pairs(unet, ("to_q", "to_k", "to_v", "to_out.0"), 3, seed=2)
    first = loras.pairs(model.text_encoder, loras.TEXT, 2, seed=3)
    second = loras.pairs(model.text_encoder_2, loras.TEXT, 3, seed=4)
    paths = {
        name: folder / f"{name}.safetensors" for name in ("kohya", "peft", "old", "te1", "te2")
    }
    loras.kohya(paths["kohya"], every, first, text_2=second)
    loras.peft(paths["peft"], every, first, second)
    loras.old_diffusers(paths["old"], attention)
    loras.kohya(paths["te1"], {}, first, alpha=4.0, text_2={})
    loras.kohya(paths["te2"], {}, {}, alpha=4.0, text_2=second)
    return paths


@pytest.fixture(scope="module")
def stock(tiny_sdxl: Path) -> StockXL:
    """Returns stock pipelines of this module's own: adapters stay in them."""
    return StockXL(tiny_sdxl)


def load(path: Path, engine: LocalEngine) -> lora_file.Adapter:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    model = engine.model
    parts = engine.unet.unet, model.text_encoder, model.text_encoder_2
    return lora_file.load(path, sha256, *parts)


@pytest.mark.parametrize(
    "names", [("kohya",), ("peft",), ("te1",), ("te2",), ("old", "peft"), ("kohya", "te2")]
)
def test_alone_equals_stock_adapters_to_rounding(
    engine: LocalEngine, stock: StockXL, files: dict[str, Path], names: tuple[str, ...]
) -> None:
    styles = [(files[name], 0.9 - 0.5 * k) for k, name in enumerate(names)]
    job = engine.join("-".join(names), styles=styles, num_inference_steps=3)
    engine.finish()
    with_adapters(stock.txt2img, styles)
    expected = stock.latents(job.request)
    with_adapters(stock.txt2img, [])
    plain = stock.latents(job.request)
    assert (final_latents(job) - expected).abs().max() <= 2e-5
    assert (expected - plain).abs().max() > 1e-3, "the LoRA matters"


def test_jobs_of_different_loras_stay_close_to_each_alone(
    tiny_sdxl: Path, files: dict[str, Path]
) -> None:
    engine, single = LocalEngine(tiny_sdxl), LocalEngine(tiny_sdxl)
    runs = []
    for number, names in enumerate(([], ["kohya"], ["te1", "old"], ["te2"], ["peft"])):
        changes: dict[str, Any] = {
            "styles": [(files[name], 0.4 + number / 10) for name in names],
            "seed": number,
            "sampler": [Sampler.EULER_A, Sampler.DPMPP_2M][number % 2],
            "num_inference_steps": 3,
        }
        alone = single.join(f"l{number}", **changes)
        single.finish()
        runs.append((engine.join(f"l{number}", **changes), alone))
    engine.finish()
    assert max(engine.unet.rows) == 10
    for job, alone in runs:
        ours, theirs = (pixels.decode(engine.model, final_latents(run)) for run in (job, alone))
        assert (ours - theirs).abs().max() <= 5e-4, job.job_id


def test_names_of_the_original_model_are_the_same_file(
    engine: LocalEngine, files: dict[str, Path], tmp_path: Path
) -> None:
    tensors = {}
    for name, tensor in load_file(files["kohya"]).items():
        stem, _, rest = name.partition(".")
        if stem.startswith("lora_unet_"):
            module = next(m for m in unet_modules(engine) if m.replace(".", "_") == stem[10:])
            own = unet_name(f"{module}.weight", 1, with_attention=(0,)).removesuffix(".weight")
            stem = f"lora_unet_{own.replace('.', '_')}"
        tensors[f"{stem}.{rest}"] = tensor
    path = tmp_path / "sgm.safetensors"
    save_file(tensors, path)
    assert any("input_blocks" in name for name in tensors)
    ours, theirs = load(path, engine), load(files["kohya"], engine)
    assert (ours.unet.keys(), ours.text_2.keys()) == (theirs.unet.keys(), theirs.text_2.keys())
    for name, pair in theirs.unet.items():
        assert torch.equal(ours.unet[name].down, pair.down)


def unet_modules(engine: LocalEngine) -> list[str]:
    return [name for name, _ in engine.unet.unet.named_modules()]


def test_every_part_counts_for_the_prompt_cache(
    engine: LocalEngine, files: dict[str, Path]
) -> None:
    prompts = engine.loop._prompts
    plain = prompts.encode("a cat")
    assert prompts.encode("a cat", combine([(load(files["old"], engine), 1.0)])) is plain
    first, second = (combine([(load(files[name], engine), 1.0)]) for name in ("te1", "te2"))
    changed, pooled = prompts.encode("a cat", first), prompts.encode("a cat", second)
    assert torch.equal(changed.pooled, plain.pooled), "the second encoder alone makes it"
    assert not torch.allclose(pooled.pooled, plain.pooled, atol=1e-3)
    assert torch.equal(changed.embeds[..., 16:], plain.embeds[..., 16:])
    assert torch.equal(pooled.embeds[..., :16], plain.embeds[..., :16])
    assert not torch.allclose(pooled.embeds, plain.embeds, atol=1e-3)


def test_loras_of_another_family_are_refused(
    engine: LocalEngine, sd15: LocalEngine, files: dict[str, Path], tmp_path: Path
) -> None:
    sha256 = hashlib.sha256(files["kohya"].read_bytes()).hexdigest()
    parts = sd15.unet.unet, sd15.model.text_encoder
    with pytest.raises(InvalidRequestError, match=r"holds more than LoRA matrices|another model"):
        lora_file.load(files["kohya"], sha256, *parts)
    pairs = loras.pairs(sd15.unet.unet, ("to_k",), 2)
    with pytest.raises(InvalidRequestError, match="for another model"):
        load(loras.kohya(tmp_path / "sd15.safetensors", pairs, {}), engine)


def test_loaded_lora_tells_how_many_text_layers_it_changes(
    engine: LocalEngine, files: dict[str, Path]
) -> None:
    adapter = load(files["kohya"], engine)
    assert len(adapter.text) == len(adapter.text_2) == 3 * len(loras.TEXT)
    held = sum(
        pair.down.nbytes + pair.up.nbytes
        for part in (adapter.unet, adapter.text, adapter.text_2)
        for pair in part.values()
    )
    assert adapter.size_bytes == held
