"""Whether pictures follow a ControlNet, on poses, layouts and combinations of colours never trained on.

Prompts tell kinds and colours, of a person never the pose: that can come from the control picture alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import cv2
import numpy as np
from PIL import Image

from engine.control.edges import canny
from engine.pocket.captions import canonical_caption
from engine.pocket.hints import hint_of, skeleton_of
from engine.pocket.reading import DIFFERENT, Mask, background_of
from engine.pocket.scenes import SETTINGS, Scene, render, sample_scene
from engine.pocket.scores.limbs import Points, joints_found, joints_near, limbs_dressed
from engine.pocket.scores.studio import Order, Studio

CATEGORIES = ("person", "thing", "single", "pair")
TOLERANCE = 1  # pixels that an edge may be off
EDGE_PIXELS = 60  # that a picture has at least when it is to be drawn by its edges


@dataclass(frozen=True)
class PoseScore:
    """Shares over all pictures; beside each the same for the skeleton of another picture.

    Attributes:
        limbs: Places along arms, trunk and legs that have the colour of the garment asked for there.
        joints: Joints that the pose detector finds within `limbs.NEAR` of where they were asked for; None without
            a detector.
    """

    pictures: int
    limbs: float
    limbs_of_wrong: float
    joints: float | None
    joints_of_wrong: float | None


@dataclass(frozen=True)
class OverlapScore:
    """Mean intersection over union of what was asked for and what was drawn.

    Attributes:
        prompt_alone: The same for the same prompts and seeds without control.
        by_category: The overlap of each category of scenes.
    """

    kind: str
    pictures: int
    overlap: float
    prompt_alone: float
    by_category: tuple[tuple[str, float], ...]

    @property
    def gain(self) -> float:
        """How many times the overlap is that of the prompt alone."""
        return self.overlap / self.prompt_alone if self.prompt_alone else float("inf")


def measure_pose(
    studio: Studio, controlnets: Path, count: int, detector: Path | None = None
) -> PoseScore:
    """Draws `count` persons with the ControlNet `openpose` and looks where their limbs are.

    Args:
        studio: Draws with the model.
        controlnets: Folder of the ControlNets, one folder for each kind.
        count: Of pictures, the same ones each time.
        detector: Folder of the pose detector, if there is one.
    """
    scenes = unseen_scenes("person", count)
    pictures = _draw(studio, controlnets, "openpose", scenes)
    found = joints_found(detector, pictures) if detector else None
    return judge_poses(scenes, pictures, found)


def measure_edges(studio: Studio, controlnets: Path, count: int) -> OverlapScore:
    """Draws `count` pictures after Canny edges and compares the edges of the results."""
    return _measure_overlap(studio, controlnets, "canny", count)


def measure_depth(studio: Studio, controlnets: Path, count: int) -> OverlapScore:
    """Draws `count` pictures after depth maps and compares what stands before the background."""
    return _measure_overlap(studio, controlnets, "depth", count)


def measure_segmentation(studio: Studio, controlnets: Path, count: int) -> OverlapScore:
    """Draws `count` pictures after class maps and compares what stands before the background."""
    return _measure_overlap(studio, controlnets, "segmentation", count)


def _measure_overlap(studio: Studio, controlnets: Path, kind: str, count: int) -> OverlapScore:
    scenes = mixed_scenes(count, edges=kind == "canny")
    pictures = _draw(studio, controlnets, kind, scenes)
    alone = studio.draw([Order(prompt_of(scene), i) for i, scene in enumerate(scenes)])
    return judge_overlaps(kind, scenes, pictures, alone)


def unseen_scenes(category: str, count: int, *, edges: bool = False) -> list[Scene]:
    """Scenes before plain backgrounds in combinations that no training picture has; always the same.

    With `edges` only those of which Canny sees something: red on brown, say, is too even for it.
    """
    scenes: list[Scene] = []
    number = 0
    while len(scenes) < count:
        scene = sample_scene(Random(f"control/{category}/{number}"), category, held_out=True)
        number += 1
        if scene.background in SETTINGS:
            continue
        if edges and _edges(render(scene).image).sum() < EDGE_PIXELS:
            continue
        scenes.append(scene)
    return scenes


def mixed_scenes(count: int, *, edges: bool = False) -> list[Scene]:
    """As many scenes of each of `CATEGORIES`, in turn."""
    size = -(-count // len(CATEGORIES))
    each = [unseen_scenes(category, size, edges=edges) for category in CATEGORIES]
    return [scene for group in zip(*each, strict=True) for scene in group][:count]


def prompt_of(scene: Scene) -> str:
    """What the picture shows in which colours; nothing about a person's pose."""
    if scene.person:
        scene = replace(scene, person=replace(scene.person, action=""))
    return canonical_caption(scene)


