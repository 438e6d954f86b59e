"""Spoils sound LoRA files in seeded ways: bytes, lengths, and every field of the header."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

_HEAD = 8

NASTY: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**48, 2**63, 2**64, 10**400, -(2**63), 0.5, 1e308, 1e400, -0.0,
    "", "F16", "f16", "F8_E5M2", "\ud800", "\u202e", "../../etc/passwd", "(a+)+$", "a" * 5000, "<@1>",
    "\x00", [], {}, [[]], [0], [0, 0], [2**47, 2**47], [1] * 64, {"a": {"b": {"c": []}}},
)  # fmt: skip
NAMES = (
    "(a+)+$.alpha", ".*", "a|b", "../../x.alpha", "\u043bora.alpha", "", ".", "_", "x" * 301, "__metadata__",
    "lora_unet_.alpha", "lora_unet_down_blocks_0_.lora_down.weight", "lora_A.weight", "alpha", ".alpha",
    "emb_params", "a\nb.alpha", "\u202ealpha", "rank_pattern", "lora_te2_text_projection.lora_up.weight",
)  # fmt: skip
METADATA = (
    "modelspec.title", "modelspec.trigger_phrase", "modelspec.thumbnail", "modelspec.architecture",
    "modelspec.description", "ss_tag_frequency", "ss_network_dim", "ss_network_alpha", "ss_output_name",
    "ss_base_model_version", "ss_trigger_words", "lora_adapter_metadata",
)  # fmt: skip
TEXTS = (
    "", "None", "[", "[1, [2]]", '["a", 7, null]', '{"a": {"b": 1e999}}', '{"a": {"b": -1}}', "[" * 3000,
    "{" * 2000, "nan", "inf", "-inf", "1e999", "9" * 5000, "\ud800\udfff", "\u202e@everyone", "a," * 3000,
    "data:image/png;base64,", "data:image/png;base64,iVBORw0KGgo=", "data:image/png;base64,!!!!",
    "data:image/svg+xml;base64,PHN2Zz4=", "x" * 100_000, "\x00\n\r\t", "**`<@1>`** https://a.b",
)  # fmt: skip
NUMBERS = (
    *[float("nan")] * 4,
    float("inf"),
    float("-inf"),
    1e30,
    -1e30,
    65504.0,
    1e-40,
    0.0,
    -8.0,
    5000.0,
)
HEADERS = (
    b"[" * 50_000, b'{"a":' * 50_000, b"{" + b" " * 2**20 + b"}", b"null", b'"text"', b"[]", b"{}",
    b'{"a": ' + b"9" * 5000 + b"}", b'{"a": NaN}', b'{"a": -Infinity}', b"\xff\xfe{}", b"{}\0",
    b'{"a":1,}', b'{"__metadata__":{}}', b'{"' + b"\\u0000" * 1000 + b'": 1}',
    json.dumps({f"a{n}": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}
                for n in range(30_000)}).encode(),
)  # fmt: skip
_FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e"}


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header as JSON, and what is behind it."""
    end = _HEAD + int.from_bytes(data[:_HEAD], "little")
    return json.loads(data[_HEAD:end]), data[end:]


def joined(header: object, body: bytes) -> bytes:
    """A file with this header."""
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def mutated(files: list[bytes], seed: int) -> bytes:
    """Returns one of the files after one to four changes."""
    random = Random(seed)
    data = random.choice(files)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        change = random.choice(CHANGES)
        try:
            data = change(data, random, files)
        except (ValueError, KeyError, IndexError, RecursionError, AttributeError, TypeError):
            data = flip(data, random, files)  # the header is no header any more
    return data


