"""LoRA files of every layout are recognised, all others refused in one sentence with the reason."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import RefusedFileError
from engine.lora.checking import CheckedLora, check_lora
from engine.lora.intake import NO_FILE, check_lora_file
from tests.engine.lora import lora_files as make
from tests.engine.lora.lora_files import CROSS, ENCODER, SELF, conv, kohya, layer, paired, written

MAX_BYTES = 2**21
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
TE = "text_model.encoder.layers.0.self_attn.q_proj"


def check(data: bytes, family: str | None = None) -> CheckedLora:
    return check_lora(io.BytesIO(data), len(data), max_bytes=MAX_BYTES, family=family)


U, T, T2 = "unet", "text_encoder", "text_encoder_2"
# name -> (file, family, parts)
GOOD: dict[str, tuple[Callable[[], bytes], str, tuple[str, ...]]] = {
    "kohya SD 1.5": (lambda: written(kohya()), "sd15", (U,)),
    "kohya SD 2": (lambda: written(kohya("sd2")), "sd2", (U,)),
    "kohya SDXL": (lambda: written(kohya("sdxl")), "sdxl", (U,)),
    "kohya pocket": (lambda: written(layer(CROSS, 128)), "pocket", (U,)),
    "bf16": (lambda: written(kohya(), dtype="BF16"), "sd15", (U,)),
    "float32": (lambda: written(kohya(), dtype="F32"), "sd15", (U,)),
    "float64": (lambda: written(kohya(), dtype="F64"), "sd15", (U,)),
    "without alphas": (lambda: written(kohya(alpha=None)), "sd15", (U,)),
    "alpha as a list of one": (
        lambda: written(layer(CROSS, 768, alpha=None) | {f"{CROSS}.alpha": [4.0]}), "sd15", (U,)),
    "rank 1": (lambda: written(kohya(rank=1)), "sd15", (U,)),
    "rank 128": (lambda: written(kohya(rank=128)), "sd15", (U,)),
    "two ranks": (
        lambda: written(layer(CROSS, 768, rank=4) | layer(SELF, 320, rank=8)), "sd15", (U,)),
    "U-Net and text encoder": (
        lambda: written(kohya() | layer(ENCODER, 768)), "sd15", (U, T)),
    "SDXL with both text encoders": (
        lambda: written(kohya("sdxl") | layer(ENCODER.replace("te_", "te1_"), 768)
                        | layer(ENCODER.replace("te_", "te2_"), 1280)), "sdxl", (U, T, T2)),
    "text encoder alone": (lambda: written(layer(ENCODER, 768)), "sd15", (T,)),
    "text encoder of SD 2 alone": (lambda: written(layer(ENCODER, 1024)), "sd2", (T,)),
    "LoCon": (lambda: written(kohya() | conv()), "sd15", (U,)),
    "LoCon with 1x1": (lambda: written(kohya() | conv(kernel=1)), "sd15", (U,)),
    "self-attention only": (lambda: written(layer(SELF, 320)), "sd15", (U,)),
    "self-attention only, many blocks": (
        lambda: written(layer(SELF.replace("blocks_0_attn1", "blocks_7_attn1"), 640)), "sdxl", (U,)),
    "kohya with the names of Stability AI": (
        lambda: written(layer("lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k", 2048)),
        "sdxl", (U,)),
    "diffusers": (
        lambda: written(paired(f"unet.{BLOCK}", 768, ".lora_A.weight", ".lora_B.weight")), "sd15", (U,)),
    "diffusers with both parts": (
        lambda: written(paired(f"unet.{BLOCK}", 768, ".lora_A.weight", ".lora_B.weight")
                        | paired(f"text_encoder.{TE}", 768, ".lora_A.weight", ".lora_B.weight")),
        "sd15", (U, T)),
    "diffusers of before peft": (
        lambda: written(paired(f"unet.{BLOCK}", 768, ".lora.down.weight", ".lora.up.weight")),
        "sd15", (U,)),
    "diffusers with processors": (
        lambda: written(paired(
            "unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k", 1024,
            "_lora.down.weight", "_lora.up.weight")), "sd2", (U,)),
    "peft": (
        lambda: written(paired(f"base_model.model.{BLOCK}", 768, ".lora_A.weight", ".lora_B.weight")),
        "sd15", (U,)),
    "peft with an adapter's name": (
        lambda: written(paired(
            f"base_model.model.{BLOCK}", 768, ".lora_A.default.weight", ".lora_B.default.weight")),
        "sd15", (U,)),
    "bare names": (
        lambda: written(paired(BLOCK, 768, ".lora_A.weight", ".lora_B.weight")), "sd15", (U,)),
    "with metadata": (
        lambda: written(kohya(), metadata={"ss_network_dim": "2", "x": "ü"}), "sd15", (U,)),
    "metadata that lies about the base": (
        lambda: written(kohya(), metadata={"modelspec.architecture": "stable-diffusion-xl-v1"}),
        "sd15", (U,)),
    "small and large weights": (
        lambda: written({f"{CROSS}.lora_down.weight": np.full((2, 768), 1e-7),
                         f"{CROSS}.lora_up.weight": np.full((8, 2), 9.0)}, dtype="F32"), "sd15", (U,)),
    "up of zeros in one layer": (
        lambda: written(kohya() | {f"{SELF}.lora_up.weight": np.zeros((8, 2))}), "sd15", (U,)),
}  # fmt: skip


def spoiled(**fields: Any) -> bytes:
    """A sound file but for the entry of one tensor."""
    return written(
        kohya(), change=lambda header: header[f"{CROSS}.lora_down.weight"].update(fields)
    )


def moved(name: str, begin: int, end: int) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        entry = header[name]["data_offsets"]
        entry[0], entry[1] = entry[0] + begin, entry[1] + end

    return change


def named(name: str) -> bytes:
    return written(kohya() | {name: np.ones((2, 2))})


def valued(role: str, value: float, dtype: str = "F32") -> bytes:
    arrays = kohya()
    spoilt = np.array(arrays[f"{SELF}.{role}"], dtype=np.float32)
    spoilt.reshape(-1)[-1] = value
    return written(arrays | {f"{SELF}.{role}": spoilt}, dtype=dtype)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return file.getvalue()


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/easel-was-here",)


def was_run() -> bool:
    return os.path.lexists("/tmp/easel-was-here")


def doubled() -> bytes:
    entry = json.dumps({"dtype": "F16", "shape": [1], "data_offsets": [0, 2]})
    return make.with_header(f'{{"a.alpha": {entry}, "a.alpha": {entry}}}'.encode(), b"\0\0")


DAMAGED = "is damaged"
NO_LORA = "is no part of a LoRA"
# name -> (file, words of the refusal)
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is empty"),
    "one byte": (lambda: b"x", "text"),
    "text": (lambda: b"a LoRA, honestly, please use it", "text"),
    "pickle": (lambda: pickle.dumps(Evil()), "pickled"),
    "old pickle": (lambda: pickle.dumps(Evil(), protocol=2), "pickled"),
    "pickle of the first kind": (lambda: pickle.dumps(Evil(), protocol=0), "no .safetensors file"),
    "torch file": (zipped, "pickled"),
    "picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), "PNG"),
    "gguf": (lambda: b"GGUF\3\0\0\0" + bytes(99), "no .safetensors"),
    "header of 2**63 bytes": (lambda: struct.pack("<Q", 2**63) + b"{" + bytes(99), "at most 16,777,216"),
    "header of 17 MB": (lambda: struct.pack("<Q", 17 * 2**20) + b"{" + bytes(99), "at most 16,777,216"),
    "header longer than the file": (lambda: struct.pack("<Q", 5000) + b"{" + bytes(99), "end is missing"),
    "header of 0 bytes": (lambda: struct.pack("<Q", 0) + b"{}", DAMAGED),
    "header that is no JSON": (lambda: make.with_header(b"{nonsense}"), "no JSON"),
    "header that is no text": (lambda: make.with_header(b"{\xff\xfe}"), "no JSON"),
    "header cut in the middle": (lambda: make.with_header(b'{"a": {"dtype": "F'), "no JSON"),
    "header with NaN": (lambda: make.with_header(b'{"a": NaN}'), "no JSON"),
    "header 100,000 levels deep": (lambda: make.with_header(b'{"a":' * 100_000), "no JSON"),
    "header with a number of 10,000 digits": (
        lambda: make.with_header(b'{"a": ' + b"9" * 10_000 + b"}"), DAMAGED),
    "header with a name twice": (doubled, "name twice"),
    "metadata with a name twice": (
        lambda: make.with_header(b'{"__metadata__": {"a": "1", "a": "2"}}'), "name twice"),
    "metadata that is no text": (
        lambda: written(kohya(), change=lambda h: h.update(__metadata__={"a": 1})), "says about itself"),
    "metadata that is a list": (
        lambda: written(kohya(), change=lambda h: h.update(__metadata__=["a"])), "says about itself"),
    "no tensors": (lambda: written({}, metadata={"a": "b"}), "no weights"),
    "25,000 tensors": (
        lambda: make.with_header(json.dumps({
            f"a{i}": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]} for i in range(25_000)
        }).encode()), "25,000 tensors"),
    "entry that is a list": (lambda: make.with_header(b'{"a": [1]}'), "not described"),
    "entry with too much": (lambda: spoiled(url="http://127.0.0.1"), "not described"),
    "dtype that is a number": (lambda: spoiled(dtype=7), "only F64"),
    "int8": (lambda: spoiled(dtype="I8"), "stored as I8"),
    "float8": (lambda: spoiled(dtype="F8_E4M3"), "only F64"),
    "shape that does not fit": (lambda: spoiled(shape=[2, 767]), "does not fit its bytes"),
    "shape below zero": (lambda: spoiled(shape=[-2, -768]), "shape or place"),
    "shape of truth values": (lambda: spoiled(shape=[True, 768]), "shape or place"),
    "shape of fractions": (lambda: spoiled(shape=[2.0, 768]), "shape or place"),
    "shape that overflows": (lambda: spoiled(shape=[2**47, 2**47]), "does not fit its bytes"),
    "shape of 2**70": (lambda: spoiled(shape=[2**70]), "shape or place"),
    "shape of nine sides": (lambda: spoiled(shape=[1] * 9), "shape or place"),
    "offsets backwards": (lambda: spoiled(data_offsets=[3072, 0]), "does not fit its bytes"),
    "offsets below zero": (lambda: spoiled(data_offsets=[-3072, 0]), "shape or place"),
    "one offset": (lambda: spoiled(data_offsets=[0]), "shape or place"),
    "overlap": (
        lambda: written(kohya(), change=moved(f"{CROSS}.lora_up.weight", -2, -2)), "overlaps"),
    "hole": (lambda: written(
        {"a.alpha": np.ones(1), "b.alpha": np.ones(1)}, change=moved("b.alpha", 2, 2), after=b"\0\0"),
        "hole before"),
    "hole at the beginning": (
        lambda: written({"a.alpha": np.ones(1)}, change=moved("a.alpha", 2, 2), after=b"\0\0"),
        "hole before"),
    "cut": (lambda: written(kohya())[:-100], "end is missing"),
    "something after the end": (lambda: written(kohya(), after=b"#!/bin/sh"), "something after"),
    "name that is a regular expression": (lambda: named("(a+)+$.alpha"), "other than letters"),
    "name with a path": (lambda: named("../../etc/passwd.alpha"), "other than letters"),
    "name with a line end": (lambda: named("a\nb.alpha"), "other than letters"),
    "name with Cyrillic letters": (lambda: named("l\u043era.alpha"), "other than letters"),
    "name of 10,000 letters": (lambda: named("a" * 10_000), "longer than 300"),
    "empty name": (lambda: named(""), "other than letters"),
    "NaN": (lambda: valued("lora_down.weight", float("nan")), "are no numbers"),
    "infinite": (lambda: valued("lora_up.weight", float("inf")), "are no numbers"),
    "NaN in bf16": (lambda: valued("lora_up.weight", float("nan"), "BF16"), "are no numbers"),
    "infinite in bf16": (lambda: valued("lora_up.weight", float("-inf"), "BF16"), "are no numbers"),
    "NaN in float16": (lambda: valued("lora_up.weight", float("nan"), "F16"), "are no numbers"),
    "weight of 1e30": (lambda: valued("lora_down.weight", 1e30), "a weight of 1e+30"),
    "weight of -5000": (lambda: valued("lora_down.weight", -5000, "BF16"), "a weight of"),
    "alpha of 1e30": (lambda: valued("alpha", 1e30), "at most 4096"),
    "alpha of 0": (lambda: valued("alpha", 0), "must be above 0"),
    "alpha below 0": (lambda: valued("alpha", -8), "must be above 0"),
    "alpha that is no number": (lambda: valued("alpha", float("nan")), "are no numbers"),
    "alpha of two numbers": (
        lambda: written(kohya() | {f"{SELF}.alpha": [1.0, 2.0]}), "is not one number"),
    "no effect": (
        lambda: written(layer(CROSS, 768) | {f"{CROSS}.lora_up.weight": np.zeros((8, 2))}), "no effect"),
    "half a layer": (
        lambda: written({f"{CROSS}.lora_down.weight": np.ones((2, 768))}), "other half is missing"),
    "alpha without a layer": (lambda: written({f"{CROSS}.alpha": [1.0]}), "other half is missing"),
    "halves of different ranks": (
        lambda: written(kohya() | {f"{CROSS}.lora_up.weight": np.ones((8, 3))}), "do not fit together"),
    "halves of different dimensions": (
        lambda: written(kohya() | {f"{CROSS}.lora_up.weight": np.ones((8, 2, 1, 1))}),
        "do not fit together"),
    "rank 0": (lambda: written(kohya(rank=0)), "do not fit together"),
    "rank 2000": (lambda: written(layer(CROSS, 128, rank=2000, outputs=1)), "rank 2,000"),
    "kernel of 5x5": (lambda: written(kohya() | conv(kernel=5)), "do not fit together"),
    "same layer in two layouts": (
        lambda: written(layer(CROSS, 768) | paired(f"unet.{BLOCK}", 768, ".lora_A.weight", ".lora_B.weight")),
        "two layouts"),
    "text width of no model": (lambda: written(layer(CROSS, 999)), "does not fit one base model"),
    "two base models": (
        lambda: written(kohya() | layer(CROSS.replace("blocks_0_att", "blocks_1_att"), 1024)),
        "does not fit one base model"),
    "U-Net of SDXL, text encoder of SD 2": (
        lambda: written(kohya("sdxl") | layer(ENCODER, 1024)), "text layers for another model"),
    "second text encoder for SD 1.5": (
        lambda: written(kohya() | layer(ENCODER.replace("te_", "te2_"), 1280)),
        "text layers for another model"),
    "convolutions alone": (lambda: written(conv()), "does not fit one base model"),
    "Flux": (lambda: written(layer("lora_unet_double_blocks_0_img_attn_qkv", 3072)), "Flux"),
    "Flux of diffusers": (
        lambda: written(paired("transformer.single_transformer_blocks.0.attn.to_q", 3072,
                               ".lora_A.weight", ".lora_B.weight")), "Flux"),
    "SD 3": (
        lambda: written(paired("transformer.transformer_blocks.0.attn.to_q", 1536,
                               ".lora_A.weight", ".lora_B.weight")), "like SD 3"),
    "language model": (
        lambda: written(paired("base_model.model.model.layers.0.self_attn.q_proj", 4096,
                               ".lora_A.weight", ".lora_B.weight")), "language model"),
    "VAE": (lambda: written(layer("lora_vae_decoder_mid_attn", 512)), "a VAE"),
    "ControlNet": (lambda: named("control_model.input_blocks.0.0.weight"), "a ControlNet"),
    "whole checkpoint": (
        lambda: named("model.diffusion_model.input_blocks.0.0.weight"), "whole model"),
    "unknown place": (lambda: written(layer("lora_unet_secret_door", 768)), "in no model"),
    "unknown root": (lambda: written(layer("os_system", 768)), "in no model"),
    "a tensor more": (lambda: named("rank_pattern"), NO_LORA),
    "LoHa": (lambda: named(f"{SELF}.hada_w1_a"), "a LoHa"),
    "LoKr": (lambda: named(f"{SELF}.lokr_w1"), "a LoKr"),
    "OFT": (lambda: named(f"{SELF}.oft_blocks"), "an OFT"),
    "IA3": (lambda: named(f"{SELF}.on_input"), "an IA3"),
    "DoRA": (lambda: named(f"{SELF}.dora_scale"), "a DoRA"),
    "DoRA of peft": (lambda: named(f"unet.{BLOCK}.lora_magnitude_vector"), "a DoRA"),
    "LoCon with a Tucker core": (lambda: named(f"{SELF}.lora_mid.weight"), "Tucker core"),
    "full difference": (lambda: named(f"{SELF}.diff"), "difference of whole layers"),
    "textual inversion": (lambda: named("emb_params"), "a textual inversion"),
    "textual inversion inside": (lambda: named("bundle_emb.x.string_to_param"), "a textual inversion"),
    "larger than the limit": (lambda: bytes(MAX_BYTES + 1), "at most 2 MiB"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_sound_file_is_recognised(name: str) -> None:
    file, family, parts = GOOD[name]
    data = file()
    lora = check(data)
    assert (lora.family, lora.parts) == (family, parts)
    assert lora.sha256 == hashlib.sha256(data).hexdigest()
    assert lora.size_bytes == len(data)
    assert lora.is_locon == (name == "LoCon")
    assert check(data, family) == lora


@pytest.mark.parametrize("name", BAD)
def test_any_other_file_is_refused_in_one_sentence(name: str) -> None:
    file, words = BAD[name]
    with pytest.raises(RefusedFileError) as refused:
        check(file())
    text = str(refused.value)
    assert words in text, text
    assert 15 < len(text) < 260
    assert text.endswith(".")
    assert text.isascii()
    assert text.isprintable()


def test_what_is_counted() -> None:
    lora = check(written(layer(CROSS, 768, rank=4) | layer(SELF, 320, rank=8), metadata={"a": "b"}))
    assert (lora.ranks, lora.layers, lora.tensors) == ((4, 8), 2, 6)
    assert lora.metadata == {"a": "b"}


def test_a_file_for_another_model_is_refused_with_both_names() -> None:
    with pytest.raises(RefusedFileError, match=r"made for SDXL, and the model here is SD 1\.5"):
        check(written(kohya("sdxl")), family="sd15")


def test_changed_bytes_never_break_the_check() -> None:
    random = np.random.default_rng(3)
    files = [GOOD[name][0]() for name in ("kohya SD 1.5", "diffusers", "LoCon", "with metadata")]
    for number in range(300):
        data = bytearray(files[number % len(files)])
        for _ in range(random.integers(1, 4)):  # mostly in the header
            data[random.integers(min(len(data), 900))] = random.integers(256)
        try:
            check(bytes(data))
        except RefusedFileError as error:
            assert str(error).isprintable()  # noqa: PT017


async def test_the_child_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    data = written(kohya(), metadata={"ss_network_dim": "2"})
    path.write_bytes(data)
    assert await check_lora_file(path, max_bytes=MAX_BYTES, family="sd15") == check(data)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RefusedFileError, match="pickled"):
        await check_lora_file(path, max_bytes=MAX_BYTES)
    assert not was_run()


async def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "link.safetensors").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.safetensors")
    paths = [
        tmp_path / "link.safetensors",
        tmp_path / "pipe.safetensors",
        tmp_path,
        tmp_path / "none",
    ]
    for path in [*paths, Path("/dev/zero"), Path("bad\0name")]:
        with pytest.raises(RefusedFileError) as refused:
            await check_lora_file(path, max_bytes=MAX_BYTES)
        assert str(refused.value) == NO_FILE