def _draw(
    studio: Studio, controlnets: Path, kind: str, scenes: Sequence[Scene]
) -> list[Image.Image]:
    return studio.draw([
        Order(prompt_of(scene), i, control=controlnets / kind, hint=hint_of(kind, scene))
        for i, scene in enumerate(scenes)
    ])  # fmt: skip


def judge_poses(
    scenes: Sequence[Scene], pictures: Sequence[Image.Image], found: Sequence[Points] | None = None
) -> PoseScore:
    """Compares pictures of persons with their scenes' skeletons, and with those of the next scenes.

    Args:
        scenes: Two or more, each with a person.
        pictures: One for each.
        found: The points that a detector found in each picture.
    """
    asked = [skeleton_of(scene) for scene in scenes]
    wrong = [*asked[1:], asked[0]]
    limbs, limbs_of_wrong = (
        _share([
            limbs_dressed(picture, scene, points)
            for picture, scene, points in zip(pictures, scenes, skeletons, strict=True)
        ])
        for skeletons in (asked, wrong)
    )  # fmt: skip
    joints = joints_of_wrong = None
    if found is not None:
        joints, joints_of_wrong = (
            _share([
                joints_near(points, truth) for points, truth in zip(found, skeletons, strict=True)
            ])
            for skeletons in (asked, wrong)
        )  # fmt: skip
    return PoseScore(len(scenes), limbs, limbs_of_wrong, joints, joints_of_wrong)


def _share(counts: Sequence[tuple[int, int]]) -> float:
    return sum(right for right, _ in counts) / max(sum(asked for _, asked in counts), 1)


def judge_overlaps(
    kind: str,
    scenes: Sequence[Scene],
    pictures: Sequence[Image.Image],
    alone: Sequence[Image.Image],
) -> OverlapScore:
    """Compares pictures with control, and those of the prompts alone, with what was asked for."""
    overlaps = [
        tuple(overlap_with(kind, scene, each) for each in pair)
        for scene, *pair in zip(scenes, pictures, alone, strict=True)
    ]
    groups: dict[str, list[float]] = {}
    for i, (overlap, _) in enumerate(overlaps):
        groups.setdefault(CATEGORIES[i % len(CATEGORIES)], []).append(overlap)
    with_control, without = (sum(column) / len(overlaps) for column in zip(*overlaps, strict=True))
    by_category = tuple((name, sum(each) / len(each)) for name, each in groups.items())
    return OverlapScore(kind, len(scenes), with_control, without, by_category)


def overlap_with(kind: str, scene: Scene, picture: Image.Image) -> float:
    """Intersection over union of the scene's and the picture's edges, or of what is not background."""
    if kind == "canny":
        return edge_overlap(_edges(render(scene).image), _edges(picture))
    depth = render(scene, maps=True).depth
    if depth is None:
        raise ValueError("The renderer gave no depth map.")
    return mask_overlap(np.asarray(depth) > 0, foreground(picture))


def _edges(picture: Image.Image) -> Mask:
    return np.asarray(canny(picture))[..., 0] > 0


def edge_overlap(first: Mask, second: Mask, tolerance: int = TOLERANCE) -> float:
    """Intersection over union of two maps of thin lines; a line may be off by `tolerance` pixels."""
    side = 2 * tolerance + 1
    kernel = np.ones((side, side), dtype=np.uint8)
    near_first, near_second = (
        cv2.dilate(lines.astype(np.uint8), kernel) > 0 for lines in (first, second)
    )
    both = ((first & near_second).sum() + (second & near_first).sum()) / 2
    return float(both / max(first.sum() + second.sum() - both, 1))


def foreground(picture: Image.Image) -> Mask:
    """What differs from the plain background of a picture."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    distance = np.sqrt(np.square(pixels - background_of(pixels)).sum(axis=-1))
    return np.asarray(distance > DIFFERENT)


def mask_overlap(first: Mask, second: Mask) -> float:
    """Intersection over union of two areas."""
    return float((first & second).sum() / max((first | second).sum(), 1))
