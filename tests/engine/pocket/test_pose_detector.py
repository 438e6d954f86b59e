"""The pose detector: a short real training exports what the engine loads; the committed one finds people."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
import torch
from transformers.models.vitpose.modeling_vitpose import VitPoseEstimatorOutput

from engine.control.openpose import COLOURS, JOINTS, LIMB_BRIGHTNESS, draw_skeleton
from engine.pocket import MODEL_DIR, POSE_DETECTOR_DIR
from engine.pocket.loop import Plan, State, Worker
from engine.pocket.pose_detector import (
    CHECKPOINT,
    TINY,
    PoseSizes,
    build_detector,
    build_processor,
    export_detector,
    heatmap_loss,
    heatmap_targets,
    make_soft,
    train_detector,
)
from engine.pocket.pose_pictures import (
    COCO,
    draw_example,
    example_of,
    mirrored,
    person_box,
    training_example,
)
from engine.pocket.scenes import SIZE, render, sample_scene
from engine.pocket.scores.pose_detector import measure
from engine.worker.detectors import PoseDetector, detect_poses, load_pose_detector


@pytest.fixture(scope="module")
def committed() -> PoseDetector:
    return load_pose_detector(POSE_DETECTOR_DIR)


def a_worker(work: Path) -> Worker:
    return Worker(0, 1, work, torch.device("cpu"), seed=1)


def test_short_training_learns_resumes_and_exports_what_the_engine_loads(tmp_path: Path) -> None:
    worker = a_worker(tmp_path)
    plan = Plan("pose", 24, 8, 1e-3, checkpoint_every=8)
    train_detector(worker, plan, TINY)
    longer = Plan("pose", 48, 8, 1e-3, checkpoint_every=8)
    model = train_detector(worker, longer, TINY)
    state = State(build_detector(TINY), tmp_path / CHECKPOINT)
    assert state.load()
    assert (state.samples, state.step) == (48, 6)

    export_detector(tmp_path, tmp_path / "pose", TINY)
    names = {path.name for path in (tmp_path / "pose").iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json"}
    detector = load_pose_detector(tmp_path / "pose")
    for name, weights in model.state_dict().items():
        assert torch.allclose(detector.model.state_dict()[name], weights, atol=1e-3)
    ((pose,),) = detect_poses(detector, [draw_example(Random(1)).image], threshold=-10)
    assert len(pose.points) == 18


def test_training_makes_the_loss_smaller(tmp_path: Path) -> None:
    examples = [draw_example(Random(i)) for i in range(8)]
    boxes = [(0.0, 0.0, 128.0, 128.0)] * 8
    targets = torch.from_numpy(heatmap_targets(examples, boxes, TINY))
    pixels = build_processor(TINY)(
        [e.image for e in examples], boxes=[[box] for box in boxes], return_tensors="pt"
    )["pixel_values"]

    def loss_after(samples: int) -> float:
        plan = Plan("pose", samples, 8, 3e-3, checkpoint_every=800, warm_up=10)
        model = train_detector(a_worker(tmp_path), plan, TINY)
        with torch.no_grad():
            return float(heatmap_loss(model(pixels).heatmaps, targets))

    at_first = loss_after(8)
    assert loss_after(200) < 0.8 * at_first  # goes on with the same weights


def test_heatmaps_that_are_the_targets_are_read_as_the_joints() -> None:
    sizes = PoseSizes()
    rng = Random(3)
    examples = [example_of(sample_scene(rng, "person")) for _ in range(6)]
    boxes = [person_box(example, rng) for example in examples]
    assert len(set(boxes)) > 1
    heatmaps = torch.from_numpy(heatmap_targets(examples, boxes, sizes))
    results = build_processor(sizes).post_process_pose_estimation(
        VitPoseEstimatorOutput(heatmaps=heatmaps), boxes=[[box] for box in boxes]
    )
    for example, (result,) in zip(examples, results, strict=True):
        sure = example.seen & (result["scores"].numpy() > 0.5)
        assert sure.sum() >= 14
        errors = np.linalg.norm(result["keypoints"].numpy() - example.points, axis=1)
        assert errors[sure].max() < 0.7  # pixels of 128


def test_loss_is_least_where_the_heatmaps_are_the_targets() -> None:
    example = example_of(sample_scene(Random(5), "person"))
    targets = torch.from_numpy(heatmap_targets([example], [(0, 0, 128, 128)], TINY))
    least = heatmap_loss(targets, targets)
    for other in (targets.roll(1, dims=3), torch.zeros_like(targets), targets * 0.9, targets * 1.1):
        assert heatmap_loss(other, targets) > least + 1e-3


def test_mirrored_person_waves_with_the_other_hand() -> None:
    example = example_of(sample_scene(Random(8), "person"))
    other = mirrored(example)
    left, right = COCO.index("left_wrist"), COCO.index("right_wrist")
    assert other.points[left] == pytest.approx(
        [SIZE - example.points[right][0], example.points[right][1]]
    )
    again = mirrored(other)
    assert np.allclose(again.points, example.points, atol=1e-4)
    assert np.array_equal(np.asarray(again.image), np.asarray(example.image))


def test_joints_outside_of_the_picture_are_not_looked_for() -> None:
    examples = [draw_example(Random(i)) for i in range(60)]
    cut = [e for e in examples if 0 < e.seen.sum() < 17]
    assert len(cut) > 5, "some people are partly outside"
    assert any(not e.seen.any() for e in examples), "some pictures have nobody"
    for example in cut:
        targets = heatmap_targets([example], [(0, 0, 128, 128)], PoseSizes())[0]
        assert (targets.max(axis=(1, 2)) > 0.5).tolist() == example.seen.tolist()


def test_soft_pictures_keep_the_joints_and_are_made_once(tmp_path: Path) -> None:
    worker = a_worker(tmp_path)
    soft = make_soft(worker, 3, MODEL_DIR)
    assert len(soft) == 3
    clean = draw_example(Random(f"{worker.seed}/soft/0"))
    assert np.array_equal(soft[0].points, clean.points)
    change = np.abs(np.asarray(soft[0].image, int) - np.asarray(clean.image, int)).mean()
    assert 0.5 < change < 40
    again = make_soft(worker, 3, tmp_path / "no model")
    assert np.array_equal(np.asarray(again[2].image), np.asarray(soft[2].image))
    taken = [training_example(Random(i), soft) for i in range(12)]
    assert all(example.image.size == (SIZE, SIZE) for example in taken)


def test_committed_weights_find_the_joints_of_new_people(committed: PoseDetector) -> None:
    score = measure(committed, 12)
    assert score.within_8 > 0.9
    assert score.mean_error < 0.05
    assert score.joints > 12 * 15
    size = sum(path.stat().st_size for path in POSE_DETECTOR_DIR.iterdir())
    assert size < 3_000_000


def test_large_picture_gives_the_same_joints_as_a_small_one(committed: PoseDetector) -> None:
    scene = sample_scene(Random(21), "person", held_out=True)
    ((small,),) = detect_poses(committed, [render(scene).image])
    ((large,),) = detect_poses(committed, [render(scene, 1024).image])
    pairs = [pair for pair in zip(small.points, large.points, strict=True) if all(pair)]
    assert len(pairs) >= 15
    for a, b in pairs:
        assert a is not None
        assert b is not None
        assert np.hypot(b[0] / 8 - a[0], b[1] / 8 - a[1]) < 4


def test_picture_becomes_a_skeleton_with_its_limbs_in_the_right_colours(
    committed: PoseDetector,
) -> None:
    drawing = render(sample_scene(Random(12), "person", held_out=True), 256)
    assert drawing.joints is not None
    ((pose,),) = detect_poses(committed, [drawing.image])
    skeleton = np.asarray(draw_skeleton(pose.points, 256, 256)).astype(int)
    joint = dict(zip(JOINTS, drawing.joints, strict=True))
    for first, second, limb in (
        ("right_shoulder", "right_elbow", 2),
        ("left_elbow", "left_wrist", 5),
        ("right_hip", "right_knee", 7),
        ("left_knee", "left_ankle", 11),
    ):
        colour = np.array([int(v * LIMB_BRIGHTNESS) for v in COLOURS[limb]])
        places = np.argwhere(np.abs(skeleton - colour).sum(axis=2) == 0)
        assert len(places) > 20, f"{first} to {second} is drawn"
        middle = [(joint[first][axis] + joint[second][axis]) / 2 for axis in (1, 0)]
        assert np.abs(places.mean(axis=0) - middle).max() < 0.06 * 256


def test_picture_of_nobody_gives_no_person(committed: PoseDetector) -> None:
    poses = detect_poses(committed, [Image.new("RGB", (128, 128), c) for c in ("white", "red")])
    assert all(pose.found < 3 for (pose,) in poses)
