"""Small pictures that say more than a list: a contact sheet, a family tree, a plot of one's days.

They stand on nothing (transparent), in colours that can be read on Discord's dark and light
backgrounds. Only pictures of our own engine are opened here. All functions block.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from PIL import Image, ImageDraw, ImageFont

from cogs._language import written_day

_INK = (128, 132, 142)  # contrast of about 4:1 on white as on Discord's dark grey
_FAINT = (128, 132, 142, 70)
_BAR = (88, 101, 242)
_CHIP = (30, 31, 34, 220)
_CHIP_INK = (255, 255, 255)

_CELL = 256
_GAP = 8
_THUMBNAIL = 144
_ROW = 160
_INDENT = 56
_DEEPEST = 8  # further right there is no room on a phone
_TREE_TEXT = 440
_TITLE, _DETAILS = (
    38,
    30,
)  # a phone shows the tree about 300 points wide: less than half of its size
_PLOT = (720, 320)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Branch:
    """One row of a family tree.

    Attributes:
        png: The picture, or None when it cannot be shown.
        parent: Row number of the parent, or None.
        depth: 0 for the beginning.
        title: First line.
        details: Further lines; those that the font cannot draw are left out.
        is_marked: The one that was asked about.
    """

    png: bytes | None
    parent: int | None
    depth: int
    title: str
    details: tuple[str, ...] = ()
    is_marked: bool = False


def contact_sheet(
    pictures: Sequence[bytes | None],
    columns: int = 3,
    labels: Sequence[str] = (),
    *,
    side: int = _CELL,
) -> bytes:
    """Returns the pictures side by side with their labels, or numbers from 1, as WebP.

    Each has a square of `side` pixels.
    """
    columns = max(min(columns, len(pictures)), 1)
    rows = -(-len(pictures) // columns)
    pitch = side + _GAP
    sheet = Image.new("RGBA", (columns * pitch - _GAP, max(rows * pitch - _GAP, 1)))
    draw = ImageDraw.Draw(sheet)
    font = _font(30)
    for index, png in enumerate(pictures):
        left, top = index % columns * pitch, index // columns * pitch
        _place(sheet, png, left, top, side)
        number = str(index + 1)
        if labels and (label := drawable(labels[index])):
            number = _fit(draw, label, font, side - 26)
        width = 26 + round(draw.textlength(number, font))
        chip = Image.new("RGBA", (width, 44), _CHIP)
        sheet.alpha_composite(chip, (left, top))
        draw.text((left + 13, top + 22), number, _CHIP_INK, font, anchor="lm")
    return _webp(sheet)


def family_tree(branches: Sequence[Branch]) -> bytes:
    """Returns the rows below one another, children to the right of their parents, as WebP."""
    deepest = min(max((branch.depth for branch in branches), default=0), _DEEPEST)
    size = (deepest * _INDENT + _THUMBNAIL + _TREE_TEXT, max(len(branches), 1) * _ROW)
    picture = Image.new("RGBA", size)
    draw = ImageDraw.Draw(picture)

    def left_of(branch: Branch) -> int:
        return min(branch.depth, _DEEPEST) * _INDENT

    for row, branch in enumerate(branches):
        if branch.parent is None:
            continue
        left, middle = left_of(branch), row * _ROW + _ROW // 2
        trunk = left_of(branches[branch.parent]) + _INDENT // 2
        below = branch.parent * _ROW + (_ROW + _THUMBNAIL) // 2
        draw.line([(trunk, below), (trunk, middle), (left, middle)], _INK, 3)
    for row, branch in enumerate(branches):
        left, top = left_of(branch), row * _ROW + (_ROW - _THUMBNAIL) // 2
        _place(picture, branch.png, left, top, _THUMBNAIL)
        if branch.is_marked:
            box = (left - 2, top - 2, left + _THUMBNAIL + 1, top + _THUMBNAIL + 1)
            draw.rectangle(box, outline=_BAR, width=5)
        text_left = left + _THUMBNAIL + 16
        y = top + 16
        for line, points in ((branch.title, _TITLE), *((one, _DETAILS) for one in branch.details)):
            font = _font(points)
            if letters := drawable(line):
                shown = _fit(draw, letters, font, size[0] - text_left)
                draw.text((text_left, y), shown, _INK, font)
                y += points + 12
    return _webp(picture)


def usage_plot(days: Sequence[tuple[date, int]]) -> bytes:
    """Returns a bar for each day, oldest left, as PNG."""
    scale = 2  # bars have crisp edges on a phone
    width, height = (side * scale for side in _PLOT)
    picture = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(picture)
    font = _font(32 * scale)  # a phone shows the plot about 300 points wide
    highest = max((count for _, count in days), default=0)
    step = _step(highest)
    ceiling = max(-(-highest // step), 1) * step
    left = round(draw.textlength(str(ceiling), font)) + 14 * scale
    right, top, bottom = width - 8 * scale, 24 * scale, height - 60 * scale
    for value in range(0, ceiling + 1, step):
        y = bottom - (bottom - top) * value / ceiling
        draw.line([(left, y), (right, y)], _FAINT, scale)
        draw.text((left - 10 * scale, y), str(value), _INK, font, anchor="rm")
    pitch = (right - left) / max(len(days), 1)
    for index, (day, count) in enumerate(days):
        x = left + pitch * index
        if count:
            y = bottom - (bottom - top) * count / ceiling
            box = (x + pitch * 0.15, min(y, bottom - 2 * scale), x + pitch * 0.85, bottom)
            draw.rounded_rectangle(box, 3 * scale, _BAR, corners=(True, True, False, False))
        if (len(days) - 1 - index) % 7 == 0:  # today and the same day of the weeks before
            middle = x + pitch / 2
            anchor = "rt" if index == len(days) - 1 else "mt"
            edge = right if anchor == "rt" else middle
            draw.text((edge, bottom + 10 * scale), written_day(day), _INK, font, anchor=anchor)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def drawable(text: str) -> str:
    """Returns the text in letters that the built-in font has, without accents; "" when it cannot."""
    letters = "".join(
        character
        for character in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(character)
    )
    known = all(
        32 <= ord(character) < 127 or character == "\N{MIDDLE DOT}" for character in letters
    )
    return letters if known else ""


def _step(highest: int) -> int:
    """Returns a round distance of at most five lines."""
    step = 1
    for factor in (2, 2.5, 2) * 6:
        if highest <= 4 * step:
            break
        step = int(step * factor)
    return step


def _place(onto: Image.Image, png: bytes | None, left: int, top: int, side: int) -> None:
    """Puts the picture into the middle of a square; a grey square with a cross when there is none."""
    if png is None:
        draw = ImageDraw.Draw(onto)
        box = (left, top, left + side - 1, top + side - 1)
        draw.rectangle(box, fill=_FAINT, outline=_INK, width=2)
        draw.line([box[:2], box[2:]], _INK, 2)
        draw.line([(box[0], box[3]), (box[2], box[1])], _INK, 2)
        return
    with Image.open(io.BytesIO(png), formats=["PNG"]) as opened:
        picture = opened.convert("RGB")
    scale = side / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    # reducing_gap: large pictures are shrunk cheaply first
    picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    onto.paste(picture, (left + (side - size[0]) // 2, top + (side - size[1]) // 2))


def _fit(draw: ImageDraw.ImageDraw, text: str, font: Font, width: float) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "...", font) > width:
        text = text[:-1]
    return text.rstrip() + "..."


def _font(points: int) -> Font:
    return ImageFont.load_default(points)


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=88, method=3)
    return buffer.getvalue()
