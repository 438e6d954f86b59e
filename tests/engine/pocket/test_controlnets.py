"""A very short real training of a ControlNet: it learns, resumes and exports a folder that stock pipelines load."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from diffusers import ControlNetModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.pocket import controlnets, export
from engine.pocket.controlnets import (
    Examples,
    Options,
    build_controlnet,
    checkpoint_of,
    export_controlnet,
    hint_tensor,
    run,
    with_control,
)
from engine.pocket.data import CATEGORIES, scene_of
from engine.pocket.hints import hint_of
from engine.pocket.loop import State, Worker
from engine.pocket.parts import TINY, build_vae
from engine.pocket.processes import run_processes
from engine.pocket.scores.control import CATEGORIES as CONTROLLED, measure_depth
from engine.pocket.scores.studio import Studio
from engine.pocket.tokenizer import tokenizer_of

pytestmark = pytest.mark.filterwarnings(  # in diffusers
    "ignore:__array__ implementation:DeprecationWarning"
)
PICTURES = 12
SEED = 5


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a base model's training, untrained, with latents of two processes."""
    folder = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    export.save_part(build_vae(TINY), folder / export.VAE)
    model = export.build_diffusion(TINY, tokenizer_of(folder))
    state = State(model, folder / export.DIFFUSION)
    state.save()
    for category in CATEGORIES:
        for rank in range(2):
            numbers = range(rank, PICTURES, 2)  # of the scenes, told by the latents' first value
            latents = torch.randn(len(numbers), 4, 16, 16)
            latents[:, 0, 0, 0] = torch.tensor([float(n) for n in numbers])
            save_file(
                {"latents": latents.half()}, folder / f"latents-{category}-{rank}.safetensors"
            )
    return folder


@pytest.fixture(autouse=True)
def _short_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlnets, "PREVIEW_STEPS", 1)


