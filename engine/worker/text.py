"""Prompts to CLIP embeddings: weighted, as long as people write them, and kept for the next job."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch

from engine.errors import InvalidRequestError
from engine.words import N_
from engine.worker import prompt_syntax
from engine.worker.conditions import Conditioner, EncodedPrompt
from engine.worker.lora_rows import Combination
from engine.worker.prompt_syntax import MAX_WEIGHT, Segment

CACHE_BYTES = 64 << 20  # about 280 prompts of 77 tokens, 768 wide, in float32
MAX_CHUNKS = 4
COMMA_WITHIN = 20  # a full chunk ends at a comma among its last tokens, as in A1111
NEGLIGIBLE_MEAN = 0.01  # of the standard deviation


@dataclass(frozen=True, slots=True)
class _Token:
    """One token; `start` is its place in the part's plain text."""

    id: int
    weight: float
    start: int
    is_comma: bool
    starts_word: bool


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What the text encoder reads at once: at most 75 tokens and the text they come from."""

    tokens: list[_Token]
    text: str


class PromptEncoder:
    """Encodes prompts; what has no weights and fits into one chunk exactly as stock pipelines do."""

    def __init__(self, conditioner: Conditioner, *, cache_bytes: int = CACHE_BYTES) -> None:
        """Keeps what reads tokens; its device and dtype are used as they are."""
        self._conditioner = conditioner
        self._tokenizer = conditioner.tokenizer
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._cache: OrderedDict[Any, EncodedPrompt] = OrderedDict()

    def encode(
        self, text: str, adapters: Combination | None = None, clip_skip: int = 0
    ) -> EncodedPrompt:
        """Returns the embedding of `text`; negative prompts nearly always come from the cache.

        Args:
            text: A prompt.
            adapters: LoRAs; those that change the text encoder act here.
            clip_skip: Last layers of the encoder that are left out.

        Raises:
            InvalidRequestError: The text encoder has no layer left.
        """
        self._check(clip_skip)
        if adapters is not None and not adapters.text_key:
            adapters = None
        key = (text, clip_skip, adapters and adapters.text_key)
        encoded = self._cache.get(key)
        if encoded is None:
            encoded = self._cache[key] = self._encode(text, adapters, clip_skip)
            self._cached_bytes += encoded.nbytes
        self._cache.move_to_end(key)
        while self._cached_bytes > self._cache_bytes:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return encoded

    def encode_negative(
        self, text: str, adapters: Combination | None = None, clip_skip: int = 0
    ) -> EncodedPrompt:
        """Returns the embedding of a negative prompt; without one it is what the model's makers chose.

        Layers are skipped as in the prompt, since both should be of one kind. (The stock SDXL pipeline
        skips them in the prompt alone.)
        """
        if not text and self._conditioner.zeroes_empty_negative:
            self._check(clip_skip)
            return self._conditioner.zeros()
        return self.encode(text, adapters, clip_skip)

    def _check(self, clip_skip: int) -> None:
        most = self._conditioner.max_clip_skip
        if clip_skip > most:
            raise InvalidRequestError(
                "Clip skip is {clip_skip}, this model's text encoder has {layers} layers. "
                "Use {most} or less.",
                clip_skip=clip_skip,
                layers=self._conditioner.layers,
                most=most,
            )

    def _encode(self, text: str, adapters: Combination | None, clip_skip: int) -> EncodedPrompt:
        size = self._tokenizer.model_max_length - 2  # without the start and end tokens
        parts = [self._tokenize(part) for part in prompt_syntax.parse(text)]
        chunks = [chunk for part in parts for chunk in _split(part, size) if chunk.tokens]
        unread = " ".join("".join(chunk.text for chunk in chunks[MAX_CHUNKS:]).split())
        chunks = chunks[:MAX_CHUNKS] or [_Chunk([], "")]
        ids = [[token.id for token in chunk.tokens] for chunk in chunks]
        reading = self._conditioner.read(ids, adapters, clip_skip)
        # Each encoder's part is weighed by itself: the two have different means.
        keeps_mean = self._conditioner.keeps_mean
        embeds = torch.cat(
            [_weigh_all(part, chunks, keeps_mean) for part in reading.embeds], dim=-1
        )
        pooled = None if reading.pooled is None else reading.pooled[:1]
        return EncodedPrompt(embeds, pooled, unread)

    def _tokenize(self, part: list[Segment]) -> _Chunk:
        """Returns the tokens of a part as one chunk of any length."""
        plain = "".join(segment.text for segment in part) + " "
        tokens: list[_Token] = []
        begin = 0  # of the segment
        for segment in part:
            found = self._tokenizer(
                segment.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
            for token_id, (first, last) in zip(found.input_ids, found.offset_mapping, strict=True):
                start = begin + first
                is_new = not tokens or tokens[-1].start < start  # a letter may be several tokens
                tokens.append(
                    _Token(
                        id=token_id,
                        weight=segment.weight,
                        start=start,
                        is_comma=segment.text[first:last] == ",",
                        starts_word=is_new and plain[start - 1].isspace(),
                    )
                )
            begin += len(segment.text)
        return _Chunk(tokens, plain)


def _weigh_all(embeds: Any, chunks: list[_Chunk], keeps_mean: bool) -> Any:
    """Returns the chunks' embeddings (chunks, 77, width) one after the other, weighed, in one row.

    The row is (1, chunks x 77, width).
    """
    rows = []
    for embed, chunk in zip(embeds, chunks, strict=True):
        own = [token.weight for token in chunk.tokens]
        if all(weight == 1 for weight in own):
            rows.append(embed)
        else:
            weights = torch.ones(len(embed))
            weights[1 : 1 + len(own)] = torch.tensor(own)  # the start token's stays 1
            rows.append(_weigh(embed, weights, keeps_mean).to(embeds.dtype))
    return torch.cat(rows)[None]


def _weigh(embed: Any, weights: Any, keeps_mean: bool) -> Any:
    """Multiplies the tokens of one chunk, and may bring its mean back to what it was, as A1111 does.

    CLIP's mean lies well away from zero. A text encoder whose last normalisation centres each token
    has none: the quotient would be noise, of any size and sign, and the embedding stays as weighted.

    Args:
        embed: (77, width).
        weights: (77,), on the CPU.
        keeps_mean: See `Conditioner.keeps_mean`.
    """
    before = embed.float()
    after = before * weights.to(embed.device)[:, None]
    if not keeps_mean:
        return after
    mean = before.mean().item()
    factor = mean / (after.mean().item() or float("inf"))
    is_meaningful = abs(mean) >= NEGLIGIBLE_MEAN * before.std().item()
    if is_meaningful and 1 / MAX_WEIGHT <= factor <= MAX_WEIGHT:
        after = after * factor
    return after


def _split(part: _Chunk, size: int) -> list[_Chunk]:
    """Splits a part into chunks of at most `size` tokens."""
    chunks: list[_Chunk] = []
    tokens, begin = part.tokens, 0
    while len(tokens) > size:
        cut = _cut(tokens, size)
        end = tokens[cut].start
        chunks.append(_Chunk(tokens[:cut], part.text[begin:end]))
        tokens, begin = tokens[cut:], end
    return [*chunks, _Chunk(tokens, part.text[begin:])]


def _cut(tokens: list[_Token], size: int) -> int:
    """Returns how many of more than `size` tokens the next chunk takes.

    Up to the last comma when it is near, else up to the last whole word.
    """
    if tokens[size].is_comma:  # the phrase ends just here
        return size
    for place in range(size, size - COMMA_WITHIN, -1):
        if tokens[place - 1].is_comma:
            return place
    for place in range(size, 0, -1):
        if tokens[place].starts_word:
            return place
    return size


def unread_warning(what: str, unread: str) -> str:
    """Returns the sentence for the owner of a prompt whose end was not read."""
    quote = unread if len(unread) <= 120 else unread[:119].rstrip() + "…"
    sentence = N_("The {what} is longer than the model reads. This part was not read: “{quote}”")
    return sentence.format(what=what, quote=quote)
