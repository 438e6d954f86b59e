"""The part of the ADE20K palette that drawn scenes need: segmentation ControlNets know things by it."""

from __future__ import annotations

ADE20K: dict[str, tuple[int, int, int]] = {
    "wall": (120, 120, 120),
    "building": (180, 120, 120),
    "sky": (6, 230, 230),
    "tree": (4, 200, 3),
    "road": (140, 140, 140),
    "grass": (4, 250, 7),
    "person": (150, 5, 61),
    "mountain": (143, 255, 140),
    "car": (0, 102, 200),
    "house": (255, 9, 224),
    "sea": (9, 7, 230),
    "signboard": (255, 5, 153),
    "sand": (160, 150, 20),
    "flower": (255, 0, 0),
    "boat": (173, 255, 0),
    "animal": (255, 0, 122),
}
"""Colours by the names of the 150 classes, as UperNet and the public ControlNets use them."""