@pytest.fixture
def fresh(work: Path, tmp_path: Path) -> Path:
    shutil.copytree(work, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _options(work: Path, samples: int, kind: str = "openpose") -> Options:
    return Options(work, kind, samples, 4, SEED, 1, "cpu", TINY)


def _weights(work: Path, kind: str = "openpose") -> dict[str, torch.Tensor]:
    return load_file(checkpoint_of(work, kind))


def test_training_is_resumed_where_it_was_interrupted(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = fresh / "whole", fresh / "parts"
    for folder in (whole, parts):
        shutil.copytree(fresh, folder, ignore=shutil.ignore_patterns("whole", "parts"))
    monkeypatch.setattr(controlnets, "CHECKPOINT_EVERY", 8)
    run_processes(1, run, _options(whole, 16))
    draw = Examples.draw
    calls = 0

    def interrupted(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Examples, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_processes(1, run, _options(parts, 16))
    with safe_open(checkpoint_of(parts, "openpose"), "pt") as file:
        assert '"samples": 8' in file.metadata()["state"]
    monkeypatch.setattr(Examples, "draw", draw)
    run_processes(1, run, _options(parts, 16))
    first, second = _weights(whole), _weights(parts)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (parts / "control-openpose-0000016.png").exists()


def test_exported_folder_guides_the_stock_pipeline(fresh: Path) -> None:
    kind = "segmentation"
    run_processes(1, run, _options(fresh, 8, kind))
    out = fresh / "out"
    export_controlnet(fresh, kind, TINY, out)
    assert sorted(path.name for path in (out / kind).iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    stored = load_file(out / kind / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    controlnet = ControlNetModel.from_pretrained(out / kind, local_files_only=True)
    assert controlnet.dtype == torch.float32
    pipe = export.load_pipeline(fresh, TINY)
    hints = [hint_of(kind, scene_of(SEED, "person", i)) for i in range(2)]
    drawn = []
    for scale in (0.0, 50.0):  # so little was learned that it must be exaggerated
        pictures = with_control(pipe, controlnet)(
            ["a man", "a tree"],
            image=hints,
            num_inference_steps=2,
            controlnet_conditioning_scale=scale,
            generator=[torch.Generator().manual_seed(i) for i in range(2)],
        ).images
        assert [picture.size for picture in pictures] == [(128, 128)] * 2
        drawn.append([np.asarray(picture) for picture in pictures])
    assert not np.array_equal(drawn[0], drawn[1])


def test_following_is_measured_beside_the_prompt_alone(fresh: Path) -> None:
    run_processes(1, run, _options(fresh, 4, "depth"))
    export_controlnet(fresh, "depth", TINY, fresh / "out")
    export.export_model(fresh, fresh / "model", TINY)
    with Studio(fresh / "model", steps=2) as studio:
        score = measure_depth(studio, fresh / "out", 4)
        again = measure_depth(studio, fresh / "out", 4)
    assert (score.kind, score.pictures) == ("depth", 4)
    assert 0 <= score.overlap <= 1
    assert [name for name, _ in score.by_category] == list(CONTROLLED)
    assert score == again


def test_it_learns_and_the_base_model_stays(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    mse, draw = controlnets.functional.mse_loss, Examples.draw

    def watched(*arguments: torch.Tensor) -> torch.Tensor:
        loss = mse(*arguments)
        losses.append(float(loss.detach()))
        return loss

    # The same batch and the same noise at every step: the loss can only fall by learning.
    monkeypatch.setattr(Examples, "draw", lambda self, rng, count: draw(self, Random(1), count))
    monkeypatch.setattr(Worker, "generator", lambda *_: torch.Generator().manual_seed(1))
    monkeypatch.setattr(controlnets.functional, "mse_loss", watched)
    monkeypatch.setattr(controlnets, "WARM_UP_STEPS", 1)
    monkeypatch.setattr(controlnets, "LEARNING_RATE", 1e-2)
    before = (fresh / export.DIFFUSION).read_bytes()
    run_processes(1, run, _options(fresh, 60))
    assert losses[-1] < 0.97 * losses[0]
    assert (fresh / export.DIFFUSION).read_bytes() == before


def test_an_untrained_controlnet_changes_nothing_and_pools_text_as_the_unet_does(
    work: Path,
) -> None:
    unet = export.load_pipeline(work, TINY).unet
    controlnet = build_controlnet(unet)
    assert controlnet.config.addition_embed_type_num_heads == 4
    x, t, text = torch.randn(2, 4, 16, 16), torch.tensor([3, 900]), torch.randn(2, 77, 16)
    assert torch.equal(controlnet.add_embedding(text), unet.add_embedding(text))
    down, mid = controlnet(x, t, text, torch.rand(2, 3, 128, 128), return_dict=False)
    assert not mid.any()
    assert not any(each.any() for each in down)
    assert controlnet.controlnet_cond_embedding(torch.rand(1, 3, 128, 128)).abs().max() > 0


def test_latents_meet_the_hints_of_their_own_scenes(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def remembered(seed: int, category: str, index: int) -> object:
        asked.append((category, index))
        return scene_of(seed, category, index)

    monkeypatch.setattr(controlnets, "scene_of", remembered)
    worker = Worker(0, 1, work, torch.device("cpu"), SEED)
    captions, latents, hints = Examples(worker, "canny").draw(Random("x"), 60)
    assert hints.shape == (60, 3, 128, 128)
    assert (hints.min(), hints.max()) == (0, 1)
    assert latents[:, 0, 0, 0].tolist() == [float(number) for _, number in asked]
    assert {category for category, _ in asked} == set(CATEGORIES)
    assert {number % 2 for _, number in asked} == {0, 1}
    assert 5 < captions.count("") < 32
    whole = [hint_of("canny", scene_of(SEED, *each)) for each in asked]
    assert torch.equal(hints, hint_tensor(whole))


def test_without_latents_it_says_what_to_do(fresh: Path) -> None:
    for path in fresh.glob("latents-person-*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no latents of person; train first"):
        run(0, _options(fresh, 8))