def flip(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """Other bytes, mostly in the header."""
    changed = bytearray(data or b"\0")
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        far = len(changed) if random.random() < 0.3 else min(len(changed), 1500)
        changed[random.randrange(far)] = random.randrange(256)
    return bytes(changed)


def flip_bit(data: bytes, random: Random, files: list[bytes]) -> bytes:
    changed = bytearray(data)
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(data: bytes, random: Random, files: list[bytes]) -> bytes:
    return data[: random.randrange(len(data))]


def cut_out(data: bytes, random: Random, files: list[bytes]) -> bytes:
    begin = random.randrange(len(data))
    return data[:begin] + data[begin + random.randrange(200) :]


def insert(data: bytes, random: Random, files: list[bytes]) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + random.randbytes(random.randrange(1, 300)) + data[at:]


def repeat(data: bytes, random: Random, files: list[bytes]) -> bytes:
    begin = random.randrange(len(data))
    part = data[begin : begin + random.randrange(1, 2000)]
    return data[:begin] + part * random.choice((2, 3, 50)) + data[begin:]


def splice(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """The header of one file before the numbers of another."""
    other = random.choice(files)
    end = _HEAD + int.from_bytes(data[:_HEAD], "little")
    other_end = _HEAD + int.from_bytes(other[:_HEAD], "little")
    return data[:end] + other[other_end:]


def length(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """Another length of the header."""
    now = int.from_bytes(data[:_HEAD], "little")
    lengths = (
        0,
        1,
        now - 1,
        now + 1,
        now + 8,
        len(data),
        2**20,
        2**24,
        2**24 + 1,
        2**32,
        2**63,
        2**64 - 1,
    )
    return struct.pack("<Q", max(random.choice(lengths), 0) % 2**64) + data[_HEAD:]


def field(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """A field of a tensor's entry with a value that does not belong there."""
    header, body = split(data)
    entry = header[random.choice([name for name in header if name != "__metadata__"])]
    key = random.choice(("dtype", "shape", "data_offsets", "x"))
    if random.random() < 0.3:
        entry.pop(key)
    else:
        entry[key] = copy.deepcopy(random.choice(NASTY))
    return joined(header, body)


def number(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """One number of a shape or place changed a little or much."""
    header, body = split(data)
    entry = header[random.choice([name for name in header if name != "__metadata__"])]
    numbers = entry[random.choice(("shape", "data_offsets"))]
    at = random.randrange(len(numbers))
    numbers[at] = random.choice(
        (numbers[at] + 1, numbers[at] - 1, numbers[at] * 2, -numbers[at], 2**40, 0)
    )
    return joined(header, body)


def dtype(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """A known dtype in the place of another, with and without the shape that would fit."""
    header, body = split(data)
    entry = header[random.choice([name for name in header if name != "__metadata__"])]
    entry["dtype"] = random.choice(
        ("F64", "F32", "F16", "BF16", "I8", "U8", "I64", "BOOL", "F8_E4M3")
    )
    return joined(header, body)


def rename(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """Another name of a tensor: a nasty one, another one's with a change, or in another layout."""
    header, body = split(data)
    name = random.choice(list(header))
    entry = header.pop(name)
    other = random.choice((
        random.choice(NAMES), name[: random.randrange(len(name) + 1)], name + random.choice(NAMES),
        name.replace("_", ".", 2), name.replace("lora_", "lora.", 1), name.upper(),
        name.replace("unet", "te"), name.replace("blocks_0", "blocks_999999999999999999999"),
        name.replace("down", "up"), name.replace("attn2", "attn1"),
    ))  # fmt: skip
    header[other] = entry
    return joined(header, body)


def double(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """A tensor twice, under one name or two."""
    header, body = split(data)
    name = random.choice(list(header))
    if random.random() < 0.5:
        header[name + random.choice(("", "x", ".alpha"))] = copy.deepcopy(header[name])
        return joined(header, body)
    pairs = [*header.items(), (name, header[name])]
    text = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs)
    raw = f"{{{text}}}".encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(raw)) + raw + body


def drop(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """A tensor less, with its bytes and without."""
    header, body = split(data)
    name = random.choice([name for name in header if name != "__metadata__"])
    begin, end = header.pop(name)["data_offsets"]
    if random.random() < 0.7:
        body = body[:begin] + body[end:]
        for one in header.values():
            if one.get("data_offsets", [0])[0] >= end:
                one["data_offsets"] = [place - (end - begin) for place in one["data_offsets"]]
    return joined(header, body)


def say(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """Metadata that is none, or says odd things."""
    header, body = split(data)
    if random.random() < 0.2:
        header["__metadata__"] = copy.deepcopy(random.choice(NASTY))
    else:
        said = dict(header.get("__metadata__") or {})
        for _ in range(random.randrange(1, 5)):
            said[random.choice(METADATA)] = random.choice(TEXTS)
        header["__metadata__"] = said
    return joined(header, body)


def values(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """Numbers of a tensor that are none, or far too large."""
    header, body = split(data)
    entry = header[random.choice([name for name in header if name != "__metadata__"])]
    changed = bytearray(body)
    begin, end = entry["data_offsets"]
    value = random.choice(NUMBERS)
    if entry["dtype"] == "BF16":
        packed = struct.pack("<f", value)[2:]
    else:
        if entry["dtype"] == "F16" and abs(value) > 65504:
            value = float("inf")
        packed = struct.pack(_FORMATS[entry["dtype"]], value)
    at = begin + random.randrange((end - begin) // len(packed)) * len(packed)
    changed[at : at + len(packed)] = packed
    return joined(header, bytes(changed))


def odd_header(data: bytes, random: Random, files: list[bytes]) -> bytes:
    """A header that is something else, deep, long or both."""
    _, body = split(data)
    text = random.choice(HEADERS)
    return struct.pack("<Q", len(text)) + text + body


Change = Callable[[bytes, Random, list[bytes]], bytes]
CHANGES: tuple[Change, ...] = (
    flip, flip_bit, cut, cut_out, insert, repeat, splice, length, field, number, dtype, rename, double, drop,
    say, say, values, values, odd_header,
)  # fmt: skip
