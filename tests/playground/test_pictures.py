"""Reading picture sizes from headers, against files that Pillow wrote."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from playground import pictures
from playground.cdn import safe_name


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\x00\x00" + bytes(300)}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00" + bytes(40)}),
    ],
)
def test_size_is_what_the_file_says(kind: str, options: dict[str, object]) -> None:
    data = io.BytesIO()
    Image.effect_noise((321, 123), 40).convert("RGB").save(data, kind, **options)
    assert pictures.size_of(data.getvalue()) == (321, 123)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF0000WEBPVP8 ", b"text"]
)
def test_broken_headers_have_no_size(data: bytes) -> None:
    assert pictures.size_of(data) is None


def test_avatar_is_a_valid_picture() -> None:
    with Image.open(io.BytesIO(pictures.flat_png((10, 20, 30), 32))) as image:
        assert image.size == (32, 32)
        assert image.getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("my cat.png", "my_cat.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\evil.exe", "evil.exe"),
        ('"><script>.png', "script.png"),
        ("日本.png", "png"),
        ("", "unknown"),
    ],
)
def test_names_are_made_plain(given: str, kept: str) -> None:
    assert safe_name(given) == kept
