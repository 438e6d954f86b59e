"""Pictures are read beside the loop, by detectors of transformers' own classes."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    SwinConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from engine import protocol
from engine.control.maps import AUTO, Fit, MapRequest
from engine.control.segmentation import PALETTE
from engine.errors import ModelLoadError
from engine.model_card import detector_sources
from engine.pocket import POSE_DETECTOR_DIR
from engine.pocket.hints import skeleton_of
from engine.pocket.scenes import SIZE, Scene, render, sample_scene
from engine.protocol import Frame
from engine.settings import EngineSettings
from engine.worker.dense_detectors import ClassDetector, DepthDetector, PersonDetector
from engine.worker.detection import Detection, Detectors
from tests.engine.worker.local import LocalEngine, png_of

PERSON = sample_scene(Random(5), "person")


class Asked:
    """A detection whose answers are kept."""

    def __init__(self, engine: LocalEngine, kinds: Sequence[str], **sources: str) -> None:
        import dataclasses

        info = dataclasses.replace(engine.info, control_kinds=tuple(kinds))
        self.answers: list[Frame] = []
        self.threads: set[str] = set()
        self.detection = Detection(info, sources, self._keep)

    def _keep(self, kind: str, fields: Mapping[str, Any], blobs: Sequence[bytes]) -> None:
        protocol.encode(kind, fields, blobs)  # fails here when it cannot travel
        self.threads.add(threading.current_thread().name)
        self.answers.append(Frame(kind, fields, tuple(blobs)))

    def ask(self, image: Image.Image, *requests: MapRequest) -> list[Frame]:
        for number, request in enumerate(requests):
            fields = {"call_id": number, "request": protocol.pack(request)}
            self.detection.ask(Frame("detect", fields, (png_of(image),)))
        self.detection.drain()
        return self.answers


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Random models of the public ones' classes."""
    root = tmp_path_factory.mktemp("detectors")
    torch.manual_seed(0)
    dinov2 = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    depth = DepthAnythingConfig(
        backbone_config=dinov2,
        reassemble_hidden_size=16,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        patch_size=14,
        initializer_range=0.3,
    )
    DepthAnythingForDepthEstimation(depth).save_pretrained(root / "depth")
    DPTImageProcessorPil(
        size={"height": 56, "width": 56}, ensure_multiple_of=14, keep_aspect_ratio=True
    ).save_pretrained(root / "depth")
    swin = SwinConfig(
        image_size=32,
        embed_dim=8,
        depths=[1, 1],
        num_heads=[1, 2],
        window_size=4,
        out_features=["stage1", "stage2"],
    )
    upernet = UperNetConfig(
        backbone_config=swin,
        hidden_size=8,
        num_labels=150,
        use_auxiliary_head=False,
        initializer_range=0.3,
    )
    UperNetForSemanticSegmentation(upernet).save_pretrained(root / "segmentation")
    SegformerImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(
        root / "segmentation"
    )
    resnet = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    rt_detr = RTDetrConfig(
        backbone_config=resnet,
        num_labels=2,
        id2label={0: "person", 1: "bicycle"},
        label2id={"person": 0, "bicycle": 1},
        encoder_in_channels=[8, 8, 8],
        encoder_hidden_dim=16,
        d_model=16,
        num_queries=6,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        decoder_in_channels=[16, 16, 16],
    )
    RTDetrForObjectDetection(rt_detr).save_pretrained(root / "people")
    RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(root / "people")
    return {folder.name: str(folder) for folder in root.iterdir()}


@pytest.fixture
def picture() -> Image.Image:
    return render(PERSON).image.resize((90, 60))


def test_a_person_is_found_and_a_meadow_has_nobody(sd15: LocalEngine) -> None:
    found = Detectors({"pose": str(POSE_DETECTOR_DIR)})
    (skeleton,) = found.people(render(PERSON).image)
    expected = skeleton_of(PERSON)
    distances = [
        np.hypot(a[0] - b[0], a[1] - b[1])
        for a, b in zip(skeleton, expected, strict=True)
        if a is not None
    ]
    assert len(distances) >= 15
    assert np.median(distances) < 0.03 * SIZE
    nobody = [render(Scene("meadow", decor=3)).image, Image.new("RGB", (64, 64), "gray")]
    assert [found.people(image) for image in nobody] == [[], []]


def test_answers_come_from_a_thread_of_their_own_in_order(sd15: LocalEngine) -> None:
    asked = Asked(sd15, ["canny", "openpose"], pose=str(POSE_DETECTOR_DIR))
    answers = asked.ask(
        render(PERSON).image,
        MapRequest(AUTO, 128, 64, Fit.PAD),
        MapRequest("canny", 64, 64, mirror=True),
        MapRequest("depth", 64, 64),
    )
    assert [answer.fields["call_id"] for answer in answers] == [0, 1, 2]
    assert threading.current_thread().name not in asked.threads
    pose, edges, refusal = answers
    assert pose.fields["value"]["kind"] == "openpose"
    assert len(pose.fields["value"]["people"][0]) == 18
    assert Image.open(io.BytesIO(pose.blobs[0])).size == (128, 64)
    assert edges.fields["value"] == {"kind": "canny", "people": (), "was_map": False}
    assert refusal.fields["value"]["error"] == "InvalidRequestError"
    assert "no model here that reads depth" in refusal.fields["value"]["message"]


