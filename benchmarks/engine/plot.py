"""The burst in bars: how many pictures for the same time, and how long people wait."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from benchmarks.engine.report import SizeResult

_INK = (40, 42, 48)
_FAINT = (150, 154, 164)
_BARS = {"this engine": (88, 101, 242)}
_OTHER = (181, 188, 200)
_LABEL, _PANEL, _ROW, _HEAD, _GAP = 190, 330, 26, 34, 30


def draw(sizes: Sequence[SizeResult], path: Path) -> None:
    """Writes a PNG: of each size throughput and mean wait in a burst, the naive bot being 1."""
    sizes = [size for size in sizes if any(line.load == "burst" for line in size.lines)]
    height = sum(
        _HEAD + _ROW * sum(line.load == "burst" for line in size.lines) + _GAP for size in sizes
    )
    image = Image.new("RGB", (_LABEL + 2 * _PANEL + 3 * _GAP, height + _GAP), "white")
    pen = ImageDraw.Draw(image)
    top = _GAP // 2
    for size in sizes:
        lines = [line for line in size.lines if line.load == "burst"]
        by_cpu = lines[0].pace == "cpu"
        unit = "CPU time" if by_cpu else "time"
        naive = lines[0].mean_s
        panels = [
            (f"pictures for the same {unit}, naive = 1",
             [line.faster_cpu if by_cpu else line.faster_wall for line in lines]),
            ("mean wait for a picture, naive = 1 (less is better)",
             [line.mean_s / naive for line in lines]),
        ]  # fmt: skip
        pen.text(
            (_GAP // 2, top + 8), f"{size.name}: {lines[0].jobs} jobs at once", _INK, _font(14)
        )
        for number, (title, values) in enumerate(panels):
            left = _LABEL + _GAP + number * (_PANEL + _GAP)
            pen.text((left, top + 9), title, _FAINT, _font(12))
            for row, (line, value) in enumerate(zip(lines, values, strict=True)):
                y = top + _HEAD + row * _ROW
                if number == 0:
                    pen.text((_GAP // 2, y + 3), line.contender, _INK, _font(13))
                width = (_PANEL - 50) * value / max(values)
                colour = _BARS.get(line.contender, _OTHER)
                pen.rectangle((left, y, left + width, y + _ROW - 8), colour)
                pen.text((left + width + 6, y + 2), f"{value:.2f}", _INK, _font(12))
        top += _HEAD + _ROW * len(lines) + _GAP
    image.save(path, "PNG", optimize=True)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
