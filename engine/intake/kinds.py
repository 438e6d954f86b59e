"""Tells what a file is by its first bytes, so that a refusal can name it."""

from __future__ import annotations

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ALLOWED = "PNG, JPEG or WebP"

_TEXT_WINDOW = 1024  # bytes that are looked at to tell texts apart

# (offset, bytes, what people call it); the first that fits.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, PNG_SIGNATURE, "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WebP"),
    (0, b"GIF87a", "GIF picture"),
    (0, b"GIF89a", "GIF picture"),
    (0, b"II*\0", "TIFF or camera raw picture"),
    (0, b"MM\0*", "TIFF or camera raw picture"),
    (0, b"II+\0", "TIFF picture"),
    (0, b"MM\0+", "TIFF picture"),
    (0, b"\0\0\1\0", "Windows icon"),
    (0, b"\0\0\2\0", "Windows cursor"),
    (0, b"icns", "Mac icon"),
    (0, b"8BPS", "Photoshop file"),
    (0, b"gimp xcf", "GIMP file"),
    (0, b"\xff\x0a", "JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000 picture"),
    (0, b"qoif", "QOI picture"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR picture"),
    (0, b"DDS ", "DDS picture"),
    (0, b"FUJIFILMCCD-RAW", "camera raw picture"),
    (0, b"%PDF-", "PDF document"),
    (0, b"%!PS", "PostScript file"),
    (0, b"PK\3\4", "ZIP archive or office document"),
    (0, b"PK\5\6", "ZIP archive"),
    (0, b"\x1f\x8b", "gzip archive"),
    (0, b"BZh", "bzip2 archive"),
    (0, b"\xfd7zXZ\0", "xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (0, b"Rar!\x1a\7", "RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard archive"),
    (0, b"\x1a\x45\xdf\xa3", "video"),
    (8, b"AVI ", "video"),
    (8, b"WAVE", "sound file"),
    (0, b"OggS", "sound or video file"),
    (0, b"ID3", "sound file"),
    (0, b"\x7fELF", "program"),
    (0, b"MZ", "Windows program"),
    (0, b"SQLite format 3\0", "database"),
    (0, b"\x80\2", "pickle file"),
    (0, b"\x80\3", "pickle file"),
    (0, b"\x80\4", "pickle file"),
    (0, b"\x80\5", "pickle file"),
    (0, b"BM", "BMP picture"),
)  # fmt: skip
_ISO_BRANDS: dict[bytes, str] = {
    b"heic": "HEIC picture", b"heix": "HEIC picture", b"heim": "HEIC picture",
    b"heis": "HEIC picture", b"hevc": "HEIC picture", b"hevx": "HEIC picture",
    b"mif1": "HEIF picture", b"msf1": "HEIF picture", b"avif": "AVIF picture",
    b"avis": "AVIF picture", b"crx ": "camera raw picture",
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
    return _ISO_BRANDS.get(main, "video")


def _text_kind(data: bytes) -> str:
    head = data[:_TEXT_WINDOW].lstrip(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in head:
        return "SVG drawing"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "web page"
    if head.startswith(b"<?xml"):
        return "XML text"
    if b"\0" in data[:_TEXT_WINDOW]:
        return "file of an unknown kind"
    try:
        data[:_TEXT_WINDOW].decode("utf-8", "strict" if len(data) <= _TEXT_WINDOW else "ignore")
    except UnicodeDecodeError:
        return "file of an unknown kind"
    is_text = all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in data[:_TEXT_WINDOW])
    return "text" if is_text and data[:64].isascii() else "file of an unknown kind"
