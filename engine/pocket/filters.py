"""The looks of the styles: each filter turns a picture of the renderer into the same picture in a style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from engine.pocket.reading import background_of

Pixels = NDArray[np.float32]  # (H, W, 3) in [0, 255]
Plane = NDArray[np.float32]  # (H, W) in [0, 1] unless said otherwise

PAPER = np.array([247, 244, 236], dtype=np.float32)
INK = np.array([52, 52, 58], dtype=np.float32)
BLUEPRINT = np.array([24, 66, 150], dtype=np.float32)
PLAIN = 0.9  # share of the border within `NEAR` of its median where a background is one colour
NEAR = 40.0


@dataclass(frozen=True)
class Style:
    """A look with the word that calls it."""

    name: str
    trigger: str
    about: str
    look: Callable[[Image.Image], Image.Image]
    keeps_colour: bool


def pixels_of(image: Image.Image) -> Pixels:
    """The picture as (H, W, 3) in [0, 255]."""
    return np.asarray(image.convert("RGB"), dtype=np.float32)


def image_of(pixels: Pixels) -> Image.Image:
    """The picture of these pixels, cut to [0, 255]."""
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def luminance(pixels: Pixels) -> Plane:
    """How light each pixel is (Rec. 601)."""
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32) / 255)


def blurred(values: NDArray[np.floating], radius: float) -> NDArray[np.float32]:
    """Pixels or a plane of [0, 1], blurred; in steps of 1/255, as Pillow blurs bytes only."""
    scale = 1.0 if values.ndim == 3 else 255.0
    image = Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32)
    return np.asarray(soft / scale, dtype=np.float32)


def outlines(pixels: Pixels, width: int) -> Plane:
    """1 where colours change, in lines about `width` pixels wide."""
    soft = blurred(pixels, 0.7)
    rows, columns = np.gradient(soft, axis=0), np.gradient(soft, axis=1)
    slope = np.sqrt(np.square(rows).sum(-1) + np.square(columns).sum(-1))
    edge = Image.fromarray(((slope > 16) * 255).astype(np.uint8))
    if width > 2:
        edge = edge.filter(ImageFilter.MaxFilter(2 * ((width - 1) // 2) + 1))
    return blurred(np.asarray(edge, dtype=np.float32) / 255, 0.6)


def vignette(shape: tuple[int, ...], depth: float) -> Plane:
    """1 in the middle, `1 - depth` in the corners."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(1 - depth * np.clip(np.hypot(x, y) / 1.41, 0, 1) ** 2, dtype=np.float32)


def lit(pixels: Pixels) -> Plane:
    """1 where a line shines: everything but a background of one colour."""
    base = background_of(pixels)
    distance = np.sqrt(np.square(pixels - base).sum(-1))
    edges = distance[:2], distance[-2:], distance[:, :2], distance[:, -2:]
    border = np.concatenate([edge.ravel() for edge in edges])
    if (border < NEAR).mean() < PLAIN:
        return np.ones(distance.shape, dtype=np.float32)
    return np.asarray(distance > NEAR, dtype=np.float32)


def neon(image: Image.Image) -> Image.Image:
    """Outlines that glow in the object's own colour, on black."""
    pixels = pixels_of(image)
    inside = lit(pixels)
    line = outlines(pixels, 5) * inside
    colour = np.maximum(pixels, 62)  # a black object still glows a little
    tube = line[..., None] * colour
    glow = blurred(tube, 2.2) * 0.6 + blurred(tube, 6) * 0.8
    core = np.clip(line * 1.15, 0, 1)[..., None] * (colour * 0.9 + 28)
    filled = inside[..., None] * pixels * 0.16
    return image_of(np.maximum(core, glow + filled))


def sepia(image: Image.Image) -> Image.Image:
    """A faded brown photograph."""
    pixels = pixels_of(image)
    grey = luminance(pixels) * 0.8 + 0.14
    grey = grey * (1 - 0.4 * outlines(pixels, 3))  # colours of one lightness stay apart
    toned = np.stack([grey * 255 + 6, grey * 208, grey * 146 - 4], axis=-1)
    return image_of(toned * vignette(grey.shape, 0.3)[..., None])


def noir(image: Image.Image) -> Image.Image:
    """Black and white of high contrast, dark towards the corners."""
    pixels = pixels_of(image)
    grey = luminance(pixels)
    hard = 0.13 + 0.87 / (1 + np.exp(-11 * (grey - 0.48)))  # the dark is not quite black
    line = outlines(pixels, 3)
    rim = np.where(
        blurred(grey, 4) < 0.48, 0.8, 0.0
    )  # light around the dark, dark around the light
    shadowed = (hard * (1 - line) + rim * line) * vignette(grey.shape, 0.85)
    return image_of(np.repeat(shadowed[..., None] * 255, 3, axis=-1))


def pencil(image: Image.Image) -> Image.Image:
    """Grey strokes on paper: outlines, and the darker the picture, the more hatching."""
    pixels = pixels_of(image)
    dark = 1 - luminance(pixels)
    y, x = np.mgrid[: dark.shape[0], : dark.shape[1]]
    stroke = np.clip(0.5 + np.sin((x + y) * (2 * np.pi / 16)), 0, 1)
    shading = dark * (0.1 + 0.55 * stroke)
    ink = np.clip(np.maximum(shading, outlines(pixels, 4)), 0, 1)[..., None]
    return image_of(PAPER * (1 - ink) + INK * ink)


def comic(image: Image.Image) -> Image.Image:
    """Thick black outlines around strong colours, lit from the middle."""
    pixels = pixels_of(image)
    grey = pixels.mean(-1, keepdims=True)
    strong = np.clip(grey + (pixels - grey) * 1.25, 0, 255)
    strong = strong * vignette(grey.shape[:2], 0.45)[..., None]
    line = outlines(pixels, 5)[..., None]
    return image_of(strong * (1 - line) + 8 * line)


def blueprint(image: Image.Image) -> Image.Image:
    """White lines on blue, the lighter parts a little lighter."""
    pixels = pixels_of(image)
    base = BLUEPRINT * (0.8 + 0.35 * luminance(pixels)[..., None])
    line = outlines(pixels, 4)[..., None]
    return image_of(base * (1 - line) + np.array([238, 244, 252], dtype=np.float32) * line)


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style("neon", "neon", "outlines that glow in the object's colour, on black", neon, True),
        Style("sepia", "sepia", "a faded brown photograph", sepia, False),
        Style("noir", "noir", "hard black and white with dark corners", noir, False),
        Style("pencil", "pencil", "grey strokes and hatching on paper", pencil, False),
        Style("comic", "comic", "thick black outlines around strong colours", comic, True),
        Style("blueprint", "blueprint", "white lines on blue", blueprint, False),
    )
}
