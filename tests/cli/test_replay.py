"""`bot.py imagine --replay`: the same picture again, to the bit, from its own file or an export."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from engine.receipts import PNG_KEY, read_recipe
from tests.cli.test_imagine import read, run

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a tiny model with a ControlNet for edges."""
    import torch

    from tests.engine.worker import tiny

    torch.set_num_threads(1)
    folder = tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")
    tiny.write_controlnet(folder, "canny", seed=4)
    return folder


@pytest.fixture(scope="module")
def made(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Returns a picture that was made from every kind of file, and the options that give these."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("made")
    Image.linear_gradient("L").resize((80, 64)).convert("RGB").save(folder / "start.jpg")
    Image.radial_gradient("L").resize((64, 64)).save(folder / "mask.png")
    Image.radial_gradient("L").point(lambda level: 255 * (level < 90)).save(folder / "disc.png")
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    style = {f"{stem}.lora_down.weight": torch.ones(2, 16), f"{stem}.alpha": torch.tensor(2.0)}
    save_file(style | {f"{stem}.lora_up.weight": torch.ones(16, 2)}, folder / "flat.safetensors")
    files = [
        "--style", f"{folder}/flat.safetensors:0.5", "--mask", f"{folder}/mask.png",
        "--control", f"canny:{folder}/disc.png:0.8:0-0.7", "--image", f"{folder}/start.jpg",
        "--model", str(model),
    ]  # fmt: skip
    (folder / "out").mkdir()
    out = folder / "out" / "picture.png"
    done = run(
        "imagine", "a red cat", *files, "--strength", "0.8", "--steps", "4", "--seed", "5",
        "--sampler", "euler_a", "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "canny: disc.png was" in done.stderr
    return files, out


def test_picture_of_every_kind_of_file_is_made_again_to_the_bit(
    made: tuple[list[str], Path], tmp_path: Path
) -> None:
    files, picture = made
    request, receipt = read_recipe(read(picture).info[PNG_KEY])
    assert (request.controls[0].scale, request.controls[0].end) == (0.8, 0.7)
    assert request.mask_image is not None
    # As /history exports it: the JSON, and the pictures beside it.
    entry = {"id": "abc", **dataclasses.asdict(request), "receipt": receipt.packed()}
    (tmp_path / "job.json").write_text(json.dumps(entry))
    (tmp_path / "job-1.png").write_bytes(picture.read_bytes())
    again = tmp_path / "again.png"
    done = run("imagine", "--replay", str(tmp_path / "job.json"), *files, "--out", str(again))
    assert done.returncode == 0, done.stderr
    assert "seed 5: made again to the bit" in done.stdout
    assert again.read_bytes() == picture.read_bytes(), "with its texts"


def test_picture_that_was_changed_is_told_from_a_repeat(
    made: tuple[list[str], Path], tmp_path: Path
) -> None:
    from PIL.PngImagePlugin import PngInfo

    files, picture = made
    text = PngInfo()
    text.add_text(PNG_KEY, read(picture).info[PNG_KEY], zip=True)
    changed = read(picture).convert("RGB")
    red, *rest = changed.getpixel((3, 3))
    changed.putpixel((3, 3), ((red + 9) % 256, *rest))
    changed.save(tmp_path / "changed.png", pnginfo=text)
    done = run("imagine", "--replay", str(tmp_path / "changed.png"), *files)
    assert done.returncode == 1, done.stderr
    assert "1 of 4,096 pixels differ, by at most" in done.stdout
    assert "this should not be" in done.stdout


def test_what_is_missing_is_asked_for(made: tuple[list[str], Path], tmp_path: Path) -> None:
    files, picture = made
    moved = tmp_path / "moved.png"
    moved.write_bytes(picture.read_bytes())
    done = run("imagine", "--replay", str(moved), "--model", files[-1])
    assert (done.returncode, "with --style" in done.stderr) == (2, True), done.stderr
    done = run("imagine", "--replay", str(moved), *files[:2], "--model", files[-1])
    assert (done.returncode, "with --image" in done.stderr) == (2, True), done.stderr
    done = run("imagine", "--replay", str(moved), *files[:-1], "pocket")
    assert (done.returncode, "with --model" in done.stderr) == (2, True), done.stderr


def test_picture_without_receipt_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    done = run("imagine", "--replay", str(tmp_path / "plain.png"))
    assert done.returncode == 2
    assert "carries no receipt" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_picture_needs_words_and_a_place() -> None:
    for arguments in (["a cat"], ["--out", "x.png"]):
        done = run("imagine", *arguments, "--model", "pocket")
        assert done.returncode == 2
        assert "PROMPT --out FILE" in done.stderr
