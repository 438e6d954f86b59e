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
from engine.pocket.diffusion import noisy_batch
from engine.pocket.export import (
    begin_with,
    build_diffusion,
    export_model,
    load_part,
    load_pipeline,
)
from engine.pocket.loop import Plan, State, TrainingBusyError, Worker, claimed, learning_rate, train
from engine.pocket.parts import TINY, build_scheduler, build_vae
from engine.pocket.tokenizer import tokenizer_of
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


def _fit(work: Path, samples: int, *, has_muon: bool = False) -> State:
    """Fits a line; every batch depends on the step alone, as in the real stages."""
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    worker = Worker(0, 1, work, torch.device("cpu"), 7)
    state = State(model, work / "line.safetensors", has_muon=has_muon)

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        x = torch.randn((16, 2), generator=worker.generator("line", step))
        return (model(x) - x.sum(dim=1, keepdim=True)).square().mean(), 16

    train(worker, Plan("line", samples, 16, 0.05, checkpoint_every=160), state, loss_of)
    return state


@pytest.mark.parametrize("has_muon", [False, True])
def test_resumed_training_ends_where_uninterrupted_training_does(
    tmp_path: Path, has_muon: bool
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = _fit(tmp_path / "whole", 1600, has_muon=has_muon)
    worker = Worker(0, 1, tmp_path / "parts", torch.device("cpu"), 7)

    class StoppedError(Exception):
        """Stands for a kill in the middle."""

    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    state = State(model, tmp_path / "parts" / "line.safetensors", has_muon=has_muon)

    def loss_of(step: int, samples: int) -> tuple[torch.Tensor, int]:
        if step == 55:
            raise StoppedError
        x = torch.randn((16, 2), generator=worker.generator("line", step))
        return (model(x) - x.sum(dim=1, keepdim=True)).square().mean(), 16

    with pytest.raises(StoppedError):
        train(worker, Plan("line", 1600, 16, 0.05, checkpoint_every=160), state, loss_of)
    resumed = _fit(tmp_path / "parts", 1600, has_muon=has_muon)
    assert resumed.samples == whole.samples == 1600
    for a, b in zip(whole.ema, resumed.ema, strict=True):
        assert torch.equal(a, b)


def test_another_optimiser_takes_up_a_checkpoint(tmp_path: Path) -> None:
    first = _fit(tmp_path, 160)
    again = _fit(tmp_path, 1600, has_muon=True)
    assert again.samples == 1600
    target = torch.ones(1, 2)
    before, after = ((s.ema[0] - target).abs().max() for s in (first, again))
    assert after < before


def test_second_run_on_the_same_checkpoint_is_refused(tmp_path: Path) -> None:
    busy = pytest.raises(TrainingBusyError, match=r"line\.safetensors; wait")
    with claimed(tmp_path / "line.safetensors"), busy:
        _fit(tmp_path, 16)
    assert _fit(tmp_path, 16).samples == 16


def test_learning_rate_warms_up_stays_and_falls() -> None:
    plan = Plan("x", 100_000, 32, 1e-3, 1000)
    rates = [learning_rate(plan, step, step * 32) for step in (0, 399, 1500, 2800, 3125)]
    assert rates[0] < rates[1] == rates[2] == 1e-3
    assert rates[2] > rates[3] > rates[4] == pytest.approx(2e-5)


def test_training_begins_with_the_weights_of_a_finished_model(tmp_path: Path) -> None:
    first = Options(tmp_path / "first", 16, 40, 8, 8, 1, 1, "cpu", COUNTS, TINY)
    train_all(first)
    model = tmp_path / "model"
    export_model(first.work, model, TINY)
    again = Options(tmp_path / "again", 8, 40, 8, 8, 1, 1, "cpu", COUNTS, TINY, start=model)
    begin_with(model, again.work)
    fresh = build_diffusion(TINY, tokenizer_of(again.work), again.work)
    for name, weights in build_diffusion(TINY, tokenizer_of(again.work)).state_dict().items():
        if name.endswith("conv_in.weight"):
            assert not torch.equal(fresh.state_dict()[name], weights)
    saved = load_pipeline(first.work, TINY)
    for name, weights in saved.unet.state_dict().items():
        assert torch.allclose(fresh["unet"].state_dict()[name], weights, atol=1e-3, rtol=1e-3)
    train_all(again)
    assert State(fresh, again.work / "diffusion.safetensors").load()
    assert not (again.work / "vae.safetensors").exists()  # the autoencoder is taken as it is


def test_remixed_samples_lie_on_the_way_from_the_other_colours() -> None:
    alpha_bar = build_scheduler().alphas_cumprod
    x_0, noise = torch.randn(2, 2, 4, 16, 16).unbind(0)
    change = torch.randn_like(x_0)
    change[0] = 0
    starts = torch.tensor([500.0, 500.0])
    x_t, t, v = noisy_batch(x_0, change, noise, torch.tensor([0.3, 1.0]), starts, alpha_bar)
    assert t.tolist() == [300, 500]
    alpha, sigma = alpha_bar[t].sqrt()[:, None, None, None], (1 - alpha_bar[t]).sqrt()
    sigma = sigma[:, None, None, None]
    start = alpha * (x_0 + change) + sigma * noise  # as img2img begins
    assert torch.allclose(x_t, start, atol=1e-5)
    assert torch.allclose(alpha * x_t - sigma * v, x_0, atol=1e-5)  # and where it must arrive
