"""How well a pose detector finds the joints of drawn people that it was never trained on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from engine.control.openpose import JOINTS
from engine.pocket.scenes import SIZE, render, sample_scene
from engine.worker.detectors import PoseDetector, detect_poses, load_pose_detector

SEED = "pose detector"


@dataclass(frozen=True)
class PoseDetectorScore:
    """Shares of the joints, and distances as shares of the picture's height.

    Attributes:
        joints: Those inside of the pictures; one that was not found is in none of the shares.
        mean_error: Of the joints found.
        weakest: The joint that is within 5 % least often, and how often that is.
        nobody: Share of pictures without a person in which less than three joints are found.
        seconds_each: To find one person, on this machine.
    """

    pictures: int
    joints: int
    within_5: float
    within_8: float
    found: float
    mean_error: float
    weakest: tuple[str, float]
    nobody: float
    seconds_each: float


def measure(
    detector: PoseDetector | Path,
    count: int,
    change: Callable[[list[Image.Image]], list[Image.Image]] | None = None,
) -> PoseDetectorScore:
    """Looks at `count` people in held-out clothes, and at a fifth as many pictures without people.

    Args:
        detector: A loaded one, or its folder.
        count: Of people, each in a picture of its own, the same ones each time.
        change: What is done to the pictures first, such as sending them through an autoencoder.
    """
    if isinstance(detector, Path):
        detector = load_pose_detector(detector)
    drawings = [
        render(sample_scene(Random(f"{SEED}/{i}"), "person", held_out=True)) for i in range(count)
    ]
    images = [drawing.image for drawing in drawings]
    images = change(images) if change else images
    started = time.perf_counter()
    poses = detect_poses(detector, images)
    seconds = time.perf_counter() - started
    truth = np.array([drawing.joints for drawing in drawings])  # (N, 18, 2)
    found = np.array([[point or (np.nan, np.nan) for point in pose.points] for (pose,) in poses])
    seen = np.asarray(np.logical_and(truth >= 0, truth < SIZE).all(axis=2))  # (N, 18)
    errors = np.linalg.norm(found - truth, axis=2) / SIZE  # (N, 18); NaN is no share of anything
    each = [float((errors[:, i] <= 0.05)[seen[:, i]].mean()) for i in range(len(JOINTS))]
    low = int(np.argmin(each))
    return PoseDetectorScore(
        pictures=count,
        joints=int(seen.sum()),
        within_5=float((errors <= 0.05)[seen].mean()),
        within_8=float((errors <= 0.08)[seen].mean()),
        found=float(np.isfinite(errors)[seen].mean()),
        mean_error=float(np.nanmean(errors[seen])),
        weakest=(JOINTS[low], each[low]),
        nobody=_nobody(detector, max(1, count // 5), change),
        seconds_each=seconds / count,
    )


def _nobody(
    detector: PoseDetector,
    count: int,
    change: Callable[[list[Image.Image]], list[Image.Image]] | None,
) -> float:
    images = []
    for i in range(count):
        rng = Random(f"{SEED}/nobody/{i}")
        category = rng.choice(("single", "thing", "setting", "pair"))
        images.append(render(sample_scene(rng, category, held_out=True)).image)
    poses = detect_poses(detector, change(images) if change else images)
    return sum(pose.found < 3 for (pose,) in poses) / count
