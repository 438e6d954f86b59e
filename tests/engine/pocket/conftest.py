"""One thread for torch, since two stall beside another busy process; and a model that draws noise, fast."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    torch = sys.modules.get("torch")  # absent where only the pictures are tested
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.enable_grad():  # the engine's tests switch it off for their process
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights and two steps by default."""
    torch = pytest.importorskip("torch")
    from diffusers import StableDiffusionPipeline

    from engine.pocket.export import SETTINGS
    from engine.pocket.parts import TINY, build_scheduler, build_text_encoder, build_unet, build_vae
    from engine.pocket.tokenizer import tokenizer_of

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = tokenizer_of(folder)
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        build_vae(TINY), build_text_encoder(TINY, tokenizer), tokenizer, build_unet(TINY),
        build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(folder / "model", safe_serialization=True)
    settings = json.dumps(SETTINGS | {"default_steps": 2})
    (folder / "model" / "easel.json").write_text(settings)
    return folder / "model"
