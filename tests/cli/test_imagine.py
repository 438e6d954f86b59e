"""`bot.py imagine` and `demo` as an operator runs them, with the pocket model."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.pocket import MODEL_DIR

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("EASEL_", "DISCORD_"))}
    return subprocess.run(
        [sys.executable, "bot.py", *arguments],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=180,
    )


def read(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def test_text_then_a_remix_of_it_at_another_size(tmp_path: Path) -> None:
    first, remix = tmp_path / "out" / "first.png", tmp_path / "remix.png"
    done = run(
        "imagine", "a red circle on a blue background", "--seed", "3", "--steps", "6",
        "--model", "pocket", "--count", "2", "--out", str(first),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "seed 3, 128x128" in done.stdout
    assert "seed 4" in done.stdout
    assert read(first).size == (128, 128)
    assert read(first.with_stem("first-2")).size == (128, 128)

    done = run(
        "imagine", "a red circle on a yellow background", "--image", str(first), "--strength", "0.6",
        "--steps", "6", "--size", "160x128", "--model", "pocket", "--sampler", "euler_a",
        "--seed", "1", "--out", str(remix),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    picture = read(remix)
    assert picture.size == (160, 128)
    assert "Denoising strength: 0.6" in picture.info["parameters"]


def test_style_from_a_file(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    config = json.loads((MODEL_DIR / "unet" / "config.json").read_text())
    width = config["block_out_channels"][-1]
    tensors = {
        f"{stem}.lora_down.weight": torch.ones(2, width),
        f"{stem}.lora_up.weight": torch.ones(width, 2),
        f"{stem}.alpha": torch.tensor(2.0),
    }
    style, out = tmp_path / "flat.safetensors", tmp_path / "styled.png"
    save_file(tensors, style, metadata={"modelspec.trigger_phrase": "flat paper"})
    done = run(
        "imagine", "a red circle", "--style", f"{style}:0.5", "--steps", "2", "--model", "pocket",
        "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "flat.safetensors listens to: flat paper" in done.stderr
    sha256 = hashlib.sha256(style.read_bytes()).hexdigest()
    assert f'Lora hashes: "{sha256[:12]}: {sha256[:12]}"' in read(out).info["parameters"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "big"], "'big'"),
        (["--size", "100x128"], "steps of 32"),
        (["--sampler", "eulr"], "'eulr'"),
        (["--seed", str(2**64)], "between 0 and 4294967295"),
        (["--image", __file__], "cannot be read as a picture"),
        (["--strength", "0.5"], "--image"),
        (["--mask", __file__], "cannot be read as a picture"),
        (["--control", "canny"], "KIND:FILE:SCALE:START-END"),
        (["--control", f"canny:{__file__}"], "cannot be read as a picture"),
        (["--replay", __file__], "cannot be read"),
        (["--style", "nothing.safetensors:0.5"], "nothing.safetensors cannot be read"),
        (["--style", __file__], "no .safetensors file"),
        (["--clip-skip", "-1"], "clip skip"),
        (["--model", "no/such/folder.safetensors"], "no/such/folder"),
    ],
)
def test_bad_options_are_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    model = [] if "--model" in arguments else ["--model", "pocket"]
    done = run("imagine", "a cat", "--out", str(tmp_path / "x.png"), *model, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("out", [".", "file/x.png"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("")
    done = run("imagine", "a cat", "--model", "pocket", "--out", str(tmp_path / out))
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_bytes_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    done = run(
        "imagine", "a \udcff cat", "--steps", "1", "--model", "pocket", "--out", str(out)
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "a  cat" in read(out).info["parameters"]


def test_demo_deletes_nothing_but_an_earlier_demo(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    done = run("demo", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "precious.txt" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert precious.read_text() == "mine"


def test_demo_leaves_a_page_with_its_pictures(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = run("demo", "--out", str(out))
    assert done.returncode == 0, done.stderr
    page = (out / "index.html").read_text()
    assert "a red circle on a blue background" in page
    pictures = list(out.rglob("*.png"))
    assert len(pictures) == 13
    assert all(path.name in page for path in pictures)
    (channel,) = json.loads((out / "conversation.json").read_text())["channels"]
    messages = [one for one in channel["messages"] if not one["is_deleted"]]

    def picture_of(words: str) -> Image.Image:
        (found,) = (one for one in messages if words in one["content"])
        return read(out / found["attachments"][0]["file"]).convert("RGB")

    skeleton = np.asarray(picture_of("control map (openpose)"))
    assert skeleton.any(axis=2).mean() > 0.02, "somebody was found in the picture"
    follower = np.asarray(picture_of("a man in a yellow shirt")).astype(int)
    cyan = np.abs(follower - (57, 208, 205)).sum(axis=2) < 60
    assert cyan[:, :20].mean() > 0.9, "the background of the words"
    for arm in (cyan[14:36, 36:56], cyan[14:36, 78:100]):
        assert 0.1 < 1 - arm.mean() < 0.7, "both are up, as in the picture"
    heart = np.asarray(picture_of("style chalk"))
    assert heart[:, :20].mean() < 60, "the new style is black"
    preview = [one for one in messages if str(one["embeds"]).count("White outlines on black")]
    assert [len(one["attachments"]) for one in preview] == [0, 1], "drawn after it was added"
