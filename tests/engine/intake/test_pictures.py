"""Good and hostile pictures: each is used rightly, or refused in one sentence with its reason."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.errors import RefusedFileError
from engine.intake import pictures
from engine.intake.pictures import FIRST_FRAME
from engine.intake.still import CleanPicture
from tests.engine.intake import picture_files as make
from tests.engine.intake.picture_files import BLUE, GREEN, RED, WHITE, saved, scene

Colour = tuple[int, int, int]
GREYS = [
    Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in (RED, GREEN, BLUE)
]
GREY_SCENE = [(grey, grey, grey) for grey in GREYS]


def corners(picture: Image.Image) -> list[Colour]:
    """Top left, top right, bottom left."""
    right, bottom = max(picture.width - 3, 0), max(picture.height - 3, 0)
    left, top = min(2, right), min(2, bottom)
    at = ((left, top), (right, top), (left, bottom))
    return [picture.convert("RGB").getpixel(place) for place in at]  # type: ignore[misc]


def about(found: list[Colour], wanted: list[Colour], tolerance: int) -> bool:
    return bool(np.abs(np.subtract(found, wanted, dtype=int)).max() <= tolerance)


def opened(clean: CleanPicture) -> Image.Image:
    """What everything else reads: a plain RGB PNG of the promised size, without metadata."""
    picture = Image.open(io.BytesIO(clean.png), formats=["PNG"])
    assert picture.mode == "RGB"
    assert picture.size == (clean.width, clean.height)
    assert {name[4:8] for name in make.split_png(clean.png)} == {b"IHDR", b"IDAT", b"IEND"}
    picture.load()
    assert not picture.info
    return picture


def transparent(mode: str = "RGBA") -> Image.Image:
    """The scene whose left half cannot be seen."""
    picture = scene().convert("RGBA")
    picture.putalpha(255)
    alpha = picture.getchannel("A")
    alpha.paste(0, (0, 0, 24, 32))
    picture.putalpha(alpha)
    return picture.convert(mode)


def palette() -> Image.Image:
    """The scene as numbers of its three colours."""
    picture = Image.new("P", (48, 32), 2)
    picture.paste(0, (0, 0, 24, 16))
    picture.paste(1, (24, 0, 48, 16))
    picture.putpalette([*RED, *GREEN, *BLUE])
    return picture


def wide(mode: str) -> Image.Image:
    """16 bits of grey: black, the middle, white."""
    levels = np.zeros((32, 48), dtype=np.uint16)
    levels[:16, 24:], levels[16:] = 32896, 65535
    return Image.fromarray(levels) if mode == "I;16" else Image.fromarray(levels.astype(np.int32))


def rgb16() -> bytes:
    row = b"\0" + struct.pack(">HHH", *(value * 257 for value in RED)) * 20
    return make.png(
        make.header(20, 20, 16, 2), make.chunk(b"IDAT", zlib.compress(row * 20)), make.END
    )


def animation(kind: str, **options: Any) -> bytes:
    later = [Image.new("RGB", (48, 32), colour) for colour in (RED, GREEN)]
    return saved(scene(), kind, save_all=True, append_images=later, duration=50, **options)


def frame_of_canvas() -> bytes:
    """An animated WebP whose first frame is the lower right part of its canvas."""
    part = saved(Image.new("RGB", (24, 16), RED), "WEBP", lossless=True)
    bodies = [make.frame(24, 16, 24, 16, make.webp_chunks(part)) for _ in range(2)]
    return make.riff(
        make.canvas(48, 32, 2), (b"ANIM", bytes(6)), *((b"ANMF", body) for body in bodies)
    )


SCENE = [RED, GREEN, BLUE]
TURNED = {
    1: SCENE, 2: [GREEN, RED, BLUE], 3: [BLUE, BLUE, GREEN], 4: [BLUE, BLUE, RED],
    5: [RED, BLUE, GREEN], 6: [BLUE, RED, BLUE], 7: [BLUE, GREEN, BLUE], 8: [GREEN, BLUE, RED],
}  # fmt: skip
HALF_WHITE = [WHITE, GREEN, WHITE]
BLACK = (0, 0, 0)

# name -> (file, its corners, tolerance in grey levels)
GOOD: dict[str, tuple[Callable[[], bytes], list[Colour], int]] = {
    "png rgb": (lambda: saved(scene(), "PNG"), SCENE, 0),
    "png rgba": (lambda: saved(transparent(), "PNG"), HALF_WHITE, 0),
    "png half transparent": (
        lambda: saved(Image.new("RGBA", (20, 20), (0, 0, 0, 51)), "PNG"), [(204, 204, 204)] * 3, 1),
    "png grey": (lambda: saved(scene().convert("L"), "PNG"), GREY_SCENE, 0),
    "png grey and alpha": (
        lambda: saved(transparent("LA"), "PNG"), [WHITE, GREY_SCENE[1], WHITE], 0),
    "png palette": (lambda: saved(palette(), "PNG"), SCENE, 0),
    "png palette of 2 colours": (
        lambda: saved(Image.new("P", (20, 20), 0, ), "PNG", bits=1), [BLACK] * 3, 0),
    "png palette with alpha": (
        lambda: saved(transparent().quantize(8), "PNG"), HALF_WHITE, 2),
    "png palette with one transparent colour": (
        lambda: saved(palette(), "PNG", transparency=2), [RED, GREEN, WHITE], 0),
    "png rgb with a transparent colour": (
        lambda: make.png_with(make.chunk(b"tRNS", struct.pack(">HHH", *BLUE))),
        [RED, GREEN, WHITE], 0),
    "png grey with a transparent colour": (
        lambda: make.png_with(make.chunk(b"tRNS", struct.pack(">H", GREYS[2])),
                              picture=scene().convert("L")),
        [*GREY_SCENE[:2], WHITE], 0),
    "png 1 bit": (
        lambda: saved(palette().point([0, 255, 255] + [0] * 253, "1"), "PNG"), [BLACK, WHITE, WHITE], 0),
    "png 16 bits of grey": (
        lambda: saved(wide("I;16"), "PNG"), [BLACK, (128, 128, 128), WHITE], 1),
    "png 16 bits of grey with a transparent level": (
        lambda: make.png_with(make.chunk(b"tRNS", b"\0\0"), picture=wide("I;16")),
        [WHITE, (128, 128, 128), WHITE], 1),
    "png 16 bits of colour": (rgb16, [RED] * 3, 0),
    "png interlaced": (
        lambda: make.png(make.header(1, 1, 8, 2, 0, 0, 1),
                         make.chunk(b"IDAT", zlib.compress(b"\0" + bytes(RED))), make.END),
        [RED] * 3, 0),
    "png with a text": (
        lambda: make.png_with(make.chunk(b"tEXt", b"Comment\0by me")), SCENE, 0),
    "png with a time and a size": (
        lambda: make.png_with(make.chunk(b"tIME", bytes(7)), make.chunk(b"pHYs", bytes(9))), SCENE, 0),
    "png with a private part": (lambda: make.png_with(make.chunk(b"prVt", b"x" * 99)), SCENE, 0),
    "png with an EXIF turn": (
        lambda: make.png_with(make.chunk(b"eXIf", make.exif(6)[6:])), TURNED[6], 0),
    "png with a profile": (
        lambda: saved(scene(), "PNG", icc_profile=make.swapped_profile()),
        [BLUE, GREEN, RED], 3),
    "png with nonsense as profile": (
        lambda: make.png_with(make.chunk(b"iCCP", b"x\0\0" + zlib.compress(b"nonsense"))), SCENE, 0),
    "png with a profile that is not packed": (
        lambda: make.png_with(make.chunk(b"iCCP", b"x\0\0nonsense")), SCENE, 0),
    "png animation": (lambda: animation("PNG"), SCENE, 0),
    "png with something after its end": (
        lambda: saved(scene(), "PNG") + b"PK\3\4 a zip archive", SCENE, 0),
    "png with a zipped text bomb": (
        lambda: make.png_with(make.chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2**24), 9))), SCENE, 0),
    "png with an international text bomb": (
        lambda: make.png_with(
            make.chunk(b"iTXt", b"x\0\1\0\0\0" + zlib.compress(bytes(2**24), 9))), SCENE, 0),
    "png with a broken text": (lambda: make.png_with(make.chunk(b"zTXt", b"\xff" * 50)), SCENE, 0),
    "png whose pixels go on for 16 MB": (
        lambda: make.png(make.header(20, 20), make.chunk(b"IDAT", zlib.compress(bytes(2**24), 9)),
                         make.END), [BLACK] * 3, 0),
    "png with a palette nobody needs": (
        lambda: make.png_with(make.chunk(b"PLTE", bytes(6))), SCENE, 0),
    "jpeg": (lambda: make.jpeg_with(), SCENE, 30),
    "jpeg progressive": (lambda: make.jpeg_with(progressive=True), SCENE, 30),
    "jpeg 4:4:4": (lambda: make.jpeg_with(subsampling=0), SCENE, 12),
    "jpeg grey": (lambda: saved(scene().convert("L"), "JPEG", quality=95), GREY_SCENE, 12),
    "jpeg CMYK": (lambda: saved(scene().convert("CMYK"), "JPEG", quality=95), SCENE, 30),
    "jpeg with restarts": (lambda: make.jpeg_with(restart_marker_blocks=1), SCENE, 30),
    "jpeg with something after its end": (lambda: make.jpeg_with() + b"<html>" * 50, SCENE, 30),
    "jpeg with a video after its end": (
        lambda: make.jpeg_with() + b"\0\0\0\x18ftypmp42" + bytes(500), SCENE, 30),
    "jpeg with a huge EXIF": (
        lambda: make.jpeg_with(make.segment(0xE1, make.exif(3) + bytes(65000))), TURNED[3], 30),
    "jpeg with EXIF that points everywhere": (
        lambda: make.jpeg_with(make.segment(
            0xE1, b"Exif\0\0II*\0" + struct.pack("<IH", 0xFFFFFFF0, 9))), SCENE, 30),
    "jpeg with 65,535 EXIF tags": (
        lambda: make.jpeg_with(make.segment(
            0xE1, b"Exif\0\0II*\0" + struct.pack("<IH", 8, 65535) + bytes(600))), SCENE, 30),
    "jpeg with orientation 9": (
        lambda: make.jpeg_with(make.segment(0xE1, make.exif(9))), SCENE, 30),
    "jpeg with little-endian EXIF": (
        lambda: make.jpeg_with(make.segment(0xE1, make.exif(8, "<"))), TURNED[8], 30),
    "jpeg with XMP and two EXIF": (
        lambda: make.jpeg_with(make.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"),
                               make.segment(0xE1, make.exif(3))), TURNED[3], 30),
    "jpeg with several pictures": (  # as dual cameras write them
        lambda: make.jpeg_with(make.segment(0xE2, b"MPF\0MM\0*" + bytes(60))) + make.jpeg_with(),
        SCENE, 30),
    "jpeg with a comment": (lambda: make.jpeg_with(make.segment(0xFE, b"@everyone")), SCENE, 30),
    "jpeg with a profile": (
        lambda: saved(scene(), "JPEG", quality=95, icc_profile=make.swapped_profile()),
        [BLUE, GREEN, RED], 30),
    "jpeg with a profile that lacks a part": (
        lambda: make.jpeg_with(make.segment(0xE2, b"ICC_PROFILE\0\2\2" + bytes(99))), SCENE, 30),
    "jpeg with a profile for print on its RGB": (
        lambda: make.jpeg_with(make.segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(128))), SCENE, 30),
    "jpeg with fillers": (lambda: make.jpeg_with(b"\xff" * 40), SCENE, 30),
    "webp": (lambda: saved(scene(), "WEBP", quality=95), SCENE, 40),
    "webp lossless": (lambda: saved(scene(), "WEBP", lossless=True), SCENE, 0),
    "webp with alpha": (lambda: saved(transparent(), "WEBP", quality=95), HALF_WHITE, 40),
    "webp lossless with alpha": (
        lambda: saved(transparent(), "WEBP", lossless=True), HALF_WHITE, 0),
    "webp with an EXIF turn": (
        lambda: saved(scene(), "WEBP", lossless=True, exif=make.exif(6)), TURNED[6], 0),
    "webp with a profile": (
        lambda: saved(scene(), "WEBP", lossless=True, icc_profile=make.swapped_profile()),
        [BLUE, GREEN, RED], 3),
    "webp animation": (lambda: animation("WEBP", lossless=True), SCENE, 0),
    "webp animation of a part": (frame_of_canvas, [WHITE, WHITE, WHITE], 0),
    "webp with something after its end": (
        lambda: saved(scene(), "WEBP", lossless=True) + b"x" * 99, SCENE, 0),
    "1 pixel": (lambda: saved(Image.new("RGB", (1, 1), RED), "PNG"), [RED] * 3, 0),
}  # fmt: skip


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
# name -> (file, words of the refusal)
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is empty"),
    "one byte": (lambda: b"\x89", "file of an unknown kind"),
    "zeros": (lambda: bytes(5000), "file of an unknown kind"),
    "text": (lambda: b"a red circle", "That is text; send PNG, JPEG or WebP."),
    "HEIC of a phone": (lambda: HEIC, "That is a HEIC picture; send PNG, JPEG or WebP."),
    "HEIF container with HEIC": (
        lambda: b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf" + bytes(64), "a HEIC picture"),
    "HEIF container": (lambda: b"\0\0\0\x14ftypmif1\0\0\0\0mif1" + bytes(64), "a HEIF picture"),
    "AVIF": (lambda: saved(scene(), "AVIF"), "That is an AVIF picture"),
    "raw picture of a camera": (
        lambda: b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(64), "camera raw"),
    "DNG": (lambda: b"II*\0\x08\0\0\0" + bytes(99), "camera raw"),
    "video": (lambda: b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(64), "a video"),
    "WebM": (lambda: b"\x1a\x45\xdf\xa3" + bytes(99), "a video"),
    "GIF": (lambda: saved(scene(), "GIF"), "a GIF picture"),
    "GIF animation": (lambda: animation("GIF"), "a GIF picture"),
    "BMP": (lambda: saved(scene(), "BMP"), "a BMP picture"),
    "TIFF": (lambda: saved(scene(), "TIFF"), "a TIFF"),
    "icon": (lambda: saved(scene(), "ICO"), "a Windows icon"),
    "Photoshop": (lambda: b"8BPS\0\1" + bytes(99), "a Photoshop file"),
    "JPEG 2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "a JPEG 2000"),
    "JPEG XL": (lambda: b"\xff\x0a" + bytes(99), "a JPEG XL"),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "an SVG drawing"),
    "SVG after an XML head": (
        lambda: b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg/>',
        "an SVG drawing"),
    "web page": (lambda: b"\n<!DOCTYPE html><title>404</title>", "a web page"),
    "PDF": (lambda: b"%PDF-1.7\n" + bytes(99), "a PDF document"),
    "PostScript": (lambda: b"%!PS-Adobe EPSF\n", "a PostScript file"),
    "ZIP": (lambda: b"PK\3\4" + bytes(99), "a ZIP archive"),
    "gzip bomb": (lambda: zlib.compress(bytes(2**20), wbits=31), "a gzip archive"),
    "program": (lambda: b"\x7fELF" + bytes(99), "a program"),
    "Windows program": (lambda: b"MZ\x90\0" + bytes(99), "a Windows program"),
    "pickle": (lambda: b"\x80\4\x95" + bytes(99), "a pickle file"),
    "sound": (lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(99), "a sound file"),
    "web page in a JPEG's clothes": (lambda: b"\xff\xd8\xff<html>" + bytes(50), "JPEG file is damaged"),
    "png cut in its pixels": (lambda: png_noise()[:-400], "its end is missing"),
    "png cut in its header": (lambda: saved(scene(), "PNG")[:20], "its end is missing"),
    "png cut after its signature": (lambda: make.SIGNATURE, "its end is missing"),
    "png without its end": (lambda: make.png_without(b"IEND"), "its end is missing"),
    "png without pixels": (lambda: make.png_without(b"IDAT"), "has no pixels"),
    "png without a header": (lambda: make.png_without(b"IHDR"), "header is missing"),
    "png with two headers": (lambda: make.png_with(make.header(48, 32)), "there twice"),
    "png without its palette": (
        lambda: make.png_without(b"PLTE", palette()), "palette is missing"),
    "png with a palette of 2 bytes": (
        lambda: make.png(make.header(4, 4, 8, 3), make.chunk(b"PLTE", b"ab"), make.END),
        "palette has a wrong length"),
    "png with wrong check sums": (
        lambda: saved(scene(), "PNG").replace(b"IDAT", b"IDAT")[:-16] + b"\0\0\0\0" + make.END,
        "check sums are wrong"),
    "png whose pixels are no zlib": (
        lambda: make.png(make.header(4, 4), make.chunk(b"IDAT", b"rubbish"), make.END),
        "pixels cannot be read"),
    "png with too few rows": (
        lambda: make.png(make.header(40, 40), make.rows(120, 3), make.END), "some of its pixels are missing"),
    "png with pixels in two places": (
        lambda: make.png(make.header(4, 4), make.rows(12, 2), make.chunk(b"tEXt", b"a\0b"),
                         make.rows(12, 2), make.END), "in two places"),
    "png of colour type 5": (lambda: make.png(make.header(4, 4, 8, 5), make.END), "no colour type 5"),
    "png of 3 bits": (lambda: make.png(make.header(4, 4, 3, 0), make.END), "with 3 bits"),
    "png packed otherwise": (
        lambda: make.png(make.header(4, 4, 8, 2, 1, 0, 0), make.END), "packed in a way"),
    "png of iPhone apps": (
        lambda: make.png(make.chunk(b"CgBI", bytes(4)), make.header(4, 4), make.END),
        "header is missing"),
    "png with an unknown need": (
        lambda: make.png_with(make.chunk(b"EVIL", b"")), "extension that is not known"),
    "png of 0 pixels": (lambda: make.png(make.header(0, 9), make.END), "0x9 pixels"),
    "png bomb of 89 megapixels": (
        lambda: make.png(make.header(9450, 9450, 1, 0), make.rows(1182, 9450), make.END),
        "89.3 megapixels (9450x9450), at most 40"),
    "png bomb of 2**62 pixels": (
        lambda: make.png(make.header(2**31 - 1, 2**31 - 1), make.rows(9, 1), make.END),
        "megapixels (2147483647x2147483647), at most 40"),
    "png of one long row": (
        lambda: make.png(make.header(5000, 1, 8, 0), make.rows(5000, 1), make.END),
        "too narrow (5000x1)"),
    "png of 30,000 parts": (
        lambda: make.png_with(make.chunk(b"tEXt", b"a\0b") * 30_000), "at most 20,000"),
    "png of 30,000 empty pixel parts": (
        lambda: make.png(make.header(4, 4), make.chunk(b"IDAT") * 30_000, make.END), "at most 20,000"),
    "png with a profile bomb": (
        lambda: make.png_with(make.chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**24), 9))),
        "colour profile of this PNG is larger than 4 MB"),
    "png with a part of 2 GB": (
        lambda: make.SIGNATURE + make.header(4, 4) + b"\x7f\xff\xff\xffIDAT", "end is missing"),
    "png with rubbish between parts": (
        lambda: make.png(make.header(4, 4), b"\0\0\0\0\0\0\0\0\0\0\0\0"), "no part where one"),
    "jpeg cut in its pixels": (lambda: make.jpeg_with()[:-60], "its end is missing"),
    "jpeg cut in its header": (lambda: make.jpeg_with()[:30], "its end is missing"),
    "jpeg of three bytes": (lambda: b"\xff\xd8\xff", "its end is missing"),
    "jpeg without pixels": (lambda: b"\xff\xd8\xff\xe0\0\4ab\xff\xd9", "has no pixels"),
    "jpeg with pixels before its header": (
        lambda: b"\xff\xd8" + make.segment(0xDA, bytes(6)) + b"\xff\xd9", "before its header"),
    "jpeg with two headers": (
        lambda: make.jpeg_with(make.segment(0xC0, b"\x08\0\x08\0\x08\1\1\x11\0")), "two headers"),
    "jpeg with a short header": (
        lambda: b"\xff\xd8" + make.segment(0xC0, b"\x08\0\x08"), "header has a wrong length"),
    "jpeg with a part of length 0": (lambda: b"\xff\xd8\xff\xe0\0\0" + bytes(9), "wrong length"),
    "jpeg bomb of pixels": (lambda: make.jpeg_sized(65535, 65535), "4,294.8 megapixels"),
    "jpeg of height 0": (lambda: make.jpeg_sized(48, 0), "48x0 pixels"),
    "jpeg bomb of scans": (lambda: make.many_scans(64, 64, 300), "more than 100 passes"),
    "jpeg bomb of scans and pixels": (
        lambda: make.jpeg_sized(6000, 6000, make.many_scans(64, 64, 60)), "more than 27 passes"),
    "jpeg of 3,000 parts": (
        lambda: make.jpeg_with(make.segment(0xFE, b"") * 3000), "at most 2,000"),
    "jpeg lossless": (lambda: make.jpeg_with().replace(b"\xff\xc0", b"\xff\xc3"), "rare kind"),
    "jpeg arithmetic": (lambda: make.jpeg_with().replace(b"\xff\xc0", b"\xff\xc9"), "rare kind"),
    "jpeg of 12 bits": (
        lambda: make.jpeg_with().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "12 bits"),
    "jpeg with tables of rubbish": (
        lambda: make.jpeg_with(make.segment(0xC4, b"\xff" * 60)), "pixels cannot be read"),
    "webp cut": (lambda: saved(scene(), "WEBP", lossless=True)[:-20], "its end is missing"),
    "webp of 12 bytes": (lambda: b"RIFF\x04\0\0\0WEBP", "its end is missing"),
    "webp without pixels": (lambda: make.riff(make.canvas(48, 32), (b"EXIF", b"x")), "no pixels"),
    "webp with a canvas of 2**48 pixels": (
        lambda: make.riff(make.canvas(2**24, 2**24), *webp_pixels()), "megapixels (16777216x16777216)"),
    "webp whose canvas lies": (
        lambda: make.riff(make.canvas(16, 16), *webp_pixels()), "different sizes"),
    "webp whose frame lies": (
        lambda: make.riff(make.canvas(48, 32, 2), (b"ANIM", bytes(6)),
                          (b"ANMF", make.frame(0, 0, 16, 16, webp_pixels()))), "different sizes"),
    "webp whose frame sticks out": (
        lambda: make.riff(make.canvas(48, 32, 2), (b"ANIM", bytes(6)),
                          (b"ANMF", make.frame(8, 8, 48, 32, webp_pixels()))), "first frame is larger"),
    "webp bomb of pixels": (
        lambda: make.riff((b"VP8L", b"\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(60))),
        "268.4 megapixels"),
    "webp of rubbish": (
        lambda: make.riff((b"VP8 ", b"\0\0\0rubbish" + bytes(60))), "do not begin as they should"),
    "webp whose pixels are rubbish": (
        lambda: make.riff((b"VP8L", b"\x2f" + struct.pack("<I", 47 | 31 << 14) + b"\xff" * 60)),
        "pixels cannot be read"),
    "webp of 6,000 parts": (
        lambda: make.riff(make.canvas(48, 32), *[(b"JUNK", b"")] * 6000), "at most 5,000"),
    "webp with a part of 4 GB": (
        lambda: make.riff((b"VP8X", bytes(10)), (b"ICCP", b"")).replace(
            b"ICCP\0\0\0\0", b"ICCP\xff\xff\xff\xff"), "its end is missing"),
}  # fmt: skip


def png_noise() -> bytes:
    return saved(Image.effect_noise((64, 64), 90), "PNG")


def webp_pixels() -> list[tuple[bytes, bytes]]:
    return make.webp_chunks(saved(scene(), "WEBP", lossless=True))


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    pictures.prepare()


@pytest.mark.parametrize("name", GOOD)
def test_a_sound_picture_is_used_as_it_looks(name: str) -> None:
    file, wanted, tolerance = GOOD[name]
    clean = pictures.clean(file(), max_side=64)
    picture = opened(clean)
    assert about(corners(picture), wanted, tolerance), corners(picture)
    if wanted != [wanted[0]] * 3:
        is_turned = any(word in name for word in ("turn", "little-endian"))
        assert picture.size == ((32, 48) if is_turned else (48, 32))
    assert clean.notes == ((FIRST_FRAME,) if "animation" in name else ())


@pytest.mark.parametrize("orientation", TURNED)
def test_every_orientation_is_turned_upright(orientation: int) -> None:
    file = make.jpeg_with(make.segment(0xE1, make.exif(orientation)))
    picture = opened(pictures.clean(file, max_side=64))
    assert picture.size == ((32, 48) if orientation >= 5 else (48, 32))
    assert about(corners(picture), TURNED[orientation], 30), corners(picture)


@pytest.mark.parametrize("name", BAD)
def test_any_other_file_is_refused_in_one_sentence(name: str) -> None:
    file, words = BAD[name]
    with pytest.raises(RefusedFileError) as refused:
        pictures.clean(file(), max_side=64)
    text = str(refused.value)
    assert words in text, text
    assert 20 < len(text) < 220
    assert text.endswith(".")
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_large_picture_is_made_smaller(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    clean = pictures.clean(saved(scene(600, 400), kind, **options), max_side=96)
    assert (clean.width, clean.height) == (96, 64)
    assert about(corners(opened(clean)), SCENE, 30)


def test_part_of_a_large_canvas_is_made_smaller_with_it() -> None:
    part = make.webp_chunks(saved(Image.new("RGB", (240, 160), RED), "WEBP", lossless=True))
    data = make.riff(
        make.canvas(480, 320, 2), (b"ANIM", bytes(6)), (b"ANMF", make.frame(0, 160, 240, 160, part))
    )
    clean = pictures.clean(data, max_side=48)
    assert (clean.width, clean.height) == (48, 32)
    assert about(corners(opened(clean)), [WHITE, WHITE, RED], 0)


def test_random_changes_of_good_files_are_used_or_refused() -> None:
    random = np.random.default_rng(5)
    files = [GOOD[name][0]() for name in ("png palette", "jpeg progressive", "webp with alpha")]
    files += [GOOD[name][0]() for name in ("png animation", "webp animation of a part")]
    verdicts = set()
    for number in range(300):
        data = bytearray(files[number % len(files)])
        for _ in range(random.integers(1, 4)):
            data[random.integers(len(data))] = random.integers(256)
        try:
            opened(pictures.clean(bytes(data), max_side=64))
            verdicts.add("used")
        except RefusedFileError as error:
            assert str(error).endswith(".")  # noqa: PT017
            verdicts.add("refused")
    assert verdicts == {"used", "refused"}
