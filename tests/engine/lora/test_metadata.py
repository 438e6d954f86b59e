"""What is written into a LoRA's header is read again, and odd headers from elsewhere do no harm."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.lora.metadata import (
    MAX_TEXT,
    MAX_THUMBNAIL_BYTES,
    MAX_WORDS,
    LoraCard,
    LoraInfo,
    build_metadata,
    read_lora_info,
    read_metadata,
)

PNG = b"\x89PNG\r\n\x1a\n and more"
CARD = LoraCard(
    title="Ink wash",
    architecture="stable-diffusion-v1",
    base_version="sd_v1",
    resolution=(512, 768),
    prediction_type="v_prediction",
    trigger_phrase="inkwash style",
    author="somebody",
    description="Brush and water",
    output_name="inkwash",
    tag_frequency={"inkwash style": 30, "tree": 12},
    thumbnail=PNG,
    date=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
)


def test_what_is_written_is_read() -> None:
    metadata = build_metadata(CARD, rank=16, alpha=8, data_sha256="ab" * 32)
    assert all(isinstance(value, str) for value in metadata.values())
    assert read_metadata(metadata) == LoraInfo(
        title="Ink wash",
        triggers=("inkwash style",),
        author="somebody",
        description="Brush and water",
        architecture="stable-diffusion-v1",
        base_version="sd_v1",
        family="sd15",
        rank=16,
        alpha=8.0,
        thumbnail=PNG,
    )


def test_written_entries_are_the_ones_of_both_vocabularies() -> None:
    metadata = build_metadata(CARD, rank=16, alpha=8, data_sha256="ab" * 32, conv=True)
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert metadata["modelspec.resolution"] == "512x768"
    assert metadata["modelspec.prediction_type"] == "v"
    assert metadata["modelspec.date"] == "2026-05-04T03:02:01"
    assert metadata["modelspec.hash_sha256"] == "0x" + "ab" * 32
    assert metadata["modelspec.thumbnail"].startswith("data:image/png;base64,")
    assert metadata["ss_network_module"] == "networks.lora"
    assert metadata["ss_network_dim"] == "16"
    assert metadata["ss_network_alpha"] == "8.0"
    assert json.loads(metadata["ss_network_args"]) == {"conv_dim": 16, "conv_alpha": 8.0}
    assert json.loads(metadata["ss_tag_frequency"]) == {
        "1_inkwash": {"inkwash style": 30, "tree": 12}
    }


def test_thumbnail_that_is_no_picture_is_refused_when_writing() -> None:
    card = LoraCard(
        title="x",
        architecture="a",
        base_version="b",
        resolution=(1, 1),
        prediction_type="epsilon",
        thumbnail=b"<svg/>",
    )
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        build_metadata(card, rank=1, alpha=1, data_sha256="")


@pytest.mark.parametrize(
    ("metadata", "triggers"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": "ohwx man, studio light"}, ("ohwx man", "studio light")),
        ({"ss_trigger_words": '["ohwx", "Ohwx", "man"]'}, ("ohwx", "man")),
        ({"ss_trigger_words": "ohwx; man\nohwx"}, ("ohwx", "man")),
        ({"modelspec.trigger_phrase": "a", "ss_trigger_words": "b"}, ("a", "b")),
        ({"modelspec.trigger_phrase": "None", "ss_trigger_words": "  "}, ()),
        ({"modelspec.trigger_phrase": "a\u202eb\x00c\u200b d"}, ("a b c d",)),
        (
            {"ss_tag_frequency": '{"5_a": {"ohwx": 20, "tree": 3}, "5_b": {"ohwx": 9, "sky": 25}}'},
            ("ohwx", "sky"),
        ),
        (
            {"modelspec.trigger_phrase": "x", "ss_tag_frequency": '{"1": {"y": 5}}'},
            ("x",),
        ),
        ({"ss_tag_frequency": "{broken"}, ()),
        ({"ss_tag_frequency": '["a"]'}, ()),
        ({"ss_tag_frequency": '{"f": {"a": "many", "b": -1, "c": null}}'}, ()),
        ({"ss_tag_frequency": '{"f": ' + "[" * 100_000}, ()),
        ({"ss_tag_frequency": '{"f": {"a": ' + "9" * 5000 + "}}"}, ()),
    ],
)
def test_trigger_words_are_found_where_they_are(
    metadata: dict[str, str], triggers: tuple[str, ...]
) -> None:
    assert read_metadata(metadata).triggers == triggers


def test_long_texts_are_cut() -> None:
    many = ",".join(f"word{i}" for i in range(500))
    info = read_metadata({"modelspec.title": "x" * 10_000, "modelspec.trigger_phrase": many})
    assert len(info.title) == MAX_TEXT
    assert len(info.triggers) == MAX_WORDS


@pytest.mark.parametrize(
    ("dim", "alpha", "rank", "number"),
    [
        ("32", "16.0", 32, 16.0),
        ("Dynamic", "Dynamic", None, None),
        ("None", "None", None, None),
        ("nan", "inf", None, None),
        ("-4", "1e30", None, None),
        ("8.0", "1", 8, 1.0),
        ("", "", None, None),
    ],
)
def test_rank_and_alpha_in_all_spellings(
    dim: str, alpha: str, rank: int | None, number: float | None
) -> None:
    info = read_metadata({"ss_network_dim": dim, "ss_network_alpha": alpha})
    assert (info.rank, info.alpha) == (rank, number)


@pytest.mark.parametrize(
    ("architecture", "base_version", "family"),
    [
        ("stable-diffusion-v1/lora", "sd_v1", "sd15"),
        ("", "sd_v1", "sd15"),
        ("stable-diffusion-v2-768-v/lora", "", "sd2"),
        ("stable-diffusion-xl-v1-base/lora", "sdxl_base_v1-0", "sdxl"),
        ("", "sdxl_base_v0-9", "sdxl"),
        ("easel-pocket-v1/lora", "easel_pocket_v1", "pocket"),
        ("Flux.1-dev/lora", "flux1", ""),
    ],
)
def test_family_of_the_base_model(architecture: str, base_version: str, family: str) -> None:
    info = read_metadata(
        {"modelspec.architecture": architecture, "ss_base_model_version": base_version}
    )
    assert info.family == family


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.org/x.png",
        "data:image/png;base64,not base64!",
        "data:image/png;base64,PHN2Zy8+",  # <svg/>
        "data:text/html;base64,iVBORw==",
        "data:image/png,iVBORw==",
        "data:image/png;base64," + "iVBO" * (MAX_THUMBNAIL_BYTES // 2),
        "ÿ",
    ],
)
def test_thumbnails_that_cannot_be_shown_are_left_out(uri: str) -> None:
    assert read_metadata({"modelspec.thumbnail": uri}).thumbnail == b""


def test_values_that_are_no_text_are_left_out() -> None:
    odd: dict = {"modelspec.title": 7, "ss_network_dim": None, "ss_tag_frequency": {}}
    assert read_metadata(odd) == LoraInfo()


def test_file_without_metadata_says_nothing(tmp_path: Path) -> None:
    header = json.dumps({"a.alpha": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "bare.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    assert read_lora_info(path) == LoraInfo()


def test_reading_metadata_imports_no_torch() -> None:
    code = "import sys, engine.lora.metadata; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
