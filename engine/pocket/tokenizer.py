"""The tokenizer: CLIP's byte-level BPE with few merges, so that every known word is one token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from engine.pocket.captions import words

MAX_TOKENS = 77
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
END = "</w>"


def tokenizer_of(work: Path) -> CLIPTokenizer:
    """The tokenizer that a training began with; builds and keeps it when there is none yet.

    A word added to the captions later changes the numbers of all others, and so must not reach a
    training that is under way.
    """
    folder = work / "tokenizer"
    if not folder.exists():
        fresh = work / "tokenizer.new"
        build_tokenizer().save_pretrained(fresh)
        fresh.rename(folder)
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes in GPT-2's and CLIP's vocabularies, in CLIP's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]


def learn_merges(known: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair encoding run until each known word is one token; ties go to the lesser pair."""
    pieces = [[*word[:-1], word[-1] + END] for word in sorted(set(known))]
    merges: list[tuple[str, str]] = []
    while True:
        counts: Counter[tuple[str, str]] = Counter()
        for piece in pieces:
            counts.update(pairwise(piece))
        if not counts:
            return merges
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [_merge(piece, best) for piece in pieces]


def _merge(piece: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    i = 0
    while i < len(piece):
        if tuple(piece[i : i + 2]) == pair:
            merged.append(piece[i] + piece[i + 1])
            i += 2
        else:
            merged.append(piece[i])
            i += 1
    return merged


def build_tokenizer() -> CLIPTokenizer:
    """A `CLIPTokenizer` of 77 tokens: one for each word of the captions, bytes for all other text."""
    symbols = byte_symbols()
    merges = learn_merges(words())
    entries = [*symbols, *(symbol + END for symbol in symbols), *(a + b for a, b in merges)]
    vocab = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}
    for special in (BOS, EOS):  # last, as in CLIP: the end has the greatest id
        vocab[special] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)
