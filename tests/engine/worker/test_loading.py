"""Loading from folders, single checkpoints and the hub, and what is said when it does not work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import ModelLoadError
from engine.model_card import SD15_REPO
from engine.settings import EngineSettings
from engine.types import Sampler
from engine.worker.hub import choose_configs, choose_weights
from engine.worker.models import Model, load_model
from tests.engine.worker import sdxl
from tests.engine.worker.checkpoint import write_checkpoint
from tests.engine.worker.hub_server import serving
from tests.engine.worker.process import ROOT, a_request, running


def load(model: Path, **settings: str) -> tuple[Model, list[tuple[str, float | None]]]:
    reports: list[tuple[str, float | None]] = []
    values = {"device": "cpu", **settings}
    loaded = load_model(
        EngineSettings(model=str(model), **values),
        lambda stage, fraction: reports.append((stage, fraction)),
    )
    return loaded, reports


def halve(folder: Path, part: str, *, keep: bool = False) -> None:
    """Writes the fp16 variant of a part's weights."""
    (file,) = (folder / part).glob("*model.safetensors")
    tensors = {name: value.half() for name, value in load_file(file).items()}
    save_file(tensors, file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    if not keep:
        file.unlink()


def test_folder_is_loaded_with_rising_progress(tiny_sd15: Path) -> None:
    model, reports = load(tiny_sd15)
    fractions = [fraction for _, fraction in reports if fraction is not None]
    assert fractions == sorted(fractions)
    assert len(fractions) >= 4
    assert model.dtype == torch.float32
    assert not model.unet.training
    assert model.latent_channels == 4
    assert model.vae_scale_factor == 8


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtype_follows_the_setting(tiny_sd15: Path, dtype: str) -> None:
    model, _ = load(tiny_sd15, dtype=dtype)
    for part in (model.unet, model.vae, model.text_encoder):
        assert part.dtype == getattr(torch, dtype)


def test_half_variant_is_used_where_it_is_all_there_is(tiny_sd15: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sd15, tmp_path / "half")
    halve(folder, "unet")
    halve(folder, "vae", keep=True)
    model, _ = load(folder)
    assert model.unet.dtype == torch.float32
    exact, _ = load(tiny_sd15)
    weight = exact.vae.decoder.conv_in.weight
    assert torch.equal(model.vae.decoder.conv_in.weight, weight), "the full one is there as well"
    assert torch.equal(model.unet.conv_in.weight, exact.unet.conv_in.weight.half().float())


def test_model_hash_names_the_weights(tiny_sd15: Path, tiny_sd2: Path) -> None:
    first, _ = load(tiny_sd15)
    second, _ = load(tiny_sd2)
    assert len(first.model_hash) == 10
    assert first.model_hash != second.model_hash


def test_single_checkpoint_equals_the_folder_it_was_made_from(
    tiny_sd15: Path, tmp_path: Path
) -> None:
    folder = tiny_sd15
    path = write_checkpoint(folder, tmp_path / "my-model.safetensors")
    shutil.copytree(folder, tmp_path / "my-model", ignore=shutil.ignore_patterns("*.safetensors"))
    ours, reports = load(path)
    theirs, _ = load(folder)
    for part in ("unet", "vae", "text_encoder"):
        expected = getattr(theirs, part).state_dict()
        found = getattr(ours, part).state_dict()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(found[name], value), (part, name)
    assert ours.card.name == "my-model"
    assert ours.scheduler_config["beta_schedule"] == "scaled_linear"
    assert ("reading my-model.safetensors", 0.0) in reports


def test_sdxl_checkpoint_equals_the_folder_it_was_made_from(
    tiny_sdxl: Path, tmp_path: Path
) -> None:
    path = sdxl.write_checkpoint(tiny_sdxl, tmp_path / "xl.safetensors", "v_pred", "ztsnr")
    shutil.copytree(tiny_sdxl, tmp_path / "xl", ignore=shutil.ignore_patterns("*.safetensors"))
    ours, reports = load(path)
    theirs, _ = load(tiny_sdxl)
    assert (ours.card.family, ours.card.native_size, ours.card.size_multiple) == ("sdxl", 1024, 32)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        expected = getattr(theirs, part).state_dict()
        found = getattr(ours, part).state_dict()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(found[name], value), (part, name)
    assert ours.tokenizer_2.pad_token == theirs.tokenizer_2.pad_token == "!"
    assert ours.zeroes_empty_negative
    fractions = [fraction for _, fraction in reports if fraction is not None]
    assert fractions == sorted(fractions)
    marked = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    assert marked.items() <= ours.scheduler_config.items()
    assert theirs.scheduler_config["prediction_type"] == "epsilon"


def test_sdxl_needs_all_of_its_parts(tiny_sdxl: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sdxl, tmp_path / "words")
    vocabulary = folder / "tokenizer_2" / "vocab.json"
    vocabulary.write_text(vocabulary.read_text().replace("<unused1>", "<other>"))
    with pytest.raises(ModelLoadError, match="two tokenizers have different words"):
        load(folder)
    (folder / "text_encoder_2" / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"text_encoder_2 has no \.safetensors weights"):
        load(folder)


@pytest.mark.parametrize("upcast", [True, False])
def test_sdxl_vae_says_whether_it_overflows(tiny_sdxl: Path, tmp_path: Path, upcast: bool) -> None:
    folder = shutil.copytree(tiny_sdxl, tmp_path / "vae")
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"force_upcast": upcast}))
    model, _ = load(folder, dtype="float16")
    assert model.vae.dtype == (torch.float32 if upcast else torch.float16)
    assert model.text_encoder_2.dtype == torch.float16


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickles_are_refused_unopened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"never read")
    with pytest.raises(ModelLoadError, match="can run code"):
        load(path)


