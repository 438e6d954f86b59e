"""Pose detectors load from folders of any kind of ViTPose, and give 18 points for each box."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, VitPoseBackboneConfig, VitPoseConfig
from transformers.models.vitpose import VitPoseForPoseEstimation
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from engine.errors import ModelLoadError
from engine.pocket.scenes import Scene, render
from engine.worker.detectors import PoseDetector, detect_poses, load_pose_detector


def write_vitpose(
    folder: Path, *, labels: int = 17, experts: int = 1, simple: bool = True, seed: int = 0
) -> Path:
    """Saves a random ViTPose of the public ones' proportions: 4:3, patches of 16, four cells each."""
    torch.manual_seed(seed)
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48],
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_experts=experts,
        part_features=4,
        out_indices=[2],
        initializer_range=0.5,
    )
    config = VitPoseConfig(
        backbone_config=backbone,
        num_labels=labels,
        scale_factor=4,
        use_simple_decoder=simple,
        initializer_range=0.5,
    )
    VitPoseForPoseEstimation(config).save_pretrained(folder)
    VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vitpose(tmp_path_factory.mktemp("vitpose"))


@pytest.fixture(scope="module")
def detector(folder: Path) -> PoseDetector:
    return load_pose_detector(folder)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return render(Scene("meadow", decor=3), 96).image


def test_joints_are_those_that_transformers_own_example_gives(
    detector: PoseDetector, folder: Path, picture: Image.Image
) -> None:
    box = (10.0, 5.0, 60.0, 80.0)
    processor = VitPoseImageProcessorPil.from_pretrained(folder)
    model = VitPoseForPoseEstimation.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor([picture], boxes=[[box]], return_tensors="pt"))
    (expected,) = processor.post_process_pose_estimation(outputs, boxes=[[box]])[0]

    ((pose,),) = detect_poses(detector, [picture], [[box]], threshold=-1e9)
    assert pose.scores == pytest.approx(expected["scores"].tolist(), abs=1e-4)
    nose, left_wrist = expected["keypoints"][0].tolist(), expected["keypoints"][9].tolist()
    for point, (x, y) in ((pose.points[0], nose), (pose.points[7], left_wrist)):
        is_inside = 0 <= x <= 96 and 0 <= y <= 96
        assert point == (pytest.approx((x, y), abs=0.01) if is_inside else None)
    assert len(pose.points) == 18


def test_each_box_of_each_picture_gets_its_pose(
    detector: PoseDetector, picture: Image.Image
) -> None:
    whole, part = (0.0, 0.0, 96.0, 96.0), (20.0, 30.0, 40.0, 50.0)
    other = picture.rotate(90)
    poses = detect_poses(detector, [picture, other, picture], [[part, whole], [], [whole]])
    assert [len(people) for people in poses] == [2, 0, 1]
    assert poses[0][1].scores == pytest.approx(poses[2][0].scores, abs=1e-4)
    assert poses[0][0].scores != pytest.approx(poses[0][1].scores, abs=1e-2)
    (default,) = detect_poses(detector, [picture])
    assert default[0].scores == pytest.approx(poses[2][0].scores, abs=1e-4)


def test_threshold_leaves_unsure_joints_out(detector: PoseDetector, picture: Image.Image) -> None:
    ((sure,),) = detect_poses(detector, [picture], threshold=1e9)
    assert sure.found == 0
    assert sure.points == (None,) * 18


def test_large_picture_is_reduced_and_not_sampled(detector: PoseDetector) -> None:
    squares = np.indices((960, 960)).sum(axis=0) % 2 * 255
    poses = detect_poses(
        detector,
        [Image.fromarray(squares.astype(np.uint8)), Image.new("L", (960, 960), 128)],
    )
    assert poses[0][0].scores == pytest.approx(poses[1][0].scores, abs=0.5)


@pytest.mark.parametrize("kind", [{"experts": 2}, {"simple": False}], ids=["vitpose+", "classic"])
def test_other_kinds_of_vitpose_run_too(
    kind: dict[str, int], tmp_path: Path, picture: Image.Image
) -> None:
    other = load_pose_detector(write_vitpose(tmp_path, **kind))
    ((pose,),) = detect_poses(other, [picture])
    assert len(pose.points) == 18


def test_processor_is_found_by_its_name_in_the_folder(folder: Path) -> None:
    saved = json.loads((folder / "preprocessor_config.json").read_text())
    assert saved["size"] == {"height": 64, "width": 48}
    assert isinstance(
        AutoImageProcessor.from_pretrained(folder, backend="pil"), VitPoseImageProcessorPil
    )


def test_what_is_no_detector_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no folder"):
        load_pose_detector(tmp_path / "nothing")
    with pytest.raises(ModelLoadError, match="no folder"):
        load_pose_detector("./nothing")
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load_pose_detector(tmp_path)
    with pytest.raises(ModelLoadError, match="finds 21 points"):
        load_pose_detector(write_vitpose(tmp_path / "hands", labels=21))

    pickled = shutil.copytree(folder, tmp_path / "pickled")
    torch.save({}, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load_pose_detector(pickled)

    partial = shutil.copytree(folder, tmp_path / "partial")
    weights = load_file(partial / "model.safetensors")
    weights.pop("head.conv.weight")
    save_file(weights, partial / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match="lacks weights"):
        load_pose_detector(partial)

    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load_pose_detector(broken)
