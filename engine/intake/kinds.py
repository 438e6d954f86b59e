"""Tells what a file is by its first bytes, so that a refusal can name it."""

from __future__ import annotations

from engine.words import N_

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ALLOWED = N_("PNG, JPEG or WebP")

UNKNOWN = N_("a file of an unknown kind")

_TEXT_WINDOW = 1024  # bytes that are looked at to tell texts apart

# (offset, bytes, what people call it); the first that fits.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, PNG_SIGNATURE, "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WebP"),
    (0, b"GIF87a", N_("a GIF picture")),
    (0, b"GIF89a", N_("a GIF picture")),
    (0, b"II*\0", N_("a TIFF or camera raw picture")),
    (0, b"MM\0*", N_("a TIFF or camera raw picture")),
    (0, b"II+\0", N_("a TIFF picture")),
    (0, b"MM\0+", N_("a TIFF picture")),
    (0, b"\0\0\1\0", N_("a Windows icon")),
    (0, b"\0\0\2\0", N_("a Windows cursor")),
    (0, b"icns", N_("a Mac icon")),
    (0, b"8BPS", N_("a Photoshop file")),
    (0, b"gimp xcf", N_("a GIMP file")),
    (0, b"\xff\x0a", N_("a JPEG XL picture")),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", N_("a JPEG XL picture")),
    (0, b"\0\0\0\x0cjP  ", N_("a JPEG 2000 picture")),
    (0, b"\xff\x4f\xff\x51", N_("a JPEG 2000 picture")),
    (0, b"qoif", N_("a QOI picture")),
    (0, b"\x76\x2f\x31\x01", N_("an OpenEXR picture")),
    (0, b"DDS ", N_("a DDS picture")),
    (0, b"FUJIFILMCCD-RAW", N_("a camera raw picture")),
    (0, b"%PDF-", N_("a PDF document")),
    (0, b"%!PS", N_("a PostScript file")),
    (0, b"PK\3\4", N_("a ZIP archive or office document")),
    (0, b"PK\5\6", N_("a ZIP archive")),
    (0, b"\x1f\x8b", N_("a gzip archive")),
    (0, b"BZh", N_("a bzip2 archive")),
    (0, b"\xfd7zXZ\0", N_("an xz archive")),
    (0, b"7z\xbc\xaf\x27\x1c", N_("a 7-Zip archive")),
    (0, b"Rar!\x1a\7", N_("an RAR archive")),
    (0, b"\x28\xb5\x2f\xfd", N_("a Zstandard archive")),
    (0, b"\x1a\x45\xdf\xa3", N_("a video")),
    (8, b"AVI ", N_("a video")),
    (8, b"WAVE", N_("a sound file")),
    (0, b"OggS", N_("a sound or video file")),
    (0, b"ID3", N_("a sound file")),
    (0, b"\x7fELF", N_("a program")),
    (0, b"MZ", N_("a Windows program")),
    (0, b"SQLite format 3\0", N_("a database")),
    (0, b"\x80\2", N_("a pickle file")),
    (0, b"\x80\3", N_("a pickle file")),
    (0, b"\x80\4", N_("a pickle file")),
    (0, b"\x80\5", N_("a pickle file")),
    (0, b"BM", N_("a BMP picture")),
)  # fmt: skip
_ISO_BRANDS: dict[bytes, str] = {
    b"heic": N_("a HEIC picture"), b"heix": N_("a HEIC picture"), b"heim": N_("a HEIC picture"),
    b"heis": N_("a HEIC picture"), b"hevc": N_("a HEIC picture"), b"hevx": N_("a HEIC picture"),
    b"mif1": N_("a HEIF picture"), b"msf1": N_("a HEIF picture"), b"avif": N_("an AVIF picture"),
    b"avis": N_("an AVIF picture"), b"crx ": N_("a camera raw picture"),
}  # fmt: skip


def kind_of(data: bytes) -> str:
    """Returns "PNG", "JPEG", "WebP", or the words for anything else."""
    if data[4:8] == b"ftyp":
        return _iso_kind(data)
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset) and (offset == 0 or data.startswith(b"RIFF")):
            return name
    return _text_kind(data)


def _iso_kind(data: bytes) -> str:
    """HEIC, AVIF and videos share a container; its brands tell them apart, the main one first."""
    size = min(max(int.from_bytes(data[:4], "big"), 16), 256)
    brands = [data[8:12], *(data[i : i + 4] for i in range(16, min(size, len(data)), 4))]
    main, others = brands[0], brands[1:]
    if main in (b"mif1", b"msf1"):  # a general container; what it holds is named after it
        others.sort(key=lambda brand: brand in (b"mif1", b"msf1"))
        main = next((brand for brand in others if brand in _ISO_BRANDS), main)
    return _ISO_BRANDS.get(main, N_("a video"))


def _text_kind(data: bytes) -> str:
    head = data[:_TEXT_WINDOW].lstrip(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in head:
        return N_("an SVG drawing")
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return N_("a web page")
    if head.startswith(b"<?xml"):
        return N_("an XML text")
    if b"\0" in data[:_TEXT_WINDOW]:
        return UNKNOWN
    try:
        data[:_TEXT_WINDOW].decode("utf-8", "strict" if len(data) <= _TEXT_WINDOW else "ignore")
    except UnicodeDecodeError:
        return UNKNOWN
    is_text = all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in data[:_TEXT_WINDOW])
    return N_("text") if is_text and data[:64].isascii() else UNKNOWN