def test_pickle_named_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04\x95" + b"x" * 100)
    with pytest.raises(ModelLoadError, match=r"no \.safetensors file"):
        load(path)


def test_folder_of_pickled_weights_is_refused(tiny_sd15: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sd15, tmp_path / "old")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelLoadError, match=r"unet has no \.safetensors weights"):
        load(folder)


def test_damaged_weights_are_one_sentence(tiny_sd15: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sd15, tmp_path / "damaged")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelLoadError) as caught:
        load(folder)
    assert str(caught.value).startswith("The model damaged cannot be loaded: ")
    assert "\n" not in str(caught.value)


def test_missing_device_is_a_sentence(tiny_sd15: Path) -> None:
    with pytest.raises(ModelLoadError, match="EASEL_DEVICE"):
        load(tiny_sd15, device="cuda:7")
    with pytest.raises(ModelLoadError, match="EASEL_DEVICE"):
        load(tiny_sd15, device="gpu")


def test_only_needed_files_are_chosen() -> None:
    names = [
        "model_index.json",
        "README.md",
        "v1-5-pruned.safetensors",
        "v1-5-pruned.ckpt",
        "safety_checker/model.fp16.safetensors",
        "feature_extractor/preprocessor_config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "text_encoder/model.fp16.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert choose_configs(names) == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "text_encoder/config.json",
        "unet/config.json",
        "vae/config.json",
    ]
    assert choose_weights(names) == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_second_text_encoder_is_chosen_where_there_is_one() -> None:
    parts = ("text_encoder", "text_encoder_2")
    names = [f"{part}/model{variant}.safetensors" for part in parts for variant in ("", ".fp16")]
    names += ["tokenizer_2/vocab.json", "text_encoder_2/config.json"]
    weights = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")]
    assert choose_configs(names) == names[-2:]
    assert set(choose_weights(names + weights)) == {
        *weights, *(f"{part}/model.fp16.safetensors" for part in parts)
    }  # fmt: skip


async def test_hub_model_is_downloaded_once_and_runs(tiny_sd15: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sd15, tmp_path / "repository")
    halve(folder, "unet", keep=True)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (folder / "easel.json").write_text(json.dumps({"default_steps": 9}))
    with serving({"someone/tiny-model": folder}) as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache")}
        async with running("someone/tiny-model", **environment) as engine:
            info = await engine.ready()
            assert (info.model, info.default_steps) == ("tiny-model", 9)
            assert any(stage == "downloading someone/tiny-model" for stage in engine.stages)
            await engine.generate("job", a_request(info, sampler=Sampler.EULER))
            assert (await engine.until_done("job"))[-1].kind == "done"
        files = hub.downloaded()
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in files
    assert "vae/diffusion_pytorch_model.safetensors" in files
    assert not any(name.endswith(".bin") for name in files)
    assert "unet/diffusion_pytorch_model.safetensors" not in files


CALLS = """
import json, sys
from engine.errors import ModelLoadError
from engine.worker import hub
fractions = []
results = []
for name, *arguments in json.loads(sys.argv[1]):
    try:
        path = getattr(hub, name)(*arguments, lambda stage, fraction: fractions.append(fraction))
        results.append(str(path))
    except ModelLoadError as error:
        results.append(f"ModelLoadError: {error}")
print(json.dumps([results, [f for f in fractions if f is not None]]))
"""


def call_hub(calls: list[list[str | None]], **environment: str) -> tuple[list[str], list[float]]:
    """Calls functions of `engine.worker.hub` in a process, which alone reads HF_ENDPOINT anew."""
    run = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps(calls)],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    results, fractions = json.loads(run.stdout)
    return results, fractions


def test_hub_answers_and_failures(tiny_sd15: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(tiny_sd15, tmp_path / "pickled")
    weights = pickled / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    repositories = {"a/good": tiny_sd15, "a/pickled": pickled, SD15_REPO: tiny_sd15}
    cache = {"HF_HOME": str(tmp_path / "cache")}
    with serving(repositories) as hub:
        results, fractions = call_hub(
            [
                ["download_model", "a/good", None],
                ["download_model", "a/pickled", None],
                ["download_model", "a/missing", None],
                ["download_configs", "sd15"],
                ["download_model", "a/good/../x", None],
            ],
            HF_ENDPOINT=hub.endpoint,
            **cache,
        )
        sent = hub.downloaded()
    good, pickle, missing, configs, malformed = results
    assert (Path(good) / "unet" / "diffusion_pytorch_model.safetensors").is_file()
    assert max(fractions) == 1.0
    assert "no .safetensors weights" in pickle
    assert "no model a/missing on the hub" in missing
    assert not list(Path(configs).rglob("*.safetensors"))
    assert (Path(configs) / "tokenizer" / "merges.txt").is_file()
    assert "no hub id" in malformed
    assert not any(name.endswith(".bin") for name in sent)

    gone = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_ETAG_TIMEOUT": "1", **cache}
    results, _ = call_hub(
        [
            ["download_model", "a/good", None],
            ["download_model", SD15_REPO, None],
            ["download_model", "a/never", None],
        ],
        **gone,
    )
    assert results[0] == good, "the copy in the cache serves while the hub is away"
    assert "not downloaded completely" in results[1]
    assert "not downloaded before" in results[2]
