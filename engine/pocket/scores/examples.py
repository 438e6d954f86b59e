"""Pictures that the recogniser learns from: the renderer's own, spoilt as a small model may spoil them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter, ImageOps

from engine.pocket.drawing import COLOURS, Canvas
from engine.pocket.objects import KINDS
from engine.pocket.reading import background_of
from engine.pocket.scenes import SETTINGS, SIZE, Item, Scene, render, sample_scene

SIDE = 64
"""Side of the pictures that the recogniser looks at."""

CLASSES = (*KINDS, "person", "none")
BACKDROPS = (*COLOURS, *SETTINGS)
UNTOLD = -100  # the label that a loss leaves out

DIFFERENT = 34  # RGB distance from which a pixel is not the background
MARGIN = 1.25  # of the crop around an object
BENDS = 8  # to a side: where outlines are bent, every 16 pixels
CATEGORIES = ("single", "thing", "setting", "pair", "person", "none")
MIX = (0.20, 0.24, 0.22, 0.11, 0.17, 0.06)


@dataclass(frozen=True)
class Example:
    """A picture of SIDE x SIDE and its labels, `UNTOLD` where it has none."""

    pixels: NDArray[np.uint8]
    kind: int
    colour: int  # of the object, or the shirt
    trousers: int
    backdrop: int


def crop_of(image: Image.Image) -> Image.Image:
    """The object before a plain background with a little room around, SIDE x SIDE.

    What differs from the border is the object, specks apart; the whole picture where nothing does.
    """
    base = background_of(np.asarray(image, dtype=np.float32))
    filled = Image.new("RGB", image.size, tuple(round(float(v)) for v in base))
    away = np.asarray(ImageChops.difference(image, filled), dtype=np.int32)
    mask = Image.fromarray(np.square(away).sum(axis=-1) > DIFFERENT**2).convert("L")
    box = mask.filter(ImageFilter.MedianFilter(5)).getbbox()
    if box is None:
        return image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return _square(image, filled, box, MARGIN)


def _square(
    image: Image.Image, filled: Image.Image, box: tuple[int, int, int, int], margin: float
) -> Image.Image:
    side = max(round(max(box[2] - box[0], box[3] - box[1]) * margin), 8)
    left, top = (box[0] + box[2] - side) // 2, (box[1] + box[3] - side) // 2
    page = filled.resize((side, side))
    page.paste(image, (-left, -top))
    return page.resize((SIDE, SIDE), Image.Resampling.BOX if side > SIDE else None)


def _blob(rng: Random) -> Image.Image:
    """A patch of one to three colours that is nothing in particular."""
    names = rng.sample(tuple(COLOURS), 4)
    canvas = Canvas(SIZE, COLOURS[names[0]])
    x, y, r = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.12, 0.3)
    for name in names[1 : rng.randint(2, 4)]:
        waves = [(k, rng.uniform(0.25, 0.6) / k**0.7, rng.random() * 7) for k in range(2, 6)]
        points = []
        for i in range(48):
            t = 2 * math.pi * i / 48
            radius = r * (1 + sum(a * math.sin(k * t + p) for k, a, p in waves))
            points.append((x + radius * math.cos(t), y + radius * math.sin(t)))
        canvas.polygon(points, COLOURS[name])
        x, y, r = x + rng.uniform(-r, r), y + rng.uniform(-r, r), r * rng.uniform(0.4, 0.8)
    return canvas.picture()


def _ghost(rng: Random) -> Image.Image:
    """Two kinds in one place, half and half: what a model draws that cannot decide."""
    first = sample_scene(rng, rng.choice(("single", "thing")))
    item = first.items[0]
    kind = rng.choice([k for k in KINDS if k != item.kind])
    other = Scene(
        first.background,
        (Item(kind, item.colour, item.x, item.y, item.r, rng.uniform(-0.6, 0.6)),),
        decor=first.decor,
    )
    return Image.blend(render(first).image, render(other).image, rng.uniform(0.4, 0.6))


def sample_picture(rng: Random) -> tuple[Scene | None, Image.Image]:
    """A picture of SIZE x SIZE of any category, and its scene; no scene where it shows nothing."""
    category = rng.choices(CATEGORIES, MIX)[0]
    if category == "none":
        return None, _blob(rng) if rng.random() < 0.6 else _ghost(rng)
    scene = sample_scene(rng, category)
    return scene, render(scene).image


def example(rng: Random, scene: Scene | None, image: Image.Image) -> Example:
    """What the recogniser is shown of a picture, spoilt at random, with the truth about it."""
    image = _spoilt(image, rng)
    colours = tuple(COLOURS)
    if scene is None:
        return Example(_pixels(crop_of(image), rng), CLASSES.index("none"), UNTOLD, UNTOLD, UNTOLD)
    backdrop = BACKDROPS.index(scene.background)
    if scene.person:
        person = scene.person
        labels = (colours.index(person.shirt), colours.index(person.trousers))
        cropped = scene.background in COLOURS and rng.random() < 0.5
        small = crop_of(image) if cropped else image.resize((SIDE, SIDE), Image.Resampling.BOX)
        return Example(_pixels(small, rng), CLASSES.index("person"), *labels, backdrop)
    item = scene.items[0]
    if len(scene.items) == 2:
        width, height = image.size
        second = rng.random() < 0.5
        item = scene.items[int(second)]
        if scene.relation == "above":
            box = (0, height // 2 * second, width, height // 2 * (1 + second))
        else:
            box = (width // 2 * second, 0, width // 2 * (1 + second), height)
        image = image.crop(box)
    if scene.background in SETTINGS:
        small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    else:
        small = crop_of(image)
    labels = (KINDS.index(item.kind), colours.index(item.colour))
    return Example(_pixels(small, rng), *labels, UNTOLD, backdrop)


def _wobbly(image: Image.Image, rng: Random) -> Image.Image:
    """Bends outlines as a model does that has not learned them to the end: a boat is still a boat."""
    width, height = image.size
    xs = [round(width * i / BENDS) for i in range(BENDS + 1)]
    ys = [round(height * i / BENDS) for i in range(BENDS + 1)]
    strength = rng.uniform(0.5, 3.0)
    points = [
        [
            (
                x + rng.gauss(0, strength) * (0 < x < width),
                y + rng.gauss(0, strength) * (0 < y < height),
            )
            for x in xs
        ]
        for y in ys
    ]
    mesh = []
    for i in range(BENDS):
        for k in range(BENDS):
            corners = (points[i][k], points[i + 1][k], points[i + 1][k + 1], points[i][k + 1])
            quad = tuple(value for corner in corners for value in corner)
            mesh.append(((xs[k], ys[i], xs[k + 1], ys[i + 1]), quad))
    return image.transform(image.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def _spoilt(image: Image.Image, rng: Random) -> Image.Image:
    if rng.random() < 0.4:
        image = _wobbly(image, rng)
    if rng.random() < 0.35:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.8)))
    if rng.random() < 0.15:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=rng.randint(30, 90))
        image = Image.open(stream).convert("RGB")
    return image


def _pixels(small: Image.Image, rng: Random) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.mirror(small) if rng.random() < 0.5 else small)


@torch.no_grad()
def through_autoencoder(
    model: Path, images: Sequence[Image.Image], seed: int = 0, noise: float = 0.0
) -> list[Image.Image]:
    """The pictures as the model's autoencoder gives them back, with noise of this deviation on the latents."""
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae", dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    back = []
    for start in range(0, len(images), 16):
        stack = np.stack([np.asarray(image) for image in images[start : start + 16]])
        pixels = torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents = vae.encode(pixels).latent_dist.mean
        latents += noise * torch.randn(latents.shape, generator=generator)
        decoded = vae.decode(latents).sample.clamp(-1, 1).add(1).mul(127.5).round().byte()
        back += [Image.fromarray(each) for each in decoded.permute(0, 2, 3, 1).numpy()]
    return back


def renderer_pictures(
    model: Path, scenes: Sequence[Scene]
) -> Iterator[tuple[str, list[Image.Image]]]:
    """What a judge is judged by: pictures of these scenes that are right, and where they come from.

    They have another decor than the scenes' own, so that nothing is recognised by its very pixels.
    """
    pictures = [render(replace(scene, decor=scene.decor + 1)).image for scene in scenes]
    yield "renderer", pictures
    yield "autoencoder", through_autoencoder(model, pictures)
