"""The control pictures of scenes: each kind shows what its public namesake would."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from engine.control.edges import canny
from engine.control.openpose import COLOURS as JOINT_COLOURS
from engine.control.segmentation import ADE20K
from engine.pocket.hints import MIXES, hint_of, skeleton_of
from engine.pocket.objects import KINDS
from engine.pocket.scenes import SETTINGS, Item, Scene, render, sample_scene

PERSON = sample_scene(Random(3), "person")
BOAT = Scene("beach", (Item("boat", "red", 0.5, 0.6, 0.25),))


@pytest.mark.parametrize("kind", MIXES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_kind_can_be_drawn_of_every_setting(kind: str, setting: str) -> None:
    hint = hint_of(kind, replace(PERSON, background=setting))
    assert (hint.mode, hint.size) == ("RGB", (128, 128))
    assert np.asarray(hint).std() > 5


def test_canny_is_the_edges_of_the_picture() -> None:
    assert hint_of("canny", BOAT).tobytes() == canny(render(BOAT).image).tobytes()


def test_skeleton_has_a_joint_where_the_person_has_one() -> None:
    pixels = np.asarray(hint_of("openpose", PERSON))
    assert PERSON.person is not None
    x, y = (int(value * 128) for value in PERSON.person.joints[0])
    assert pixels[y, x].tolist() == list(JOINT_COLOURS[0])


def test_nearer_is_brighter() -> None:
    pixels = np.asarray(hint_of("depth", BOAT))
    assert (pixels[..., 0] == pixels[..., 1]).all()
    sky, sand, boat = pixels[5, 5, 0], pixels[125, 5, 0], pixels[85, 64, 0]
    assert sky < sand < boat


def test_segmentation_has_the_colours_of_ade20k() -> None:
    pixels = np.asarray(hint_of("segmentation", BOAT))
    seen = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    assert seen == {ADE20K[name] for name in ("sky", "sea", "sand", "boat")}
    plain = np.asarray(hint_of("segmentation", replace(PERSON, background="red")))
    seen = {tuple(colour) for colour in plain.reshape(-1, 3).tolist()}
    assert seen == {ADE20K["wall"], ADE20K["person"]}


@pytest.mark.parametrize("kind", KINDS)
def test_segmentation_knows_every_kind(kind: str) -> None:
    pixels = np.asarray(
        hint_of("segmentation", Scene("white", (Item(kind, "red", 0.5, 0.5, 0.3),)))
    )
    seen = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    assert len(seen) == 2
    assert seen <= set(ADE20K.values())


def test_some_skeletons_in_training_lack_joints() -> None:
    skeletons = [skeleton_of(PERSON, Random(i)) for i in range(200)]
    incomplete = [s for s in skeletons if None in s]
    assert 10 < len(incomplete) < 60
    assert all(any(point is not None for point in s) for s in incomplete)
    assert None not in skeleton_of(PERSON)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="no skeleton"):
        hint_of("openpose", BOAT)
    with pytest.raises(ValueError, match="no control 'lineart'"):
        hint_of("lineart", BOAT)
