"""Detectors of whole pictures: how far things are (Depth Anything), what they are (UperNet), where people are.

All of them are transformers' own models, from a folder or the hub, and run on the CPU in float32: see
`engine.worker.detection`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from transformers import (
    AutoImageProcessor,
    AutoModelForDepthEstimation,
    AutoModelForObjectDetection,
    AutoModelForSemanticSegmentation,
)

from engine.control.segmentation import PALETTE, draw_classes
from engine.errors import ModelLoadError
from engine.worker import hub
from engine.worker.detectors import Box

PERSON_THRESHOLD = 0.5
MAX_PEOPLE = 8
_FILES = ["config.json", "preprocessor_config.json", "model.safetensors"]


class DenseDetector:
    """A loaded model with its image processor."""

    def __init__(self, auto_class: Any, source: str, what: str) -> None:
        """Loads it; hub files that are not in the cache are downloaded, only safetensors are read.

        Args:
            auto_class: transformers' class that knows the kinds of models for the task.
            source: A folder as transformers saves it, or a hub id.
            what: For sentences, "depth detector".

        Raises:
            ModelLoadError: There is no such model, or it is damaged.
        """
        self.name = source
        try:
            folder = hub.transformers_folder(source, what, _FILES)
            self.model, report = auto_class.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
            self.processor = AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, backend="pil"
            )
        except ModelLoadError:
            raise
        # What the hub's client and transformers' strict configurations raise has no common base.
        except (SafetensorError, Exception) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelLoadError(f"The {what} {source} cannot be loaded: {lines[0]}") from error
        if report["missing_keys"] or report["mismatched_keys"]:
            raise ModelLoadError(f"The {what} {source} lacks weights: its file is not complete.")
        self.model.eval()

    @torch.inference_mode()
    def run(self, image: Image.Image) -> Any:
        """Returns the model's output for one RGB picture."""
        return self.model(**self.processor([image], return_tensors="pt"))


class DepthDetector(DenseDetector):
    """Depth Anything, DPT and their kin."""

    def __init__(self, source: str) -> None:
        """Loads it, see `DenseDetector`."""
        super().__init__(AutoModelForDepthEstimation, source, "depth detector")

    def find(self, image: Image.Image) -> Image.Image:
        """Returns the depth map, RGB: the nearest is white, the farthest black."""
        depth = self.run(image).predicted_depth  # (1, h, w), relative and larger where it is near
        values = depth[0].float().numpy()
        span = float(values.max() - values.min())
        levels = (values - values.min()) * (255 / span) if span > 0 else np.zeros_like(values)
        small = Image.fromarray(levels.round().astype(np.uint8))
        return small.resize(image.size, Image.Resampling.BICUBIC).convert("RGB")


class ClassDetector(DenseDetector):
    """UperNet, Segformer and their kin, for the 150 classes of ADE20K."""

    def __init__(self, source: str) -> None:
        """Loads it, see `DenseDetector`.

        Raises:
            ModelLoadError: The same, or its classes are not ADE20K's.
        """
        super().__init__(AutoModelForSemanticSegmentation, source, "segmentation detector")
        if self.model.config.num_labels != len(PALETTE):
            raise ModelLoadError(
                f"The segmentation detector {source} knows {self.model.config.num_labels} classes; "
                f"ControlNets read those of ADE20K, which are {len(PALETTE)}. Choose one for ADE20K."
            )

    def find(self, image: Image.Image) -> Image.Image:
        """Returns the picture of the classes in ADE20K's colours, RGB."""
        logits = self.run(image).logits  # (1, 150, h, w)
        logits = torch.nn.functional.interpolate(
            logits.float(), image.size[::-1], mode="bilinear", align_corners=False
        )
        return draw_classes(logits[0].argmax(dim=0).numpy())


class PersonDetector(DenseDetector):
    """RT-DETR and its kin."""

    def __init__(self, source: str) -> None:
        """Loads it, see `DenseDetector`.

        Raises:
            ModelLoadError: The same, or it does not know people.
        """
        super().__init__(AutoModelForObjectDetection, source, "person detector")
        names = {int(key): str(name) for key, name in self.model.config.id2label.items()}
        people = [key for key, name in names.items() if name.casefold() == "person"]
        if not people:
            raise ModelLoadError(
                f"The person detector {source} knows no class person. Choose one for COCO."
            )
        self._person = people[0]

    def find(self, image: Image.Image) -> Sequence[Box]:
        """Returns the box of each person, x, y, width and height in pixels, the surest first."""
        output = self.run(image)
        (found,) = self.processor.post_process_object_detection(
            output, threshold=PERSON_THRESHOLD, target_sizes=[image.size[::-1]]
        )
        order = found["scores"].argsort(descending=True).tolist()
        boxes = []
        for place in order:
            if int(found["labels"][place]) != self._person:
                continue
            left, top, right, bottom = found["boxes"][place].tolist()
            boxes.append((left, top, right - left, bottom - top))
        return boxes[:MAX_PEOPLE]
