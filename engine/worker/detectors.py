"""Pose detectors: a ViTPose, from a folder or the hub, finds the joints of people in a picture.

The pocket detector and the public ones (`usyd-community/vitpose-base-simple`) run the same code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from PIL import Image
from safetensors import SafetensorError
from transformers import VitPoseForPoseEstimation

# By its own name: the plain one needs torchvision and would warn that it falls back to this.
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from engine.control.openpose import Point, from_coco
from engine.errors import ModelLoadError

POSE_THRESHOLD = 0.3
"""A joint whose heatmap's peak is lower was not found."""

COCO_POINTS = 17
CROPS_AT_ONCE = 16
BOX_MARGIN = 1.25  # the processor looks at this much more than the box

Box = tuple[float, float, float, float]
"""x, y, width and height in pixels, as COCO and transformers have it."""

_FILES = ["config.json", "preprocessor_config.json", "model.safetensors"]


@dataclass(frozen=True, slots=True)
class PoseDetector:
    """A loaded ViTPose, its processor, and the device and dtype that it computes in."""

    name: str
    processor: Any
    model: Any
    device: Any
    dtype: Any


@dataclass(frozen=True, slots=True)
class Pose:
    """One person.

    Attributes:
        points: OpenPose's 18 in pixels of the picture; None where a joint was not found.
        scores: How sure the detector is of COCO's 17, about 0 to 1.
    """

    points: tuple[Point | None, ...]
    scores: tuple[float, ...]

    @property
    def found(self) -> int:
        """How many of the 18 points are known."""
        return sum(point is not None for point in self.points)


def load_pose_detector(
    source: str | Path, *, device: Any = "cpu", dtype: Any = torch.float32
) -> PoseDetector:
    """Loads a ViTPose.

    Args:
        source: A folder as transformers saves it, or a hub id, whose files are downloaded when they
            are not in the cache. Only safetensors are read.
        device: Where it computes.
        dtype: What it computes in.

    Raises:
        ModelLoadError: There is no such detector, it is damaged, or its points are not COCO's 17.
    """
    name = str(source)
    try:
        folder = _folder_of(source)
        model, report = VitPoseForPoseEstimation.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        processor = VitPoseImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except ModelLoadError:
        raise
    # What the hub's client and transformers' strict configurations raise has no common base.
    except (SafetensorError, Exception) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelLoadError(f"The pose detector {name} cannot be loaded: {lines[0]}") from error
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ModelLoadError(f"The pose detector {name} lacks weights: its file is not complete.")
    if model.config.num_labels != COCO_POINTS:
        raise ModelLoadError(
            f"The pose detector {name} finds {model.config.num_labels} points; Easel reads those of "
            f"COCO, which are {COCO_POINTS}. Choose a ViTPose for COCO."
        )
    return PoseDetector(name, processor, model.to(device).eval(), torch.device(device), dtype)


def _folder_of(source: str | Path) -> Path:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ModelLoadError(
            f"There is no folder {source}. A pose detector is a folder with {', '.join(_FILES)}, or "
            "a hub id such as usyd-community/vitpose-base-simple."
        )
    return Path(snapshot_download(source, allow_patterns=_FILES))


def detect_poses(
    detector: PoseDetector,
    images: Sequence[Image.Image],
    boxes: Sequence[Sequence[Box]] | None = None,
    threshold: float = POSE_THRESHOLD,
) -> list[list[Pose]]:
    """Finds the joints of the people in pictures; the same picture always gives the same joints.

    Args:
        detector: From `load_pose_detector`.
        images: Decoded pictures of any size.
        boxes: One for each person, for each picture. Without them there is one person in each
            picture, and the box is the whole picture.
        threshold: Joints with a lower score are left out, and so are those outside of the picture.

    Returns:
        For each picture its people, in the order of their boxes.
    """
    if boxes is None:
        boxes = [[(0.0, 0.0, float(image.width), float(image.height))] for image in images]
    crops = [
        (image.convert("RGB"), box)
        for image, people in zip(images, boxes, strict=True)
        for box in people
    ]
    found = [
        pose
        for start in range(0, len(crops), CROPS_AT_ONCE)
        for pose in _detect(detector, crops[start : start + CROPS_AT_ONCE], threshold)
    ]
    rest = iter(found)
    return [[next(rest) for _ in people] for people in boxes]


@torch.inference_mode()
def _detect(
    detector: PoseDetector, crops: Sequence[tuple[Image.Image, Box]], threshold: float
) -> Iterator[Pose]:
    size = detector.processor.size
    factors = [_reduction(box, size["width"], size["height"]) for _, box in crops]
    small = [image.reduce(k) for (image, _), k in zip(crops, factors, strict=True)]
    boxes = [[[v / k for v in box]] for (_, box), k in zip(crops, factors, strict=True)]
    inputs = detector.processor(small, boxes=boxes, return_tensors="pt")
    pixels = inputs["pixel_values"].to(detector.device, detector.dtype)  # (B, 3, H, W)
    experts = {}
    if detector.model.config.backbone_config.num_experts > 1:  # ViTPose+: the first is COCO's
        experts = {"dataset_index": torch.zeros(len(crops), dtype=torch.long, device=pixels.device)}
    outputs = detector.model(pixels, **experts)
    outputs.heatmaps = outputs.heatmaps.float()  # scipy knows no half precision
    results = detector.processor.post_process_pose_estimation(outputs, boxes=boxes)
    for (image, _), k, (result,) in zip(crops, factors, results, strict=True):
        points = result["keypoints"].numpy() * k
        scores = result["scores"].numpy()
        inside = (points >= 0).all(axis=1) & (points <= image.size).all(axis=1)
        seen = np.where(inside, scores, -math.inf)
        yield Pose(from_coco(points, seen, threshold), tuple(float(score) for score in scores))


def _reduction(box: Box, width: int, height: int) -> int:
    """By how much a large picture is reduced first: the processor samples single pixels of it."""
    return max(1, int(BOX_MARGIN * max(box[2] / width, box[3] / height) / 2))
