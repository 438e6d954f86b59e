"""Looks at finished pictures: diffusers' safety checker says how near each one is to what it knows as unsafe.

On the CPU in float32 and in a thread of its own (see `engine.worker.encoding`), for the reasons of
`engine.worker.detection`: the rows' memory must not shrink under them, and no step waits for it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import (
    StableDiffusionSafetyChecker,
    cosine_distance,
)
from PIL import Image
from safetensors import SafetensorError
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils import logging as transformers_logging

from engine.errors import ModelLoadError
from engine.model_card import SAFETY_CHECKER_FILES, check_safety_checker, read_json
from engine.worker import hub

_PROCESSOR = "preprocessor_config.json"
_SPECIAL_CARE = 0.01  # nearer to every concept, when the picture is near to one that asks for care
_TRIAL_SIDE = 64


class Classifier:
    """A loaded checker with its image processor."""

    def __init__(self, source: str) -> None:
        """Loads it; hub files that are not in the cache are downloaded, only safetensors are read.

        Args:
            source: A folder as diffusers saves it, or a hub id.

        Raises:
            ModelLoadError: There is no such checker, or it is damaged.
        """
        transformers_logging.disable_progress_bar()  # of loading, in the operator's log
        try:
            folder = hub.transformers_folder(
                source, "safety checker", (*SAFETY_CHECKER_FILES, _PROCESSOR)
            )
            check_safety_checker(source, read_json(folder / "config.json"))
            self._checker, report = StableDiffusionSafetyChecker.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
            self._processor = _processor(folder, self._checker.config.vision_config.image_size)
        except ModelLoadError:
            raise
        # What the hub's client and transformers' strict configurations raise has no common base.
        except (SafetensorError, Exception) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelLoadError(
                f"The safety checker {source} cannot be loaded: {lines[0]}"
            ) from error
        if report["missing_keys"] or report["mismatched_keys"]:
            raise ModelLoadError(
                f"The safety checker {source} lacks weights: its file is not complete."
            )
        self._checker.eval()
        try:
            self.score(Image.new("RGB", (_TRIAL_SIDE, _TRIAL_SIDE)))
        except ValueError as error:
            raise ModelLoadError(f"The safety checker {source} is damaged: {error}") from error

    @torch.inference_mode()
    def score(self, image: Image.Image) -> float:
        """Returns how far the RGB picture is beyond the nearest concept's threshold.

        Above 0 the checker itself finds the picture unsafe; it rounds to three digits, too.

        Raises:
            ValueError: The weights give no numbers.
        """
        checker = self._checker
        pixels = self._processor([image], return_tensors="pt")["pixel_values"]  # (1, 3, H, W)
        embeds = checker.visual_projection(checker.vision_model(pixels)[1])  # (1, D)
        special = cosine_distance(embeds, checker.special_care_embeds)[0]
        concepts = cosine_distance(embeds, checker.concept_embeds)[0]
        care = (special - checker.special_care_embeds_weights).tolist()
        needs_care = any(round(value, 3) > 0 for value in care)
        near: list[float] = (concepts - checker.concept_embeds_weights).tolist()
        if not all(map(math.isfinite, [*care, *near])):
            raise ValueError("its weights give no numbers.")
        return round(max(near) + (_SPECIAL_CARE if needs_care else 0.0), 3)


def _processor(folder: Path, side: int) -> Any:
    """Returns what makes CLIP's input: the folder's own, the one beside it in a pipeline, or CLIP's."""
    for place in (folder, folder.parent / "feature_extractor"):
        if (place / _PROCESSOR).is_file():
            return CLIPImageProcessorPil.from_pretrained(place, local_files_only=True)
    size = {"shortest_edge": side}
    return CLIPImageProcessorPil(size=size, crop_size={"height": side, "width": side})
