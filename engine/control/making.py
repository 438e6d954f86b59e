"""From a picture to the map that a ControlNet reads: what was found is kept, so that asking again is cheap.

What needs a model (people, depth, classes) is found by functions that are handed in.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageOps

from engine.control import edges, geometry
from engine.control.maps import (
    AUTO,
    CANNY,
    DEPTH,
    KINDS,
    LINEART,
    OPENPOSE,
    SCRIBBLE,
    SEGMENTATION,
    ControlMap,
    MapRequest,
    Skeleton,
)
from engine.control.openpose import draw_skeletons
from engine.control.recognition import is_grey, read_skeleton, recognise
from engine.errors import InvalidRequestError
from engine.words import N_

CACHE_BYTES = 64 << 20

NO_PERSON = N_(
    "I found no person in this picture. Choose one that shows a person from head to feet, use another "
    "control like {other}, or take a pose of the library with the option pose."
)
NO_PERSON_AT_ALL = N_(
    "I found no person in this picture. Choose one that shows a person from head to feet, or take a pose "
    "of the library with the option pose."
)
NO_DETECTOR = N_(
    "I have no model here that reads {kind} from pictures. Attach a finished {kind} map, or choose "
    "another control."
)
NOTHING_TO_READ = N_(
    "I cannot read this picture for any control of {model}. Attach a finished control map, or take a pose "
    "of the library with the option pose."
)
UNREADABLE = N_("The picture cannot be read. Use a PNG, JPEG or WebP picture.")

PeopleFinder = Callable[[Image.Image], Sequence[Skeleton]]
"""Finds people: their joints in pixels of the picture."""

MapFinder = Callable[[Image.Image], Image.Image]
"""Makes a map of a whole picture, of any size, in the same shape."""

_EDGES: dict[str, MapFinder] = {
    CANNY: edges.canny,
    LINEART: edges.lineart,
    SCRIBBLE: edges.scribble,
}
_EXACT = (SEGMENTATION,)  # a colour in between would be another class


@dataclass(frozen=True, slots=True)
class Finding:
    """What was read from a picture, at its own size.

    Attributes:
        kind: Of the map.
        people: For a skeleton map whose people are known.
        image: A finished map of the whole picture; None when it is to be made at the map's size.
        was_map: The picture itself is the map.
    """

    kind: str
    people: tuple[Skeleton, ...] = ()
    image: Image.Image | None = None
    was_map: bool = False

    @property
    def size_bytes(self) -> int:
        """What keeping it costs, about."""
        pixels = 0 if self.image is None else 3 * self.image.width * self.image.height
        return 1000 + pixels


class MapMaker:
    """Makes control maps; belongs to one thread."""

    def __init__(
        self,
        model: str,
        kinds: Collection[str],
        *,
        find_people: PeopleFinder | None = None,
        find_depth: MapFinder | None = None,
        find_classes: MapFinder | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Takes what there is.

        Args:
            model: Name of the model, for sentences.
            kinds: Its ControlNets; `AUTO` chooses among them.
            find_people: None when there is no detector, like the next two.
            find_depth: Makes depth maps, near is light.
            find_classes: Makes maps in ADE20K's colours.
            cache_bytes: What may be kept of earlier pictures.
        """
        self._model = model
        self._kinds = [kind for kind in KINDS if kind in kinds]
        self._find_people = find_people
        self._finders = {DEPTH: find_depth, SEGMENTATION: find_classes}
        self._limit = cache_bytes
        self._kept: OrderedDict[tuple[str, str], Finding] = OrderedDict()

    @property
    def kept_bytes(self) -> int:
        """What is kept of earlier pictures."""
        return sum(finding.size_bytes for finding in self._kept.values())

    def make(self, png: bytes, asked: MapRequest) -> ControlMap:
        """Returns the map of a picture in the size that is asked for.

        Raises:
            InvalidRequestError: There is nothing of that kind in the picture, or nothing here that
                finds it.
        """
        image = _decode(png)
        found = self._find(hashlib.sha256(png).hexdigest(), image, asked.kind)
        return _drawn(found, image, asked)

    def _find(self, sha256: str, image: Image.Image, kind: str) -> Finding:
        key = (sha256, kind)
        if (known := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return known
        found = self._auto(image) if kind == AUTO else self._read(image, kind, recognise(image))
        self._kept[key] = found
        while self.kept_bytes > self._limit and self._kept:
            self._kept.popitem(last=False)
        return found

    def _auto(self, image: Image.Image) -> Finding:
        map_kind = recognise(image)
        if map_kind in self._kinds:
            return self._read(image, map_kind, map_kind)
        for kind in self._kinds:
            if kind == DEPTH and self._finders[DEPTH] is None:
                continue
            try:
                return self._read(image, kind, map_kind)
            except InvalidRequestError:
                continue
        if self._kinds == [OPENPOSE] and self._find_people is not None:
            raise InvalidRequestError(NO_PERSON_AT_ALL)
        raise InvalidRequestError(NOTHING_TO_READ, model=self._model)

    def _read(self, image: Image.Image, kind: str, map_kind: str | None) -> Finding:
        """Reads the picture for one kind; `map_kind` is what it was recognised as."""
        if kind == map_kind or (kind in (LINEART, SCRIBBLE) and map_kind == CANNY):
            return _as_it_is(image, kind)
        if kind in _EDGES:
            return Finding(kind)
        if kind == OPENPOSE:
            return self._read_people(image)
        finder = self._finders.get(kind)
        if finder is None and kind == DEPTH and is_grey(image) and map_kind is None:
            return Finding(kind, image=image, was_map=True)  # who asks for it will know
        if finder is None:
            raise InvalidRequestError(NO_DETECTOR, kind=kind)
        return Finding(kind, image=finder(image))

    def _read_people(self, image: Image.Image) -> Finding:
        if self._find_people is None:
            raise InvalidRequestError(NO_DETECTOR, kind=OPENPOSE)
        people = tuple(tuple(skeleton) for skeleton in self._find_people(image))
        if not people:
            others = [kind for kind in self._kinds if kind in _EDGES]
            if others:
                raise InvalidRequestError(NO_PERSON, other=others[0])
            raise InvalidRequestError(NO_PERSON_AT_ALL)
        return Finding(OPENPOSE, people)


def fitted_map(png: bytes, asked: MapRequest) -> ControlMap:
    """Returns a finished map of the kind that is asked for, in the size that is asked for.

    Raises:
        InvalidRequestError: It is no picture.
    """
    image = _decode(png)
    if image.size == (asked.width, asked.height) and not asked.mirror:
        return ControlMap(asked.kind, png, was_map=True)
    return _drawn(_as_it_is(image, asked.kind), image, asked)


def skeleton_map(people: Sequence[Skeleton], size: geometry.Size, asked: MapRequest) -> ControlMap:
    """Returns the map of people whose joints are known, in pixels of a canvas of `size`."""
    placed = geometry.place_people(people, size, (asked.width, asked.height), asked.fit)
    if asked.mirror:
        placed = geometry.mirror_people(placed, asked.width)
    drawn = draw_skeletons(placed, asked.width, asked.height, asked.thickness)
    return ControlMap(OPENPOSE, encode(drawn), placed, was_map=True)


def _as_it_is(image: Image.Image, kind: str) -> Finding:
    skeleton = read_skeleton(image) if kind == OPENPOSE else None
    return Finding(kind, (skeleton,) if skeleton else (), image, was_map=True)


def _drawn(found: Finding, image: Image.Image, asked: MapRequest) -> ControlMap:
    """Returns what was found in a picture as a map of the size that is asked for."""
    canvas = (asked.width, asked.height)
    if found.people:
        people = geometry.place_people(found.people, image.size, canvas, asked.fit)
        if asked.mirror:
            people = geometry.mirror_people(people, asked.width)
        drawn = draw_skeletons(people, *canvas, asked.thickness)
        return ControlMap(found.kind, encode(drawn), people, found.was_map)
    if found.image is not None:
        resample = Image.Resampling.NEAREST if found.kind in _EXACT else Image.Resampling.LANCZOS
        drawn = geometry.place_picture(found.image, canvas, asked.fit, resample=resample)
    else:
        drawn = geometry.place_picture(image, canvas, asked.fit, draw=_EDGES[found.kind])
    if asked.mirror:
        drawn = ImageOps.mirror(drawn)
    return ControlMap(found.kind, encode(drawn), was_map=found.was_map)


def mirrored(known: ControlMap, thickness: int | None = None) -> ControlMap:
    """Returns the map with left and right exchanged; `thickness` as in `MapRequest`."""
    with Image.open(io.BytesIO(known.png), formats=["PNG"]) as opened:
        image = opened.convert("RGB")
    if not known.people:
        return replace(known, png=encode(ImageOps.mirror(image)))
    people = geometry.mirror_people(known.people, image.width)
    drawn = draw_skeletons(people, *image.size, thickness)
    return replace(known, png=encode(drawn), people=people)


def encode(image: Image.Image) -> bytes:
    """Returns the picture as PNG; the same picture always gives the same bytes."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=6)
    return file.getvalue()


def _decode(png: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidRequestError(UNREADABLE) from error
