"""The base model draws the same bytes after LoRAs of every layout, and files that are none, came and went."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.protocol import Frame
from tests.engine.lora.mutations import mutated
from tests.engine.worker import loras
from tests.engine.worker.local import LocalEngine

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def sound(engine: LocalEngine, folder: Path) -> dict[str, Path]:
    """One file of each layout, type of number and part of the model."""
    unet, text = engine.unet.unet, engine.model.text_encoder
    every = loras.pairs(unet, loras.LINEAR + loras.CONV, 4, seed=1)
    attention = loras.pairs(unet, ("to_q", "to_k", "to_v", "to_out.0"), 3, seed=2)
    words = loras.pairs(text, loras.TEXT, 2, seed=3)
    files = {
        "kohya with convolutions": loras.kohya(folder / "a.safetensors", every, words),
        "kohya, U-Net alone": loras.kohya(folder / "b.safetensors", attention, {}),
        "kohya, text encoder alone": loras.kohya(folder / "c.safetensors", {}, words),
        "diffusers": loras.peft(folder / "d.safetensors", every, words),
        "diffusers of before peft": loras.old_diffusers(folder / "e.safetensors", attention),
    }
    for dtype in (torch.bfloat16, torch.float16):
        tensors = load_file(files["kohya with convolutions"])
        path = folder / f"{dtype}.safetensors"
        save_file({name: one.to(dtype) for name, one in tensors.items()}, path)
        files[str(dtype)] = path
    return files


def spoilt(files: dict[str, Path], folder: Path) -> list[Path]:
    """Forty changed files, of which a few are sound all the same."""
    sources = [path.read_bytes() for path in files.values()]
    paths = [folder / f"{seed}.safetensors" for seed in range(40)]
    for seed, path in enumerate(paths):
        path.write_bytes(mutated(sources, seed))
    return paths


def draw(engine: LocalEngine, job_id: str) -> bytes:
    """What the base model draws: two pictures, one of them with the text that LoRAs also had."""
    for number, prompt in enumerate(("a red cat", "a house by the sea")):
        engine.send(f"{job_id}{number}", prompt=prompt, seed=number, num_inference_steps=3)
        engine.finish()
    return b"".join(
        picture.tobytes() for number in (0, 1) for picture in engine.pictures(f"{job_id}{number}")
    )


def weights_of(engine: LocalEngine) -> str:
    digest = hashlib.sha256()
    for model in (engine.unet.unet, engine.model.text_encoder):
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("buckets", [(), (1, 2, 4)], ids=["as they are", "buckets"])
def test_the_base_model_draws_the_same_bytes_afterwards(
    tiny_sd15: Path, tmp_path: Path, buckets: Sequence[int]
) -> None:
    engine = LocalEngine(tiny_sd15, buckets=buckets)
    files = sound(engine, tmp_path)
    before, weights = draw(engine, "before"), weights_of(engine)
    for number, (name, path) in enumerate(files.items()):
        engine.send(f"with{number}", styles=[(path, 0.9)], num_inference_steps=3)
        engine.finish()
        assert engine.last(f"with{number}").kind == "done", name
        (styled,) = engine.pictures(f"with{number}")
        assert styled.tobytes() not in before, f"{name} does something"
        assert draw(engine, f"beside{number}-") == before, f"{name} is loaded"
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        engine.loop.handle(Frame("adapter_unload", {"call_id": 1, "sha256": sha256}))
    ended = {}
    for path in spoilt(files, tmp_path):
        engine.send(path.stem, styles=[(path, 0.9)], num_inference_steps=1)
        engine.finish()
        ended[path.stem] = engine.last(path.stem)
    refused = {stem: frame for stem, frame in ended.items() if frame.kind == "failed"}
    assert len(refused) > 20
    known = {"InvalidRequestError", "UnknownAdapterError"}
    assert {frame.fields["error"] for frame in refused.values()} <= known
    assert engine.loop.waiting_ids() == []
    assert draw(engine, "after") == before
    assert weights_of(engine) == weights
