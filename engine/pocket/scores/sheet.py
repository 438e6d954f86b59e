"""Contact sheets: the evaluation's pictures with what the judge said, for a person to check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL, NOTE = 134, 24  # pixels; a picture with its frame, and two lines of text below
RIGHT, WRONG = (40, 150, 60), (210, 40, 40)


def save_sheet(
    path: Path,
    pictures: Sequence[Image.Image],
    right: Sequence[bool],
    notes: Sequence[str],
    columns: int = 10,
) -> None:
    """Writes one cell for each picture: a green frame where it was judged right, else a red one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * CELL, rows * (CELL + NOTE)), (255, 255, 255))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(9)
    for i, (picture, ok, note) in enumerate(zip(pictures, right, notes, strict=True)):
        x, y = i % columns * CELL, i // columns * (CELL + NOTE)
        pen.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=RIGHT if ok else WRONG)
        page.paste(picture.resize((CELL - 6, CELL - 6)), (x + 2, y + 2))
        for line, text in enumerate(note.split("\n")[:2]):
            pen.text((x + 2, y + CELL - 1 + 11 * line), text, (0, 0, 0), font)
    page.save(path)
