"""The embedded model: a small Stable Diffusion trained from scratch on drawn pictures.

Importing this package imports no torch: the bot and the engine only want to know where the weights are.
"""

from __future__ import annotations

from pathlib import Path

MODEL_DIR = Path(__file__).parent / "model"
"""The committed weights, in the folder layout of diffusers; settings beside them in `easel.json`."""

CONTROLNETS_DIR = Path(__file__).parent / "controlnets"
"""Its ControlNets, one diffusers folder for each kind."""

LORAS_DIR = Path(__file__).parent / "loras"
"""Its styles, one .safetensors file each, with a preview of the same name beside it."""

POSE_DETECTOR_DIR = Path(__file__).parent / "detectors" / "pose"
"""Its pose detector, a ViTPose as transformers saves it."""
