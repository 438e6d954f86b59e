"""Reads pictures for ControlNets beside the loop: one thread, on the CPU, what was found is kept.

A thread and not a moment between two ticks: a detector takes tenths of a second, and seconds when it is
loaded first, for which everybody's pictures would stand still. The CPU in float32 and not the GPU: the rows'
memory is measured and must not shrink under them, and `from_pretrained`, which sets torch's default dtype for
the whole process while it runs, then sets it to what it is already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from engine import protocol
from engine.control.making import MapMaker
from engine.control.maps import DEPTH, SEGMENTATION, MapRequest, Skeleton
from engine.errors import EngineError, InvalidRequestError, ModelLoadError
from engine.protocol import Frame
from engine.types import EngineInfo
from engine.words import N_

log = logging.getLogger(__name__)

POSE, PEOPLE = "pose", "people"  # of the detectors; the other two are called as their maps
LEAST_JOINTS = 8
LEAST_SCORE = 0.5
"""Of the joints that were found, in the mean. Pictures without people give some joints, too, but unsure ones."""

FAILED = N_(
    "What reads this control from pictures does not work here. Choose another control, attach a finished "
    "map, or tell the operator of this bot: the log says why."
)

_NECK = 1

Send = Callable[[str, Mapping[str, Any], Sequence[bytes]], None]


class Detection:
    """Answers the frames `detect`."""

    def __init__(self, info: EngineInfo, sources: Mapping[str, str], send: Send) -> None:
        """Loads nothing yet.

        Args:
            info: Of the loaded model, for its kinds of control.
            sources: Detectors by name, see `model_card.detector_sources`.
            send: Sends one frame to the bot; called from a thread of its own.
        """
        self._send = send
        self._found = Detectors(sources)
        self._maker = MapMaker(
            info.model,
            info.control_kinds,
            find_people=self._found.people if POSE in sources else None,
            find_depth=self._found.depth if DEPTH in sources else None,
            find_classes=self._found.classes if SEGMENTATION in sources else None,
        )
        self._thread = ThreadPoolExecutor(1, "detector")

    def ask(self, frame: Frame) -> None:
        """Takes a question; the answer is sent when it is there."""
        self._thread.submit(self._answer, frame)

    def drain(self) -> None:
        """Waits until everything that was asked is answered."""
        self._thread.shutdown()

    def _answer(self, frame: Frame) -> None:
        call_id = frame.fields["call_id"]
        try:
            asked = protocol.unpack(MapRequest, frame.fields["request"])
            made = self._maker.make(frame.blobs[0], asked)
        except Exception as error:
            known = _as_engine_error(error)
            value: dict[str, Any] = {"error": type(known).__name__, "message": str(known)}
            self._send("reply", {"call_id": call_id, "value": value}, [])
            return
        value = {"kind": made.kind, "people": made.people, "was_map": made.was_map}
        self._send("reply", {"call_id": call_id, "value": value}, [made.png])


class Detectors:
    """The detectors, each loaded when it is first needed."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Takes folders or hub ids by name."""
        self._sources = sources
        self._loaded: dict[str, Any] = {}

    def people(self, image: Image.Image) -> list[Skeleton]:
        """Returns the joints of the people in the picture; without a person detector of one at most."""
        from engine.worker.detectors import POSE_THRESHOLD, detect_poses

        detector = self._load(POSE)
        boxes = None
        if PEOPLE in self._sources:
            boxes = [list(self._load(PEOPLE).find(image))]
        (poses,) = detect_poses(detector, [image], boxes)
        people = []
        for pose in poses:
            sure = [score for score in pose.scores if score >= POSE_THRESHOLD]
            is_person = pose.found >= LEAST_JOINTS and pose.points[_NECK] is not None
            if is_person and sum(sure) / len(sure) >= LEAST_SCORE:
                people.append(pose.points)
        return people

    def depth(self, image: Image.Image) -> Image.Image:
        """Returns the depth map."""
        found: Image.Image = self._load(DEPTH).find(image)
        return found

    def classes(self, image: Image.Image) -> Image.Image:
        """Returns the map of classes."""
        found: Image.Image = self._load(SEGMENTATION).find(image)
        return found

    def _load(self, name: str) -> Any:
        if name not in self._loaded:
            # Imported only now: the detectors' modules take a second that no start should wait for.
            from transformers.utils import logging as transformers_logging

            from engine.worker import dense_detectors, detectors

            transformers_logging.disable_progress_bar()  # of loading, in the operator's log
            loaders: dict[str, Callable[[str], Any]] = {
                POSE: detectors.load_pose_detector,
                PEOPLE: dense_detectors.PersonDetector,
                DEPTH: dense_detectors.DepthDetector,
                SEGMENTATION: dense_detectors.ClassDetector,
            }
            self._loaded[name] = loaders[name](self._sources[name])
        return self._loaded[name]


def _as_engine_error(error: Exception) -> EngineError:
    if isinstance(error, ModelLoadError):  # the operator's to put right
        log.error("%s", error)
        return InvalidRequestError(FAILED)
    if isinstance(error, EngineError):
        return error
    log.error("A picture could not be read.", exc_info=error)
    return InvalidRequestError(FAILED)
