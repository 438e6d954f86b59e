"""A very short real run of every stage: it trains, resumes and exports a folder that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from diffusers import StableDiffusionPipeline

from engine.pocket.autoencoder import load_latents
from engine.pocket.data import CATEGORIES
from engine.pocket.export import export_model, load_part
from engine.pocket.loop import Plan, State, Worker, learning_rate, train
from engine.pocket.parts import TINY, build_vae
from engine.pocket.train import Options, train_all

COUNTS = dict.fromkeys(CATEGORIES, 16)


def test_all_stages_run_and_the_exported_folder_draws(tmp_path: Path) -> None:
    options = Options(tmp_path / "work", 48, 40, 8, 8, 1, 1, "cpu", COUNTS, TINY)
    train_all(options)
    assert (options.work / "samples-0000048.png").exists()
    out = tmp_path / "model"
    export_model(options.work, out, TINY)
    settings = json.loads((out / "easel.json").read_text())
    assert settings["native_size"] == 128
    pipe = StableDiffusionPipeline.from_pretrained(out, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    picture = pipe("a red circle", num_inference_steps=2).images[0]
    assert picture.size == (128, 128)
    assert not [path for path in out.rglob("*") if path.suffix in {".bin", ".pt", ".ckpt"}]


def test_autoencoder_is_normalised_after_training(tmp_path: Path) -> None:
    options = Options(tmp_path, 8, 40, 8, 8, 1, 1, "cpu", COUNTS, TINY)
    train_all(options)
    vae = build_vae(TINY)
    load_part(vae, tmp_path / "vae-final.safetensors")
    worker = Worker(0, 1, tmp_path, torch.device("cpu"), 1)
    latents = torch.cat(list(load_latents(worker, COUNTS).values())).float()
    assert latents.shape[1:] == (4, 16, 16)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.5
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.5


def _fit(work: Path, samples: int) -> State:
    """Fits a line; every batch depends on the step alone, as in the real stages."""
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    worker = Worker(0, 1, work, torch.device("cpu"), 7)
    state = State(model, work / "line.safetensors")

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        x = torch.randn((16, 2), generator=worker.generator("line", step))
        return (model(x) - x.sum(dim=1, keepdim=True)).square().mean(), 16

    train(worker, Plan("line", samples, 16, 0.05, checkpoint_every=160), state, loss_of)
    return state


def test_resumed_training_ends_where_uninterrupted_training_does(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = _fit(tmp_path / "whole", 1600)
    worker = Worker(0, 1, tmp_path / "parts", torch.device("cpu"), 7)

    class StoppedError(Exception):
        """Stands for a kill in the middle."""

    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    state = State(model, tmp_path / "parts" / "line.safetensors")

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        if step == 55:
            raise StoppedError
        x = torch.randn((16, 2), generator=worker.generator("line", step))
        return (model(x) - x.sum(dim=1, keepdim=True)).square().mean(), 16

    with pytest.raises(StoppedError):
        train(worker, Plan("line", 1600, 16, 0.05, checkpoint_every=160), state, loss_of)
    resumed = _fit(tmp_path / "parts", 1600)
    assert resumed.samples == whole.samples == 1600
    for a, b in zip(whole.ema, resumed.ema, strict=True):
        assert torch.equal(a, b)


def test_learning_rate_warms_up_and_falls() -> None:
    plan = Plan("x", 100_000, 32, 1e-3, 1000)
    rates = [learning_rate(plan, step, step * 32) for step in (0, 399, 1500, 3125)]
    assert rates[0] < rates[1] > rates[2] > rates[3]
    assert rates[3] == pytest.approx(2e-5)