def test_the_loop_goes_on_while_a_picture_is_read(tiny_sd15: Path) -> None:
    engine = LocalEngine(tiny_sd15)
    engine.join("runs", num_inference_steps=2)
    fields = {"call_id": 9, "request": protocol.pack(MapRequest(AUTO, 64, 64))}
    engine.loop.handle(Frame("detect", fields, (png_of(render(PERSON).image),)))
    engine.finish()
    engine.loop.detection.drain()
    (reply,) = [frame for frame in engine.frames if frame.kind == "reply"]
    assert reply.fields["value"]["kind"] == "canny", "no detector of poses is configured"
    assert engine.last("runs").kind == "done"


def test_depth_is_a_grey_picture_of_the_same_size(
    folders: Mapping[str, str], picture: Image.Image
) -> None:
    found = DepthDetector(folders["depth"]).find(picture)
    assert (found.mode, found.size) == ("RGB", picture.size)
    levels = np.asarray(found)
    assert (levels[..., 0] == levels[..., 1]).all()
    assert (levels.min() < 10, levels.max() > 245) == (True, True)


def test_classes_are_drawn_in_the_colours_of_ade20k(
    folders: Mapping[str, str], picture: Image.Image
) -> None:
    found = ClassDetector(folders["segmentation"]).find(picture)
    assert found.size == picture.size
    colours = {colour for _, colour in found.getcolors(10_000)}
    assert colours <= set(map(tuple, PALETTE.tolist()))
    assert len(colours) > 1


def test_people_are_boxes_inside_of_the_picture(
    folders: Mapping[str, str], picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.worker.dense_detectors.PERSON_THRESHOLD", 0.0)
    boxes = PersonDetector(folders["people"]).find(picture)
    assert 1 <= len(boxes) <= 6
    for left, top, width, height in boxes:
        assert left > -picture.width
        assert left + width < 2 * picture.width
        assert top > -picture.height
        assert min(width, height) > 0
    Detectors({"pose": str(POSE_DETECTOR_DIR), "people": folders["people"]}).people(picture)


def test_dense_maps_are_made_by_the_configured_models(
    sd15: LocalEngine, folders: Mapping[str, str], picture: Image.Image
) -> None:
    asked = Asked(
        sd15, ["depth", "segmentation"],
        depth=folders["depth"], segmentation=folders["segmentation"],
    )  # fmt: skip
    kinds = ("depth", "segmentation", AUTO)
    answers = asked.ask(picture, *(MapRequest(kind, 96, 64) for kind in kinds))
    assert [a.fields["value"]["kind"] for a in answers] == ["depth", "segmentation", "depth"]
    segments = Image.open(io.BytesIO(answers[1].blobs[0]))
    assert {c for _, c in segments.getcolors(10_000)} <= set(map(tuple, PALETTE.tolist()))


def test_a_broken_detector_is_told_to_the_operator(
    sd15: LocalEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Asked(sd15, ["openpose", "depth"], pose=str(tmp_path), depth="./nothing")
    answers = asked.ask(
        render(PERSON).image, MapRequest("openpose", 64, 64), MapRequest("depth", 64, 64)
    )
    for answer in answers:
        # Of this class the asker is shown the sentence.
        assert answer.fields["value"]["error"] == "InvalidRequestError"
        assert "Choose another control" in answer.fields["value"]["message"]
    assert "cannot be loaded" in caplog.text
    assert "no folder ./nothing" in caplog.text


def test_detectors_of_other_kinds_are_refused(folders: Mapping[str, str], tmp_path: Path) -> None:
    import json
    import shutil

    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        DepthDetector(folders["people"])
    bicycles = Path(shutil.copytree(folders["people"], tmp_path / "bicycles"))
    config = json.loads((bicycles / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "car", "1": "bicycle"}, {"car": 0, "bicycle": 1}
    (bicycles / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="no class person"):
        PersonDetector(str(bicycles))


def test_detectors_come_from_the_setting() -> None:
    def sources(model: str = "pocket", detectors: str | None = None) -> dict[str, str]:
        return detector_sources(EngineSettings(model=model, device="cpu", detectors=detectors))

    assert sources() == {"pose": str(POSE_DETECTOR_DIR)}
    assert sources(detectors="depth=a/b, people = c/d") == {
        "pose": str(POSE_DETECTOR_DIR), "depth": "a/b", "people": "c/d",
    }  # fmt: skip
    assert sources("some/model")["pose"].startswith("usyd-community/vitpose")
    for wrong in ("hands=a/b", "depth=", "depth"):
        with pytest.raises(ModelLoadError, match="write name="):
            sources(detectors=wrong)
